"""
The conversion benchmark's numbers: terminal table, Markdown, JSON.

Every cell is a median over runs with the range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.convert_run import ConvertRun, OURS, OURS_SLOW, PLAIN, SIDES
from chunked_vla_ros.core.statistics import spread

SCHEMA = 1
MEGABYTE = 1e6
FLAT_HEADS = ['ours, episodes', 'frames per second', 'peak memory [MB]']


def speed_up(runs: Sequence[ConvertRun], side: str) -> list[float]:
    """Return by how much ``side`` was faster than the obvious way, of each pair of runs."""
    ours = [run.frames_per_s for run in runs if run.side == side]
    plain = [run.frames_per_s for run in runs if run.side == PLAIN]
    return [mine / other for mine, other in zip(ours, plain, strict=False)]


def rows(runs: Sequence[ConvertRun]) -> list[list[str]]:
    """Return the table's lines: name, then one cell per side."""
    quantities: list[tuple[str, Callable[[ConvertRun], float | None], int]] = [
        ('frames per second', lambda run: run.frames_per_s, 1),
        ('peak memory [MB]', lambda run: run.peak_bytes / MEGABYTE, 0),
        ('video [kB per frame]', lambda run: run.bytes_per_frame / 1000.0, 1),
        ('PSNR [dB]', lambda run: run.psnr_db, 2)]
    lines = [[name, *(_cell([pick(run) for run in runs if run.side == side], digits)
                      for side in SIDES)] for name, pick, digits in quantities]
    lines.append(['times as fast', _cell(speed_up(runs, OURS), 2),
                  _cell(speed_up(runs, OURS_SLOW), 2), '1'])
    return lines


def flat_rows(runs: Sequence[ConvertRun]) -> list[list[str]]:
    """Return the lines of ours with few and with many episodes."""
    lines = []
    for count in sorted({run.episodes for run in runs}):
        of = [run for run in runs if run.episodes == count]
        lines.append([str(count), _cell([run.frames_per_s for run in of], 1),
                      _cell([run.peak_bytes / MEGABYTE for run in of], 0)])
    return lines


def print_tables(runs: Sequence[ConvertRun], flat: Sequence[ConvertRun],
                 console: Console) -> None:
    """Print the tables to the terminal."""
    tables.print_tables(_tables(runs, flat), console)


def markdown(runs: Sequence[ConvertRun], flat: Sequence[ConvertRun], command: str) -> str:
    """Return the tables as Markdown, with the command that makes them."""
    return tables.markdown(_tables(runs, flat), command)


def _tables(runs: Sequence[ConvertRun],
            flat: Sequence[ConvertRun]) -> list[tables.HeadsAndLines]:
    found: list[tables.HeadsAndLines] = [(['', *SIDES], rows(runs)), (FLAT_HEADS, flat_rows(flat))]
    return [(heads, lines) for heads, lines in found if lines]


def _cell(values: Sequence[float | None], digits: int) -> str:
    # The same pictures are compressed in each run: size and PSNR hardly ever have a range.
    return tables.cell(values, digits, equal_once=True)


def to_json(runs: Sequence[ConvertRun], flat: Sequence[ConvertRun], command: str,
            versions: Mapping[str, str]) -> dict[str, Any]:
    """Return every run, in the order in which they were made, as JSON-ready values."""
    return {
        'schema': SCHEMA, 'command': command, 'versions': dict(versions),
        'times_as_fast': {side: asdict(spread(found)) for side in (OURS, OURS_SLOW)
                          if (found := speed_up(runs, side))},
        'runs': [{**asdict(run), 'frames_per_s': run.frames_per_s} for run in runs],
        'flat': [{**asdict(run), 'frames_per_s': run.frames_per_s} for run in flat]}
