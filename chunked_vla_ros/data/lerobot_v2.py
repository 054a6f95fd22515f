"""
LeRobot datasets v2.0 and v2.1: a parquet file and a video per camera for every episode.

``meta/info.json`` may promise more episodes than there are; only those with a file count.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.data.dataset import absent, cause, DatasetError, RgbArray
from chunked_vla_ros.data.lerobot_info import LeRobotInfo
from chunked_vla_ros.data.lerobot_table import read_episode
from chunked_vla_ros.data.video import video_frames

EPISODES_FILE = 'meta/episodes.jsonl'


class LeRobotV2:
    """A dataset of one file per episode; see `data.dataset.Dataset`."""

    def __init__(self, info: LeRobotInfo) -> None:
        self._info = info
        self.fps, self.robot_type = info.fps, info.robot_type
        self.state_names, self.action_names = info.state_names, info.action_names
        self.cameras = tuple(info.camera_keys)
        self._tasks = _tasks(info.root / EPISODES_FILE)
        self.episodes = tuple(
            index for index in sorted(self._tasks) if self._table(index).is_file())
        if not self.episodes:
            raise DatasetError(
                f'{info.root}: has none of the {len(self._tasks)} episodes that '
                f'{EPISODES_FILE} lists, expected files {info.data_path}')

    def episode(self, index: int) -> Episode:
        """
        Return one episode, read anew.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        if index not in self.episodes:
            raise absent(str(self._info.root), 'episode', index, self.episodes)
        return read_episode(self._info, self._table(index), index, self._tasks[index])

    def frames(self, index: int, camera: str) -> Iterator[tuple[float, RgbArray]]:
        """
        Yield (time in [s], (H, W, 3) RGB) of one camera.

        :raises DatasetError: one line that names the file, or the cameras that there are.
        """
        if camera not in self.cameras:
            raise absent(str(self._info.root), 'camera', camera, self.cameras)
        times_s = self.episode(index).times_s
        file = self._info.file(
            self._info.video_path, episode_chunk=index // self._info.chunks_size,
            episode_index=index, video_key=self._info.camera_keys[camera])
        return video_frames(file, 0.0, times_s, self.fps)

    def _table(self, index: int) -> Path:
        return self._info.file(
            self._info.data_path, episode_chunk=index // self._info.chunks_size,
            episode_index=index)


def _tasks(file: Path) -> dict[int, str]:
    """Return the instruction of every listed episode."""
    try:
        lines = file.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{file}: cannot be read ({cause(error)})') from error
    tasks: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            index, names = entry['episode_index'], entry.get('tasks') or ['']
            if type(index) is not int or index < 0 or not isinstance(names[0], str):
                raise TypeError('episode_index or tasks of another type')
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DatasetError(
                f'{file}: line {number} is no episode ({cause(error)}), expected '
                '{"episode_index": 0, "tasks": ["..."], "length": ...}') from error
        tasks[index] = names[0]
    return tasks
