"""
LeRobot datasets v3: many episodes in one parquet file and one video, cut by number and time.

``meta/episodes`` says which file holds an episode and where it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
import math
from pathlib import Path
from typing import Any

from chunked_vla_ros.data.dataset import cause, DatasetError
from chunked_vla_ros.data.lerobot_files import LeRobotFiles
from chunked_vla_ros.data.lerobot_info import LeRobotInfo
from chunked_vla_ros.data.lerobot_table import read_rows

EPISODES_FOLDER = 'meta/episodes'
# What our own conversion says of an episode; other writers leave it out.
FACTS = ('source', 'outcome', 'action_source', 'verdict', 'facts')


class LeRobotV3(LeRobotFiles):
    """A dataset of shared files; see `data.dataset.Dataset`."""

    def __init__(self, info: LeRobotInfo) -> None:
        self._entries = _entries(info)
        super().__init__(info, self._entries, EPISODES_FOLDER)

    def facts(self, index: int) -> Mapping[str, str]:
        """
        Return what is said of the whole episode.

        :raises DatasetError: one line that names the episodes that there are.
        """
        self._require(index)
        entry = self._entries[index]
        return {name: str(entry[name]) for name in FACTS if entry.get(name) is not None}

    def _task(self, index: int) -> str:
        tasks = self._entries[index]['tasks']
        return str(tasks[0]) if tasks else ''

    def _table(self, index: int) -> Path:
        return self._info.file(self._info.data_path, **_place(self._entries[index], 'data'))

    def _video(self, index: int, camera: str) -> tuple[Path, float]:
        entry, key = self._entries[index], self._info.camera_keys[camera]
        from_s = entry[f'videos/{key}/from_timestamp']
        if not isinstance(from_s, float) or not math.isfinite(from_s) or from_s < 0.0:
            raise DatasetError(
                f'{self._info.root / EPISODES_FOLDER}: episode {index} of {camera} starts at '
                f'{from_s} s, expected a time in its video')
        return self._info.file(
            self._info.video_path, video_key=key, **_place(entry, f'videos/{key}')), from_s


def _place(entry: dict[str, Any], what: str) -> dict[str, Any]:
    return {key: entry[f'{what}/{key}'] for key in ('chunk_index', 'file_index')}


def _entries(info: LeRobotInfo) -> dict[int, dict[str, Any]]:
    """Return what ``meta/episodes`` says about each episode."""
    folder = info.root / EPISODES_FOLDER
    files = sorted(folder.glob('*/*.parquet'))
    if not files:
        raise DatasetError(f'{folder}: has no parquet file, expected one per 1000 episodes')
    columns = ['episode_index', 'tasks', 'data/chunk_index', 'data/file_index']
    for key in info.camera_keys.values():
        if key not in info.image_keys:
            columns += [f'videos/{key}/{name}'
                        for name in ('chunk_index', 'file_index', 'from_timestamp')]
    entries: dict[int, dict[str, Any]] = {}
    for file in files:
        for row in _rows(file, columns):
            whole = [row[name] for name in columns if name.endswith('_index')]
            if not all(type(number) is int and number >= 0 for number in whole):
                raise DatasetError(f'{file}: {whole} are no indices, expected whole numbers')
            if not isinstance(row['tasks'], list | None):
                raise DatasetError(f'{file}: tasks is {row["tasks"]!r:.80}, expected a list')
            entries[row['episode_index']] = row
    return entries


def _rows(file: Path, columns: list[str]) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = read_rows(file, columns, optional=FACTS).to_pylist()
    except (ValueError, OverflowError) as error:    # text that is not UTF-8
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f'{file}: cannot be read ({cause(error)}), fetch it again') from error
    return rows
