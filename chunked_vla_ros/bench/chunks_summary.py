"""
The replay benchmark's numbers per chunk rate and delay: terminal table, Markdown, JSON.

Every cell is a median over runs with the range, or the worst run where only that matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from chunked_vla_ros.bench.motion_audit import Jumps
from chunked_vla_ros.bench.replay_run import Errors, ReplayRun
from chunked_vla_ros.core.statistics import spread

SCHEMA = 2


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is, and its cell for the runs of one setting."""

    name: str
    cell: Callable[[Sequence[ReplayRun]], str]


def _median(pick: Callable[[ReplayRun], float], scale: float = 1e3, digits: int = 2,
            ) -> Callable[[Sequence[ReplayRun]], str]:
    def cell(runs: Sequence[ReplayRun]) -> str:
        found = spread([pick(run) * scale for run in runs])
        return f'{found.median:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})'
    return cell


def _worst(pick: Callable[[ReplayRun], float], scale: float = 1e3, digits: int = 2,
           ) -> Callable[[Sequence[ReplayRun]], str]:
    return lambda runs: f'{max(pick(run) for run in runs) * scale:.{digits}f}'


def _sum(pick: Callable[[ReplayRun], int]) -> Callable[[Sequence[ReplayRun]], str]:
    return lambda runs: str(sum(pick(run) for run in runs))


def _jumps(runs: Sequence[ReplayRun]) -> tuple[list[Jumps], list[Jumps]]:
    return [run.at_splices for run in runs], [run.elsewhere for run in runs]


def _share(pick: Callable[[ReplayRun], Errors | None]) -> Callable[[Sequence[ReplayRun]], str]:
    def cell(runs: Sequence[ReplayRun]) -> str:
        found = [errors.whole for errors in map(pick, runs) if errors is not None]
        return ' / '.join(
            f'{max(values) * 100:.2f}' for values in (
                [one.rms_rad for one in found], [one.max_rad for one in found])
            if values) or 'none'
    return cell


ROWS = (
    Row('measured against recorded, rms [mrad]', _median(lambda r: r.measured.whole.rms_rad)),
    Row('measured against recorded, max [mrad]', _worst(lambda r: r.measured.whole.max_rad)),
    Row('the same after the first second, rms [mrad]',
        _median(lambda r: r.measured.settled.rms_rad)),
    Row('the same after the first second, max [mrad]',
        _worst(lambda r: r.measured.settled.max_rad)),
    Row('commanded against recorded, rms [mrad]', _median(lambda r: r.commanded.whole.rms_rad)),
    Row('commanded against recorded, max [mrad]', _worst(lambda r: r.commanded.whole.max_rad)),
    Row('joints in shares of their range: measured, rms / max [%]',
        _share(lambda r: r.measured_share)),
    Row('the same: commanded, rms / max [%]', _share(lambda r: r.commanded_share)),
    Row('splices', _sum(lambda r: r.at_splices.intervals)),
    Row('largest step between two commands at splices [mrad]',
        _worst(lambda r: r.splice_step_rad)),
    Row('largest step between two commands anywhere [mrad]', _worst(lambda r: r.command_step_rad)),
    Row('largest position jump at splices [mrad]',
        _worst(lambda r: r.at_splices.position_rad, digits=4)),
    Row('largest velocity jump at splices [mrad/s]',
        _worst(lambda r: r.at_splices.velocity_radps)),
    Row('jump over what the jerk limit explains, at splices / elsewhere', lambda runs: ' / '.join(
        f'{max(found.share_of_jerk_limit for found in side):.2f}' for side in _jumps(runs))),
    Row('jumps, at splices / elsewhere', lambda runs: ' / '.join(
        f'{sum(found.jumps for found in side)} of {sum(found.intervals for found in side)}'
        for side in _jumps(runs))),
    Row('stamps that do not fit the motion, largest error [ms]', lambda runs: (
        f'{sum(found.mistimed for side in _jumps(runs) for found in side)}, '
        f'{max(j.stamp_error_s for side in _jumps(runs) for j in side) * 1e3:.1f}')),
    Row('intervals not judged, after a late tick or a wrong stamp',
        _sum(lambda r: r.limits.unjudged)),
    Row('largest share of velocity / acceleration / jerk limit', lambda runs: ' / '.join(
        f'{max(getattr(run.limits, name) for run in runs):.2f}'
        for name in ('velocity', 'acceleration', 'jerk'))),
    Row('limit violations', _sum(lambda r: r.limits.violations)),
    Row('holds', _sum(lambda r: r.counters.holds)),
    Row('clamps', _sum(lambda r: r.counters.clamps)),
    Row('points skipped', _sum(lambda r: r.counters.points_skipped)),
    Row('chunks accepted / stale / rejected', lambda runs: ' / '.join(
        str(sum(getattr(run.counters, name) for run in runs))
        for name in ('accepted', 'stale', 'rejected'))),
    Row('deadline misses of ticks', lambda runs: (
        f'{sum(run.counters.deadline_misses for run in runs)} of '
        f'{sum(run.counters.ticks for run in runs)}')),
    Row('commands recorded / lost', lambda runs: (
        f'{sum(run.commands for run in runs)} / {sum(run.lost_commands for run in runs)}')))


