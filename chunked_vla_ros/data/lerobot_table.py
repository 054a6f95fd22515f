"""
Parquet tables of LeRobot datasets: rows of one episode, with times that can be trusted.

Knows columns, not where the files lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chunked_vla_ros.core.dataset_columns import (
    AGE,
    DONE,
    INTERVENTION,
    REWARD,
    SOURCE_STAMP,
    STAMP,
    SUCCESS,
)
from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import cause, ColumnArray, DatasetError, need
from chunked_vla_ros.data.lerobot_info import ACTION, LeRobotInfo, STATE

# Columns beyond state, action and numbers, as `data.dataset.Dataset.columns` names them.
EXTRA_COLUMNS = (REWARD, DONE, SUCCESS, INTERVENTION, STAMP)
STREAM_COLUMNS = (SOURCE_STAMP, AGE)


def read_rows(file: Path, columns: list[str], episode: int | None = None,
              optional: Sequence[str] = ()) -> Any:
    """
    Return a pyarrow table of ``columns``, of one episode where it is named.

    :param optional: Columns that are read where they are there.
    :raises DatasetError: one line that names the file and the reason.
    """
    parquet, arrow = need('pyarrow.parquet'), need('pyarrow')
    filters = None if episode is None else [('episode_index', '=', episode)]
    try:
        names = parquet.read_schema(file).names
        missing = [column for column in columns if column not in names]
        if missing:
            raise DatasetError(f'{file}: has no column {missing[0]}, expected one as in info.json')
        there = [column for column in optional if column in names]
        return parquet.read_table(file, columns=columns + there, filters=filters)
    except (OSError, UnicodeDecodeError, arrow.ArrowException) as error:
        raise DatasetError(
            f'{file}: cannot be read as parquet ({cause(error)}), fetch it again') from error


def read_columns(file: Path, episode: int) -> Mapping[str, ColumnArray]:
    """
    Return the extra columns that a table has, (N,) each, of one episode.

    :raises DatasetError: one line that names the file and the reason.
    """
    try:
        names = need('pyarrow.parquet').read_schema(file).names
    except (OSError, UnicodeDecodeError, need('pyarrow').ArrowException) as error:
        raise DatasetError(
            f'{file}: cannot be read as parquet ({cause(error)}), fetch it again') from error
    wanted = [name for name in names
              if name in EXTRA_COLUMNS or name.startswith(STREAM_COLUMNS)]
    if not wanted:
        return {}
    table = read_rows(file, wanted, episode)
    found = {}
    for name in wanted:
        values = table[name].to_numpy()
        if values.dtype == object and len(values) and hasattr(values[0], '__len__'):
            values = np.array([row[0] if len(row) == 1 else None for row in values])
        if values.dtype.kind not in 'biuf':
            raise DatasetError(f'{file}: {name} holds {values.dtype}, expected a number per row')
        found[name] = values
    return found


def read_episode(info: LeRobotInfo, file: Path, index: int, task: str) -> Episode:
    """
    Return episode ``index``, whose rows are in ``file``.

    :raises DatasetError: one line that names the file and the reason.
    """
    columns = [STATE, *([ACTION] if info.action_names else []), 'timestamp', 'frame_index',
               'episode_index']
    table = read_rows(file, columns, index)
    if not table.num_rows:
        raise DatasetError(f'{file}: has no rows of episode {index}, fetch it again')
    source = f'{info.root.resolve().name} episode {index}'
    try:
        return Episode(
            index, task, _times(table, info.fps), _matrix(table, STATE, len(info.state_names)),
            _matrix(table, ACTION, len(info.action_names)) if info.action_names else None,
            info.state_names, info.action_names, tuple(info.camera_keys), source)
    except ValueError as error:
        raise DatasetError(f'{file}: episode {index}: {error}') from error


def _times(table: Any, fps: float) -> FloatArray:
    """
    Return the rows' times in [s] from 0: frame numbers over the rate where the table agrees.

    The table's own are float32, 0.5 us off at 10 s and 8 us off at 100 s.
    """
    recorded = _column(table, 'timestamp')
    frames = _column(table, 'frame_index')
    counted: FloatArray = (frames - frames[0]) / fps
    recorded -= recorded[0]
    if np.isfinite(recorded).all() and np.abs(recorded - counted).max() <= 0.5 / fps:
        return counted
    return recorded


def _column(table: Any, name: str) -> FloatArray:
    return np.array(table[name].to_numpy(), dtype=np.float64)


def _matrix(table: Any, name: str, width: int) -> FloatArray:
    try:
        rows = np.array([np.atleast_1d(row) for row in table[name].to_numpy()], np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f'{name} has rows of different width, expected {width}') from error
    if rows.shape[1:] != (width,):
        raise ValueError(f'{name} has rows of {rows.shape[1:]}, expected {width} as in info.json')
    return rows
