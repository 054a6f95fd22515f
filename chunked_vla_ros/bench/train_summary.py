"""
The training benchmark's numbers: terminal table, Markdown, JSON.

Every cell is a median over runs with the range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from chunked_vla_ros.bench import tables
from chunked_vla_ros.bench.train_run import LoadRun, OURS, PLAIN, PLAIN_WORKERS, TrainRun
from chunked_vla_ros.core.statistics import spread

SCHEMA = 1
LOAD_HEADS = ['reading examples', 'examples per second', 'ours is times as fast']
TRAIN_HEADS = ['training', 'steps per second', 'examples per second', 'waits for data [%]',
               'GPU memory [MB]']


def speed_up(loads: Sequence[LoadRun], side: str) -> list[float]:
    """Return by how much ours was faster than ``side``, of each pair of runs of one round."""
    ours = [run.windows_per_s for run in loads if run.side == OURS]
    other = [run.windows_per_s for run in loads if run.side == side]
    return [mine / theirs for mine, theirs in zip(ours, other, strict=False)]


def sides_of(loads: Sequence[LoadRun]) -> list[str]:
    """Return the ways that were measured, in the order in which they came first."""
    return list(dict.fromkeys(run.side for run in loads))


def load_rows(loads: Sequence[LoadRun]) -> list[list[str]]:
    """Return the table's lines, one for each way of reading."""
    return [[side, tables.cell([run.windows_per_s for run in loads if run.side == side], 0),
             '1' if side == OURS else tables.cell(speed_up(loads, side), 1)]
            for side in sides_of(loads)]


def train_rows(trains: Sequence[TrainRun]) -> list[list[str]]:
    """Return the line of the training."""
    if not trains:
        return []
    return [[f'batches of {trains[0].batch_size} on {trains[0].device}',
             tables.cell([run.steps_per_s for run in trains], 2),
             tables.cell([run.steps_per_s * run.batch_size for run in trains], 0),
             tables.cell([100.0 * run.wait_share for run in trains], 1),
             (tables.cell([run.peak_bytes / 1e6 for run in trains], 0)
              if trains[0].peak_bytes else '-')]]


def print_tables(loads: Sequence[LoadRun], trains: Sequence[TrainRun], console: Console) -> None:
    """Print the tables to the terminal."""
    tables.print_tables(_tables(loads, trains), console)


def markdown(loads: Sequence[LoadRun], trains: Sequence[TrainRun], command: str) -> str:
    """Return the tables as Markdown, with the command that makes them."""
    return tables.markdown(_tables(loads, trains), command)


def _tables(loads: Sequence[LoadRun],
            trains: Sequence[TrainRun]) -> list[tables.HeadsAndLines]:
    return [(LOAD_HEADS, load_rows(loads)), (TRAIN_HEADS, train_rows(trains))]


def to_json(loads: Sequence[LoadRun], trains: Sequence[TrainRun], command: str,
            facts: Mapping[str, object], versions: Mapping[str, str]) -> dict[str, Any]:
    """Return every run, in the order in which they were made, as JSON-ready values."""
    return {
        'schema': SCHEMA, 'command': command, 'versions': dict(versions), **facts,
        'times_as_fast': {side: asdict(spread(found)) for side in (PLAIN, PLAIN_WORKERS)
                          if (found := speed_up(loads, side))},
        'steps_per_s': asdict(spread([run.steps_per_s for run in trains])),
        'wait_share': asdict(spread([run.wait_share for run in trains])),
        'loads': [{**asdict(run), 'windows_per_s': run.windows_per_s} for run in loads],
        'trains': [{**asdict(run), 'steps_per_s': run.steps_per_s,
                    'wait_share': run.wait_share} for run in trains]}
