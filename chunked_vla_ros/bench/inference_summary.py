"""
The inference benchmark's numbers: what is judged, terminal table, Markdown, JSON.

Every cell is a median over the repeats with the range. Knows nothing about how they were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.inference_run import InferenceRun
from chunked_vla_ros.core.statistics import percentile, Spread, spread

LARGEST_P50_MS, LARGEST_P99_MS = 5.0, 10.0
WANTED = {'overhead_p50_ms': LARGEST_P50_MS, 'overhead_p99_ms': LARGEST_P99_MS}
TITLES = {
    'overall_p50_ms': 'observation to published chunk, p50 [ms]',
    'overall_p99_ms': 'the same, p99 [ms]',
    'bare_p50_ms': 'bare session run, p50 [ms]',
    'bare_p99_ms': 'bare session run, p99 [ms]',
    'overhead_p50_ms': 'added by the node: difference of the p50 [ms]',
    'overhead_p99_ms': 'added by the node: difference of the p99 [ms]',
    'outside_policy_p50_ms': 'of it outside the policy, p50 [ms]',
    'outside_policy_p99_ms': 'of it outside the policy, p99 [ms]'}
AGAINST_TITLES = {
    'onnx_ms': 'ONNX Runtime [ms]', 'torch_ms': 'torch eager [ms]',
    'torch_over_onnx': 'torch eager / ONNX Runtime'}
HEADS = ('quantity', 'median (range)', 'wanted')


def summary(runs: Sequence[InferenceRun]) -> dict[str, dict[str, float]]:
    """Return median and range over ``runs`` of every quantity [ms]."""
    quantities = {
        'overall_p50_ms': [percentile(run.overall_ms, 50) for run in runs],
        'overall_p99_ms': [percentile(run.overall_ms, 99) for run in runs],
        'bare_p50_ms': [percentile(run.bare_ms, 50) for run in runs],
        'bare_p99_ms': [percentile(run.bare_ms, 99) for run in runs],
        'overhead_p50_ms': [run.overhead_p50_ms for run in runs],
        'overhead_p99_ms': [run.overhead_p99_ms for run in runs],
        'outside_policy_p50_ms': [percentile(run.outside_policy_ms, 50) for run in runs],
        'outside_policy_p99_ms': [percentile(run.outside_policy_ms, 99) for run in runs]}
    return {name: asdict(spread(values)) for name, values in quantities.items()}


def kept(found: Mapping[str, Any]) -> bool:
    """Return whether the medians over the repeats are within the bounds."""
    return all(found[name]['median'] <= most for name, most in WANTED.items())


def rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the table's lines: quantity, median with range, what is wanted."""
    lines = [(title, _cell(found[name]), f'at most {WANTED[name]:g}' if name in WANTED else '')
             for name, title in TITLES.items()]
    against = found['onnx_against_torch']
    if 'reason' in against:
        return [*lines, ('torch eager on the same weights', f'not measured: {against["reason"]}',
                         '')]
    lines += [(title, _cell(against[name]), '') for name, title in AGAINST_TITLES.items()]
    return [*lines, ('largest difference [rad]', f'{against["difference_rad"]:.1e}', '')]


def _cell(found: Mapping[str, Any]) -> str:
    values = Spread(**found)
    return f'{tables.with_range(values, 2)}, n = {values.count}'


def print_table(found: Mapping[str, Any], console: Console) -> None:
    """Print the table to the terminal."""
    tables.print_tables([(HEADS, rows(found))], console)


def markdown(found: Mapping[str, Any]) -> str:
    """Return the table as Markdown, with the command that makes it."""
    return tables.markdown([(HEADS, rows(found))], found['command'])
