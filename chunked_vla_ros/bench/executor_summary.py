"""
The executor benchmark's numbers per rate: medians, ranges, promises kept; table and JSON.

Knows nothing about how they were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.executor_options import (
    CPU_RATE_HZ,
    MOST_CPU,
    MOST_P99_RATIO,
    MOST_RATE_ERROR,
)
from chunked_vla_ros.bench.executor_run import Measurement
from chunked_vla_ros.core.statistics import spread

SCHEMA = 1
ROWS: tuple[tuple[str, Callable[[Measurement], float]], ...] = (
    ('mean rate, error [%]', lambda m: m.rate_error * 100),
    ('lateness p50 [ms]', lambda m: m.p50_s * 1e3),
    ('lateness p99 [ms]', lambda m: m.p99_s * 1e3),
    ('bare loop: lateness p50 [ms]', lambda m: m.bare_p50_s * 1e3),
    ('bare loop: lateness p99 [ms]', lambda m: m.bare_p99_s * 1e3),
    ("p99 over the bare loop's", lambda m: m.p99_ratio),
    ('bare loop: mean rate, error [%]', lambda m: m.bare_rate_error * 100),
    ('share of a core [%]', lambda m: m.cpu * 100),
    ('bare loop: share of a core [%]', lambda m: m.bare_cpu * 100),
    ('resident memory [MiB]', lambda m: m.rss_bytes / 2**20),
    ('chunks accepted', lambda m: m.accepted),
    ('chunks refused', lambda m: m.refused),
    ('holds', lambda m: m.holds))


def promises(runs: Sequence[Measurement]) -> dict[str, bool]:
    """Return for each promise whether the medians of ``runs``, all of one rate, keep it."""
    kept = {
        f'mean rate within {MOST_RATE_ERROR:.1%}':
            abs(spread([run.rate_error for run in runs]).median) <= MOST_RATE_ERROR,
        f'p99 of lateness at most {MOST_P99_RATIO} x bare':
            spread([run.p99_ratio for run in runs]).median <= MOST_P99_RATIO}
    if runs[0].rate_hz <= CPU_RATE_HZ:
        kept[f'at most {MOST_CPU:.0%} of a core'] = (
            spread([run.cpu for run in runs]).median <= MOST_CPU)
    return kept


def by_rate(runs: Sequence[Measurement]) -> dict[float, list[Measurement]]:
    """Return the runs grouped by rate, in increasing order."""
    return {rate: [run for run in runs if run.rate_hz == rate]
            for rate in sorted({run.rate_hz for run in runs})}


def print_table(runs: Sequence[Measurement], console: Console) -> None:
    """Print medians and ranges, one column per rate."""
    groups = by_rate(runs)
    rows = [[name, *(_cell([pick(run) for run in group]) for group in groups.values())]
            for name, pick in ROWS]
    threads = sorted({name for run in runs for name in run.cpu_by_thread})
    rows += [[f'  of it {thread} [%]', *(
        _cell([run.cpu_by_thread.get(thread, 0.0) * 100 for run in group])
        for group in groups.values())] for thread in threads]
    tables.print_tables(
        [(['median (range)', *(f'{rate:g} Hz' for rate in groups)], rows)], console)
    for rate, group in groups.items():
        for promise, kept in promises(group).items():
            console.print(f'{rate:g} Hz: {promise}: {"kept" if kept else "BROKEN"}')


def to_json(runs: Sequence[Measurement], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return every run and the promises as JSON-ready values."""
    return {
        'schema': SCHEMA, **settings, 'n': len(runs), 'runs': [asdict(run) for run in runs],
        'medians': {f'{rate:g}': {
            name: asdict(spread([pick(run) for run in group])) for name, pick in ROWS}
            for rate, group in by_rate(runs).items()},
        'promises': {f'{rate:g}': promises(group) for rate, group in by_rate(runs).items()}}


def _cell(values: Sequence[float]) -> str:
    return tables.with_range(spread(values), 3)
