"""
Tables of the benchmarks: cells with median and range, the terminal, Markdown.

Knows nothing about what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console

from chunked_vla_ros.core.statistics import Spread, spread
from chunked_vla_ros.report.text_tables import markdown_table, print_table

# The names of the columns, and the lines below them with as many cells each.
HeadsAndLines = tuple[Sequence[str], Sequence[Sequence[str]]]


def with_range(found: Spread, digits: int) -> str:
    """Return a median with its range behind it, also if nothing was spread."""
    return f'{found.median:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})'


def cell(values: Sequence[float | None], digits: int, *, none: str = '-',
         equal_once: bool = False) -> str:
    """
    Return the median of ``values`` with the range, or the only value alone.

    :param values: One for each run, None for a run that has none.
    :param none: What the cell says if no run has one.
    :param equal_once: Leave out the range of several values that are all the same.
    """
    known = [value for value in values if value is not None]
    if not known:
        return none
    found = spread(known)
    if found.count == 1 or (equal_once and found.low == found.high):
        return f'{found.median:.{digits}f}'
    return with_range(found, digits)


def print_tables(tables: Iterable[HeadsAndLines], console: Console) -> None:
    """Print the tables to the terminal."""
    for heads, lines in tables:
        print_table(heads, lines, console)


def markdown(tables: Iterable[HeadsAndLines], command: str) -> str:
    """Return the tables as Markdown, below the command that makes them."""
    text = [f'`{command}`']
    for heads, lines in tables:
        text += ['', *markdown_table(heads, lines)]
    return '\n'.join(text) + '\n'
