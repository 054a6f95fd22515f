"""
Tables as plain text: on the terminal, and in Markdown.

Knows nothing about what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text


def print_table(heads: Sequence[str], lines: Sequence[Sequence[str]], console: Console,
                title: str = '') -> None:
    """Print a table to the terminal."""
    # Units stand in brackets, which rich would take for markup. The first column names the lines;
    # where the terminal is narrow others are broken, never cut off.
    columns = [Column(header=Text(head), no_wrap=not number, overflow='fold')
               for number, head in enumerate(heads)]
    table = Table(*columns, title=Text(title) if title else None, title_justify='left')
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the table's lines in Markdown."""
    return [_line(cells) for cells in (heads, ['---'] * len(heads), *lines)]


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(text.replace('|', '\\|') for text in cells) + ' |'
