"""
The transport benchmark's numbers: terminal table, Markdown, JSON.

Losses are sums; every other cell is a median over runs with the range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.transport_run import DEFAULT, OURS, TransportRun

SCHEMA = 1
TITLES = {OURS: 'ours', DEFAULT: "Fast DDS's default"}


def groups(runs: Sequence[TransportRun]) -> list[list[TransportRun]]:
    """Return the runs of equal profile and length, the longest first, ours before the default."""
    keys = dict.fromkeys((run.seconds, run.profile) for run in runs)
    return [[run for run in runs if (run.seconds, run.profile) == key]
            for key in sorted(keys, key=lambda key: (-key[0], key[1] != OURS))]


def heads(runs: Sequence[TransportRun]) -> list[str]:
    """Return the table's column names."""
    return ['', *(f'{TITLES[group[0].profile]}, {len(group)} x {group[0].seconds:g} s'
                  for group in groups(runs))]


def rows(runs: Sequence[TransportRun]) -> list[list[str]]:
    """Return the table's lines: name, then one cell per profile and length."""
    quantities: list[tuple[str, Callable[[Sequence[TransportRun]], str]]] = [
        ('images lost / sent', _lost),
        ('latency p50 [ms]', lambda group: _cell(group, lambda run: run.latency_p50_ms)),
        ('latency p99 [ms]', lambda group: _cell(group, lambda run: run.latency_p99_ms)),
        ('sender [% of a core]', lambda group: _cell(group, lambda run: run.sender_cpu * 100)),
        ('receiver [% of a core]',
         lambda group: _cell(group, lambda run: run.receiver_cpu * 100))]
    return [[name, *(cell(group) for group in groups(runs))] for name, cell in quantities]


def _lost(runs: Sequence[TransportRun]) -> str:
    sent, lost = (sum(getattr(run, name) for run in runs) for name in ('sent', 'lost'))
    return f'{lost} / {sent} ({lost / sent:.1%})'


def _cell(runs: Sequence[TransportRun], pick: Callable[[TransportRun], float | None]) -> str:
    return tables.cell([pick(run) for run in runs], 1, none='nothing arrived')


def lost_with_ours(runs: Sequence[TransportRun]) -> int:
    """Return how many images our profile lost, or delivered so that they had to be refused."""
    return sum(run.lost + run.refused for run in runs if run.profile == OURS)


def print_table(runs: Sequence[TransportRun], console: Console) -> None:
    """Print the table to the terminal."""
    tables.print_tables([(heads(runs), rows(runs))], console)


def markdown(runs: Sequence[TransportRun], command: str) -> str:
    """Return the table as Markdown, with the command that makes it."""
    return tables.markdown([(heads(runs), rows(runs))], command)


def to_json(runs: Sequence[TransportRun], command: str,
            versions: Mapping[str, str]) -> dict[str, Any]:
    """Return every run, in the order in which they were made, as JSON-ready values."""
    return {'schema': SCHEMA, 'command': command, 'versions': dict(versions),
            'lost_with_ours': lost_with_ours(runs), 'runs': [asdict(run) for run in runs]}
