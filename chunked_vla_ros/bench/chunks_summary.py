"""
The replay benchmark's numbers per chunk rate and delay: terminal table, Markdown, JSON.

One row per setting tells what matters; a second table, one column per setting, tells the rest.
Every cell is a median over runs with the range, or the worst run where only that matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.motion_audit import Jumps
from chunked_vla_ros.bench.replay_run import Errors, ReplayRun, Unfinished
from chunked_vla_ros.core.statistics import spread

SCHEMA = 3


@dataclass(frozen=True)
class Row:
    """One line of the table: what it is, and its cell for the runs of one setting."""

    name: str
    cell: Callable[[Sequence[ReplayRun]], str]


def _median(pick: Callable[[ReplayRun], float], scale: float = 1e3, digits: int = 2,
            ) -> Callable[[Sequence[ReplayRun]], str]:
    return lambda runs: tables.with_range(spread([pick(run) * scale for run in runs]), digits)


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


def _rms_and_max(pick: Callable[[ReplayRun], Errors]) -> Callable[[Sequence[ReplayRun]], str]:
    rms, largest = (
        _median(lambda run: pick(run).whole.rms_rad), _worst(lambda run: pick(run).whole.max_rad))
    return lambda runs: f'{rms(runs)} / {largest(runs)}'


def _reasons(runs: Sequence[ReplayRun]) -> str:
    total: Counter[str] = Counter()
    for run in runs:
        total.update(run.said.rejections)
    return ', '.join(f'{reason} {count}' for reason, count in total.most_common()) or 'none'


def _ticks(runs: Sequence[ReplayRun]) -> str:
    middle = spread([run.taking_tick_s[0] for run in runs]).median
    return f'{middle * 1e3:.2f} / {max(run.taking_tick_s[1] for run in runs) * 1e3:.2f}'


def _counts(*pick: Callable[[ReplayRun], int]) -> Callable[[Sequence[ReplayRun]], str]:
    return lambda runs: ' / '.join(str(sum(one(run) for run in runs)) for one in pick)


# One row per setting: what a reader asks first.
COLUMNS = (
    Row('runs', lambda runs: str(len(runs))),
    Row('commanded: rms / max [mrad]', _rms_and_max(lambda r: r.commanded)),
    Row('measured: rms / max [mrad]', _rms_and_max(lambda r: r.measured)),
    Row('in shares of range, commanded: rms / max [%]', _share(lambda r: r.commanded_share)),
    Row('limit violations / jumps', _counts(
        lambda r: r.limits.violations, lambda r: r.at_splices.jumps + r.elsewhere.jumps)),
    Row('holds / guard stops', _counts(lambda r: r.counters.holds, lambda r: r.guard_stops)),
    Row('chunks taken / refused', _counts(
        lambda r: r.counters.accepted, lambda r: r.counters.stale + r.counters.rejected)),
    Row('waits for the arm, late [s]', lambda runs: (
        f'{sum(run.said.resumed for run in runs)}, {max(run.said.late_s for run in runs):.2f}')),
    Row('observation to command, max [ms]', _worst(
        lambda r: r.observation_to_command_s, digits=0)),
    Row('tick taking a chunk: median / max [ms]', _ticks),
    Row('lateness p99 [ms]', _worst(lambda r: r.lateness_p99_s)),
    Row('late ticks', lambda runs: (
        f'{sum(run.counters.deadline_misses for run in runs)} of '
        f'{sum(run.counters.ticks for run in runs)}')))

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
    Row('stops of the guard at a limit', _sum(lambda r: r.guard_stops)),
    Row('chunks changed to keep a limit, or off a position limit',
        _sum(lambda r: r.counters.clamps - r.guard_stops)),
    Row('waits of the replay for an arm that was held, late by them at most [s]', lambda runs: (
        f'{sum(run.said.resumed for run in runs)}, {max(run.said.late_s for run in runs):.2f}')),
    Row('points skipped', _sum(lambda r: r.counters.points_skipped)),
    Row('chunks accepted / stale / rejected', lambda runs: ' / '.join(
        str(sum(getattr(run.counters, name) for run in runs))
        for name in ('accepted', 'stale', 'rejected'))),
    Row('reasons of refusal', _reasons),
    Row('observation to first command, largest [ms]',
        _worst(lambda r: r.observation_to_command_s)),
    Row('tick that takes a chunk, median / largest [ms]', _ticks),
    Row('any other tick, median [ms]', _median(lambda r: r.other_tick_s)),
    Row('lateness of ticks, p99 of the worst 1000 [ms]', _worst(lambda r: r.lateness_p99_s)),
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


def overview(runs: Sequence[ReplayRun]) -> list[list[str]]:
    """Return head and lines of the table with one row per setting."""
    columns = [column for column in COLUMNS
               if 'shares' not in column.name or any(run.commanded_share for run in runs)]
    return [['chunks [Hz]', 'delay [ms]', *(column.name for column in columns)], *(
        [f'{rate_hz:g}', f'{delay_s * 1e3:g}', *(column.cell(group) for column in columns)]
        for (rate_hz, delay_s), group in by_setting(runs).items())]


def frames(runs: Sequence[ReplayRun]) -> list[list[str]]:
    """Return head and lines of the table of played cameras; empty if none was played."""
    lines = []
    for (rate_hz, delay_s), group in by_setting(runs).items():
        for name in sorted({camera.name for run in group for camera in run.said.cameras}):
            found = [one for run in group for one in run.said.cameras if one.name == name]
            rate = spread([one.rate_hz for one in found])
            lines.append([
                f'{rate_hz:g}', f'{delay_s * 1e3:g}', name,
                f'{tables.with_range(rate, 1)} of {found[0].expected_hz:g}',
                str(sum(one.sent for one in found)),
                str(sum(one.lost for one in found)), str(sum(one.refused for one in found))])
    head = ['chunks [Hz]', 'delay [ms]', 'camera', 'rate [Hz]', 'images sent', 'lost',
            'not decoded']
    return [head, *lines] if lines else []


def recordings(runs: Sequence[ReplayRun]) -> list[list[str]]:
    """Return head and lines of the table of what was replayed, per chunk rate."""
    return [['recording', 'chunks [Hz]', 'length on the robot [s]', 'poses', 'time scale',
             'change by smoothing, max [mrad] / of range'], *(
        [run.demonstration, f'{run.chunk_rate_hz:g}', f'{run.duration_s:.2f}',
         'moved to begin at home' if run.moved else 'as recorded', f'{run.time_scale:.2f}',
         f'{run.smoothing_deviation_rad * 1e3:.2f} / {run.smoothing_deviation_share:.2%}']
        for run in {(run.demonstration, run.chunk_rate_hz): run for run in runs}.values())]


def markdown(runs: Sequence[ReplayRun], command: str,
             unfinished: Sequence[Unfinished] = ()) -> str:
    """Return the tables as Markdown, with the command that makes them."""
    found = (overview(runs), frames(runs), [heads(runs), *cells(runs)], recordings(runs))
    text = tables.markdown([(lines[0], lines[1:]) for lines in found if lines], command)
    if unfinished:
        text += '\nNot finished, and in no number above:\n\n'
        text += ''.join(f'- {one}\n' for one in unfinished)
    return text


def print_table(runs: Sequence[ReplayRun], console: Console) -> None:
    """Print a table with one column per setting to the terminal, and the cameras below it."""
    tables.print_tables([(head, body) for head, *body in filter(
        None, ([heads(runs), *cells(runs)], frames(runs)))], console)


def to_json(runs: Sequence[ReplayRun], command: str, versions: Mapping[str, str],
            unfinished: Sequence[Unfinished] = ()) -> dict[str, Any]:
    """Return every run as JSON-ready values."""
    return {
        'schema': SCHEMA, 'command': command, 'n': len(runs), 'versions': dict(versions),
        'runs': [_plain(asdict(run)) for run in runs],
        'unfinished': [asdict(one) for one in unfinished]}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
