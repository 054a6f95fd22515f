"""
The totals of a demonstration in words, for the terminal and for the page alike.

Knows nothing about how the numbers were measured.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.demo.results import DemoResults
from chunked_vla_ros.report.markup import Figure

NOT_MEASURED = 'not measured'


def headline(results: DemoResults) -> str:
    """Return the finding in one line."""
    policy = results.policy.get('policy_id') or 'an unnamed policy'
    return (
        f'{results.successes} of {results.trials} episodes succeeded on {results.robot}, '
        f'driven by {policy}')


def totals(results: DemoResults) -> list[Figure]:
    """Return the summary's numbers, each with its unit and what it means."""
    low, high = results.interval
    cycle, counters = results.cycle_time, results.counters
    return [
        Figure('success', f'{results.successes} / {results.trials}',
               f'95 % interval {low:.2f} to {high:.2f} (Wilson)'),
        Figure('cycle time', f'{cycle.median:.2f} s' if cycle else NOT_MEASURED,
               f'median; {cycle.low:.2f} to {cycle.high:.2f} s' if cycle else ''),
        *_latencies(results),
        Figure('holds', str(counters.holds), 'times motion ran out of chunk'),
        Figure('clamps', str(counters.clamps), 'times a limit changed the motion'),
        Figure('chunks', str(counters.accepted),
               f'{counters.stale} stale, {counters.rejected} rejected, '
               f'{counters.points_skipped} points skipped'),
        Figure('deadline misses', str(counters.deadline_misses),
               f'of {counters.ticks} control ticks'),
        *_rates(results)]


def print_summary(results: DemoResults, console: Console) -> None:
    """Print the table of episodes and the totals."""
    episodes = Table(title=headline(results), title_justify='left')
    for column in ('seed', 'instruction', 'outcome', 'ended by', 'cycle time [s]', 'chunks'):
        episodes.add_column(column, justify='left')
    for one in results.episodes:
        episodes.add_row(
            str(one.seed), one.instruction, 'success' if one.success else 'FAILURE',
            one.termination, f'{one.cycle_time_s:.2f}', str(one.chunks))
    console.print(episodes)
    lines = Table.grid(padding=(0, 2))
    for figure in totals(results):
        lines.add_row(figure.name, figure.value, figure.remark)
    console.print(lines)


def milliseconds(value_s: float | None) -> str:
    """Return a duration in [ms], or that there is none."""
    return NOT_MEASURED if value_s is None else f'{value_s * 1e3:.2f} ms'


def _latencies(results: DemoResults) -> list[Figure]:
    latency, timing = results.timing.observation_to_command_s, results.timing
    p50 = percentile(latency, 50) if latency else None
    p99 = percentile(latency, 99) if latency else None
    return [
        Figure('observation to command', milliseconds(p50),
               f'p50; p99 {milliseconds(p99)} over {len(latency)} chunks'),
        Figure('executor lateness', milliseconds(timing.lateness_p50_s),
               f'p50; p99 {milliseconds(timing.lateness_p99_s)} in the worst 1000 ticks')]


def _rates(results: DemoResults) -> list[Figure]:
    health = results.health
    factor = NOT_MEASURED if health.real_time_factor is None else f'{health.real_time_factor:.3f}'
    return [Figure('real-time factor', factor, 'simulated over wall time')] + [
        Figure(name, f'{received:.1f} Hz', f'received by inference; {expected:.0f} Hz expected')
        for name, (received, expected) in health.rates_hz.items()]
