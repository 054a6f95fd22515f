"""
An evaluation on the terminal: progress while it runs, tables at its end.

Knows nothing about how episodes are run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from chunked_vla_ros.evaluate.comparison import Comparison
from chunked_vla_ros.evaluate.episode import EpisodeRecord
from chunked_vla_ros.evaluate.results import EvaluationResults, PolicyResults
from chunked_vla_ros.evaluate.share import Share


@contextmanager
def progress_bar(console: Console, episodes: int) -> Iterator[Callable[[EpisodeRecord], None]]:
    """Yield what is to be told of each episode."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task('episodes', total=episodes)
        succeeded = finished = 0

        def tell(record: EpisodeRecord) -> None:
            nonlocal succeeded, finished
            succeeded, finished = succeeded + record.success, finished + 1
            progress.update(bar, advance=1, description=f'{succeeded} of {finished} succeeded')
        yield tell


def print_results(results: EvaluationResults, console: Console) -> None:
    """Print totals per policy, and success per instruction."""
    totals = Table(title=f'{results.position_set} start positions',
                   title_justify='left')
    totals.add_column('')
    for policy in results.policies:
        totals.add_column(policy.label)
    for name, tell in ROWS.items():
        totals.add_row(name, *(tell(policy) for policy in results.policies))
    console.print(totals)
    table = Table(title='success per instruction', title_justify='left')
    table.add_column('instruction')
    for policy in results.policies:
        table.add_column(policy.label)
    for text in sorted({text for one in results.policies for text in one.by_instruction}):
        table.add_row(text, *(
            in_words(policy.by_instruction.get(text, Share(0, 0)))
            for policy in results.policies))
    console.print(table)
    for warning in filter(None, (one.warning for one in results.policies)):
        console.print(f'warning: {warning}')
    for line in results.missing_controls:
        console.print(f'note: {line}')
    for comparison in results.comparisons:
        console.print(compared(comparison))


def compared(comparison: Comparison) -> str:
    """Return a comparison in one line."""
    times = comparison.cycle_difference
    quicker = '' if times is None else (
        f'; the second took {times.median:+.2f} s [{times.low:+.2f}, {times.high:+.2f}] where '
        'both succeeded')
    agree = 'overlap' if comparison.intervals_overlap else 'do not overlap'
    return (f'{comparison.first} against {comparison.second}, {comparison.pairs} same starts: '
            f'both {comparison.both}, only the first {comparison.only_first}, only the second '
            f'{comparison.only_second}, neither {comparison.neither}; McNemar exact p = '
            f'{comparison.p:.3g}, intervals {agree}{quicker}')


def in_words(share: Share) -> str:
    """Return counts, rate and interval in one line."""
    if share.interval is None or share.rate is None:
        return '-'
    low, high = share.interval
    return f'{share.k} / {share.n}   {share.rate:.0%}   [{low:.0%}, {high:.0%}]'


def number(value: float | None, form: str) -> str:
    """Return a number, or a dash where there is none."""
    return '-' if value is None else format(value, form)


def _cycle_time(policy: PolicyResults) -> str:
    spread = policy.cycle_time
    return '-' if spread is None else (
        f'{spread.median:.2f} s   [{spread.low:.2f}, {spread.high:.2f}]')


def _paired(policy: PolicyResults, name: str) -> str:
    return '-' if policy.language is None else in_words(getattr(policy.language, name))


def _latency(policy: PolicyResults) -> str:
    wall = policy.plan_wall
    return '-' if wall is None else f'p50 {wall[0] * 1e3:.1f} ms, p99 {wall[1] * 1e3:.1f} ms'


ROWS: dict[str, Callable[[PolicyResults], str]] = {
    'success': lambda one: in_words(one.success),
    'named cube lifted first': lambda one: in_words(one.right_cube),
    'pairs: named cube lifted first': lambda one: _paired(one, 'right_cube'),
    'pairs: right both times': lambda one: _paired(one, 'both_right'),
    'cycle time, successes': _cycle_time,
    'wall time of an inference': _latency,
    'latency assumed': lambda one: (
        'none' if one.assumed_latency_s is None else f'{one.assumed_latency_s * 1e3:.0f} ms'),
    'rms jerk [rad/s^3]': lambda one: number(one.mean('rms_jerk'), '.1f'),
    'spectral arc length': lambda one: number(one.mean('spectral_arc_length'), '.2f'),
    'cube to pad at the end [m]': lambda one: number(one.mean('cube_to_pad_m'), '.3f'),
    'chunks refused, holds, clamps': lambda one: (
        f'{one.total("refused")}, {one.total("holds")}, {one.total("clamps")}'),
    'endings': lambda one: ', '.join(
        f'{count} {reason}' for reason, count in one.endings().items())}
