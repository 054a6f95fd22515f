"""
LeRobot datasets v3: many episodes in one parquet file and one video, cut by number and time.

``meta/episodes`` says which file holds an episode and where it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
import math
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.data.dataset import absent, DatasetError, RgbArray
from chunked_vla_ros.data.lerobot_info import LeRobotInfo
from chunked_vla_ros.data.lerobot_table import read_episode, read_rows
from chunked_vla_ros.data.video import video_frames

EPISODES_FOLDER = 'meta/episodes'


class LeRobotV3:
    """A dataset of shared files; see `data.dataset.Dataset`."""

    def __init__(self, info: LeRobotInfo) -> None:
        self._info = info
        self.fps, self.robot_type = info.fps, info.robot_type
        self.state_names, self.action_names = info.state_names, info.action_names
        self.cameras = tuple(info.camera_keys)
        self._entries = _entries(info)
        self.episodes = tuple(
            index for index in sorted(self._entries) if self._table(index).is_file())
        if not self.episodes:
            raise DatasetError(
                f'{info.root}: has none of the {len(self._entries)} episodes that '
                f'{EPISODES_FOLDER} lists, expected files {info.data_path}')

    def episode(self, index: int) -> Episode:
        """
        Return one episode, read anew.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        if index not in self.episodes:
            raise absent(str(self._info.root), 'episode', index, self.episodes)
        tasks = self._entries[index]['tasks']
        return read_episode(
            self._info, self._table(index), index, str(tasks[0]) if tasks else '')

    def frames(self, index: int, camera: str) -> Iterator[tuple[float, RgbArray]]:
        """
        Yield (time in [s], (H, W, 3) RGB) of one camera.

        :raises DatasetError: one line that names the file, or the cameras that there are.
        """
        if camera not in self.cameras:
            raise absent(str(self._info.root), 'camera', camera, self.cameras)
        times_s, entry = self.episode(index).times_s, self._entries[index]
        key = self._info.camera_keys[camera]
        file = self._info.file(
            self._info.video_path, video_key=key, **_place(entry, f'videos/{key}'))
        from_s = entry[f'videos/{key}/from_timestamp']
        if not isinstance(from_s, float) or not math.isfinite(from_s) or from_s < 0.0:
            raise DatasetError(
                f'{self._info.root / EPISODES_FOLDER}: episode {index} of {camera} starts at '
                f'{from_s} s, expected a time in its video')
        return video_frames(file, from_s, times_s, self.fps)

    def _table(self, index: int) -> Path:
        return self._info.file(self._info.data_path, **_place(self._entries[index], 'data'))


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
        columns += [f'videos/{key}/{name}'
                    for name in ('chunk_index', 'file_index', 'from_timestamp')]
    entries: dict[int, dict[str, Any]] = {}
    for file in files:
        for row in read_rows(file, columns).to_pylist():
            whole = [row[name] for name in columns if name.endswith('_index')]
            if not all(type(number) is int and number >= 0 for number in whole):
                raise DatasetError(f'{file}: {whole} are no indices, expected whole numbers')
            entries[row['episode_index']] = row
    return entries
