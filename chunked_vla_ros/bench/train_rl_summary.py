"""
The Q-chunking benchmark's numbers: terminal table, Markdown, JSON.

Every cell is a median over runs with the range; a ratio is of runs of one round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.train_rl_inputs import CHECKED_UPDATES, Sizes
from chunked_vla_ros.bench.train_rl_run import Measured, UpdateRun
from chunked_vla_ros.bench.train_rl_side import JAX
from chunked_vla_ros.core.statistics import spread

SCHEMA = 1
ONCE_HEADS = ['once, before the first update', 'seconds', 'rows', 'candidates of each']
CHECK_HEADS = [f'ours against JAX after {CHECKED_UPDATES} updates from the same start',
               'largest difference']


def heads(method: str) -> list[str]:
    """Return the names of the columns."""
    return [f'update of {method}', 'updates per second', 'an update [ms]',
            'processor time of an update [ms]', 'times as fast as JAX']


def times_as_fast(runs: Sequence[UpdateRun], side: str, than: str) -> list[float]:
    """Return how many times as fast ``side`` was, of each pair of runs of one round."""
    return [mine.per_s / other.per_s
            for mine, other in zip(_of(runs, side), _of(runs, than), strict=False)]


def update_rows(runs: Sequence[UpdateRun]) -> list[list[str]]:
    """Return the table's lines, one for each side."""
    lines = []
    for side in dict.fromkeys(run.side for run in runs):
        found = _of(runs, side)
        lines.append([
            side, tables.cell([run.per_s for run in found], 2),
            tables.cell([1e3 / run.per_s for run in found], 1),
            tables.cell([1e3 * run.cpu_s / run.updates for run in found], 1),
            '1' if side == JAX else tables.cell(times_as_fast(runs, side, JAX), 2)])
    return lines


def print_tables(sizes: Sizes, found: Measured, console: Console) -> None:
    """Print the tables to the terminal."""
    tables.print_tables(_tables(sizes, found), console)


def markdown(sizes: Sizes, found: Measured, command: str) -> str:
    """Return the tables as Markdown, with the command that makes them."""
    return tables.markdown(_tables(sizes, found), command)


def _tables(sizes: Sizes, found: Measured) -> list[tables.HeadsAndLines]:
    made: list[tables.HeadsAndLines] = [
        (heads(sizes.method), update_rows(found.runs)),
        (CHECK_HEADS, [
            ['a loss, over 1 or the loss', f'{found.agreement.loss:.1e}'],
            ['weights, over how far they moved', f'{found.agreement.weight:.1e}']])]
    if found.once:
        made.append((ONCE_HEADS, [
            [run.side, f'{run.seconds:.1f}', str(sizes.rows), str(sizes.candidates)]
            for run in found.once]))
    return made


def to_json(sizes: Sizes, found: Measured, command: str,
            versions: Mapping[str, str]) -> dict[str, Any]:
    """Return every run, in the order in which they were made, as JSON-ready values."""
    others = [side for side in dict.fromkeys(run.side for run in found.runs) if side != JAX]
    return {
        'schema': SCHEMA, 'command': command, 'versions': dict(versions),
        'sizes': {**asdict(sizes), 'parameters': sizes.parameters}, 'sides': found.facts,
        'agreement': asdict(found.agreement),
        'times_as_fast_as_jax': {
            side: asdict(spread(times_as_fast(found.runs, side, JAX))) for side in others},
        'once': [asdict(run) for run in found.once],
        'runs': [{**asdict(run), 'updates_per_s': run.per_s} for run in found.runs]}


def _of(runs: Sequence[UpdateRun], side: str) -> list[UpdateRun]:
    return [run for run in runs if run.side == side]