def by_setting(runs: Sequence[ReplayRun]) -> dict[tuple[float, float], list[ReplayRun]]:
    """Return the runs by chunk rate [Hz] and injected delay [s], in increasing order."""
    settings = sorted({(run.chunk_rate_hz, run.delay_s) for run in runs})
    return {
        setting: [run for run in runs if (run.chunk_rate_hz, run.delay_s) == setting]
        for setting in settings}


def cells(runs: Sequence[ReplayRun]) -> list[list[str]]:
    """Return the table's lines: name, then one cell per setting."""
    groups = by_setting(runs).values()
    return [[row.name, *(row.cell(group) for group in groups)] for row in ROWS]


def heads(runs: Sequence[ReplayRun]) -> list[str]:
    """Return the table's column names."""
    return [f'{len(runs)} runs', *(
        f'{rate_hz:g} Hz, {delay_s * 1e3:.0f} ms delay'
        for rate_hz, delay_s in by_setting(runs))]


def markdown(runs: Sequence[ReplayRun], command: str) -> str:
    """Return the tables as Markdown, with the command that makes them."""
    columns = heads(runs)
    lines = [f'`{command}`', '', _line(columns), _line(['---'] * len(columns))]
    lines += [_line(row) for row in cells(runs)]
    lines += ['', _line(['recording', 'chunks [Hz]', 'length on the robot [s]', 'poses',
                         'time scale', 'change by smoothing, max [mrad] / of range']),
              _line(['---'] * 6)]
    for run in {(run.demonstration, run.chunk_rate_hz): run for run in runs}.values():
        lines.append(_line([
            run.demonstration, f'{run.chunk_rate_hz:g}', f'{run.duration_s:.2f}',
            'moved to begin at home' if run.moved else 'as recorded', f'{run.time_scale:.2f}',
            f'{run.smoothing_deviation_rad * 1e3:.2f} / {run.smoothing_deviation_share:.2%}']))
    return '\n'.join(lines) + '\n'


def print_table(runs: Sequence[ReplayRun], console: Console) -> None:
    """Print the table to the terminal."""
    table = Table()
    for name in heads(runs):
        table.add_column(name)
    for row in cells(runs):
        table.add_row(*row)
    console.print(table)


def to_json(runs: Sequence[ReplayRun], command: str, versions: Mapping[str, str],
            ) -> dict[str, Any]:
    """Return every run as JSON-ready values."""
    return {
        'schema': SCHEMA, 'command': command, 'n': len(runs), 'versions': dict(versions),
        'runs': [_plain(asdict(run)) for run in runs]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def _line(row: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |'
