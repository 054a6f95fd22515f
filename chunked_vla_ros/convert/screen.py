"""
How far a conversion is, drawn in a terminal, and the table of what became of each bag.

Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from chunked_vla_ros.convert.bags import Bag
from chunked_vla_ros.convert.journal import BagResult
from chunked_vla_ros.convert.plan import ASSEMBLE, Standing, Tell

# Of a folder of a thousand bags nobody reads a thousand lines.
LONGEST_TABLE = 60


@contextmanager
def progress_bar(console: Console, bags: int) -> Iterator[Tell]:
    """Give what is to be told how far the conversion is; without a terminal nothing is drawn."""
    columns = (TextColumn('{task.description}'), BarColumn(),
               TextColumn('{task.percentage:>3.0f} %'), TimeRemainingColumn(),
               TextColumn('{task.fields[rest]}'))
    with Progress(*columns, console=console, transient=True,
                  disable=not console.is_terminal) as bar:
        task = bar.add_task('converting', total=1.0, rest='')
        stages = {ASSEMBLE: False}

        def tell(standing: Standing) -> None:
            if standing.stage == ASSEMBLE and not stages[ASSEMBLE]:
                stages[ASSEMBLE] = True
                bar.reset(task, description='assembling', total=1.0)
            rest = f'{len(standing.results)} of {bags} bags, {standing.frames} frames'
            if standing.refused:
                rest += f', {standing.refused} refused'
            bar.update(task, completed=standing.share, rest=rest)

        yield tell


def results_table(bags: Sequence[Bag], standing: Standing) -> Table:
    """Return the table: a line per bag, those that were refused in any case."""
    table = Table('bag', 'episodes', 'rows', Column('what became of it', overflow='fold'))
    every = len(bags) <= LONGEST_TABLE
    left_out = 0
    for number, bag in enumerate(bags):
        result = standing.results.get(number)
        if result is None or not (every or result.refused):
            left_out += 1
            continue
        table.add_row(escape(bag.path.name), str(result.episodes or '-'),
                      str(result.rows or '-'), escape(verdict(bag, result)))
    if left_out:
        table.add_row(f'{left_out} more', '', '', 'see --json')
    found = standing.results.values()
    table.add_section()
    table.add_row('together', str(sum(result.episodes for result in found)),
                  str(sum(result.rows for result in found)),
                  f'{standing.refused} refused' if standing.refused else '')
    return table


def verdict(bag: Bag, result: BagResult) -> str:
    """Return what became of a bag, in words."""
    if result.refused:
        return 'refused: ' + result.refused.removeprefix(f'{bag.path}: ')
    if result.present:
        return 'there already, under this name or another'
    return 'converted' if result.episodes else 'left out by the rules'


def to_json(bags: Sequence[Bag], standing: Standing, out: str) -> dict[str, Any]:
    """Return what became of each bag as JSON-ready values."""
    return {
        'out': out, 'published': standing.published, 'refused': standing.refused,
        'episodes': sum(result.episodes for result in standing.results.values()),
        'rows': sum(result.rows for result in standing.results.values()),
        'bags': [{'bag': str(bag.path), **vars(standing.results[number])}
                 for number, bag in enumerate(bags) if number in standing.results]}
