"""
The recorder benchmark's numbers: what is judged, terminal table, Markdown, JSON.

Losses are sums; every other cell is a median over recordings with the range. Knows nothing about
how they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.recorder_processes import OURS, PLAIN
from chunked_vla_ros.bench.recorder_run import KilledRun, RecorderRun
from chunked_vla_ros.nodes.recorder_load import JOINTS_TOPIC

SCHEMA = 1
TITLES = {OURS: 'recorder_node', PLAIN: 'rclpy + rosbags'}
LARGEST_CLOSING_S, LARGEST_TAIL_S = 1.0, 0.5
NOTHING = '-'


def groups(runs: Sequence[RecorderRun]) -> list[list[RecorderRun]]:
    """Return the recordings of equal side and length, the longest first, ours before the plain."""
    keys = dict.fromkeys((run.seconds, run.side) for run in runs)
    return [[run for run in runs if (run.seconds, run.side) == key]
            for key in sorted(keys, key=lambda key: (-key[0], key[1] != OURS))]


def ratios(runs: Sequence[RecorderRun], pick: Callable[[RecorderRun], float]) -> list[float]:
    """Return plain over ours for each pair of recordings that were made one after the other."""
    shortest_s = min((run.seconds for run in runs if run.side == PLAIN), default=0.0)
    ours, plain = ([pick(run) for run in runs if (run.side, run.seconds) == (side, shortest_s)]
                   for side in (OURS, PLAIN))
    # The first recording may be as long as the pairs; it comes before them.
    ours = ours[len(ours) - len(plain):]
    return [theirs / own for own, theirs in zip(ours, plain, strict=True) if own > 0.0]


def kept(runs: Sequence[RecorderRun], kills: Sequence[KilledRun]) -> bool:
    """Return whether our recorder kept everything that is wanted, in every single recording."""
    ours = [run for run in runs if run.side == OURS]
    return (all(not each.lost and not each.doubled for run in ours for each in run.topics.values())
            and all(run.closing_s < LARGEST_CLOSING_S for run in ours)
            and all(cut.tail_s <= LARGEST_TAIL_S and not cut.holes
                    for kill in kills for cut in kill.topics.values()))


def heads(runs: Sequence[RecorderRun]) -> list[str]:
    """Return the names of the first table's columns."""
    return ['', *(f'{TITLES[group[0].side]}, {len(group)} x {group[0].seconds:g} s'
                  for group in groups(runs)), 'wanted of recorder_node']


def rows(runs: Sequence[RecorderRun]) -> list[list[str]]:
    """Return the first table's lines: name, then a cell for each side and length, then wanted."""
    lines: list[tuple[str, Callable[[Sequence[RecorderRun]], str], str]] = [
        ('images lost / sent', lambda group: _lost(group, joints=False), '0'),
        ('joint states lost / sent', lambda group: _lost(group, joints=True), '0'),
        ('recorder [% of a core]', _column(lambda run: run.cpu_share * 100), ''),
        ('recorder, peak memory [MB]', _column(lambda run: run.peak_mb), ''),
        ('closing [s]', _column(lambda run: run.closing_s, 2),
         f'every time < {LARGEST_CLOSING_S:g}'),
        ('bag [MB]', _column(lambda run: run.bag_mb), ''),
        ('sender [% of a core]', _column(lambda run: run.sender_cpu * 100), ''),
        ('sender, latest message [ms]', _column(lambda run: run.latest_ms), '')]
    last = len(groups(runs)) - 1
    table = [[name, *(cell(group) for group in groups(runs)), wanted]
             for name, cell, wanted in lines]
    for name, pick in (('processor', lambda run: run.cpu_share),
                       ('memory', lambda run: run.peak_mb)):
        values = ratios(runs, pick)
        if values:
            table.append([f'{name}, this / recorder_node in pairs', *([''] * last),
                          tables.cell(values, 2), ''])
    return table


def kill_heads(kills: Sequence[KilledRun]) -> list[str]:
    """Return the names of the second table's columns."""
    return [f'recorder_node after SIGKILL, {len(kills)} times', 'time lost [s]',
            'longest [s]', 'missing before', 'wanted']


def kill_rows(kills: Sequence[KilledRun]) -> list[list[str]]:
    """Return the second table's lines, one for each topic."""
    topics = kills[0].topics if kills else {}
    lines = []
    for topic in topics:
        tails = [kill.topics[topic].tail_s for kill in kills]
        holes = sum(kill.topics[topic].holes for kill in kills)
        lines.append([topic, tables.cell(tails, 3), f'{max(tails):.3f}', str(holes),
                      f'every time <= {LARGEST_TAIL_S:g}, 0'])
    return lines


def _lost(runs: Sequence[RecorderRun], *, joints: bool) -> str:
    counts = [found for run in runs for topic, found in run.topics.items()
              if (topic == JOINTS_TOPIC) == joints]
    sent, lost, doubled = (sum(getattr(found, name) for found in counts)
                           for name in ('sent', 'lost', 'doubled'))
    twice = f', {doubled} twice' if doubled else ''
    return f'{lost} / {sent} ({lost / sent:.1%}){twice}' if sent else NOTHING


def _column(pick: Callable[[RecorderRun], float],
            digits: int = 1) -> Callable[[Sequence[RecorderRun]], str]:
    return lambda group: tables.cell([pick(run) for run in group], digits)


def print_tables(runs: Sequence[RecorderRun], kills: Sequence[KilledRun],
                 console: Console) -> None:
    """Print the tables to the terminal."""
    tables.print_tables(_tables(runs, kills), console)


def markdown(runs: Sequence[RecorderRun], kills: Sequence[KilledRun], command: str) -> str:
    """Return the tables as Markdown, with the command that makes them."""
    return tables.markdown(_tables(runs, kills), command)


def _tables(runs: Sequence[RecorderRun],
            kills: Sequence[KilledRun]) -> list[tables.HeadsAndLines]:
    found: list[tables.HeadsAndLines] = [(heads(runs), rows(runs))]
    return [*found, (kill_heads(kills), kill_rows(kills))] if kills else found


def to_json(runs: Sequence[RecorderRun], kills: Sequence[KilledRun], command: str,
            versions: Mapping[str, str]) -> dict[str, Any]:
    """Return every recording, in the order in which they were made, as JSON-ready values."""
    return {'schema': SCHEMA, 'command': command, 'versions': dict(versions),
            'kept': kept(runs, kills), 'runs': [asdict(run) for run in runs],
            'kills': [asdict(kill) for kill in kills]}
