"""
LeRobot datasets v2.0 and v2.1: a parquet file and a video per camera for every episode.

``meta/info.json`` may promise more episodes than there are; only those with a file count.
"""

from __future__ import annotations

import json
from pathlib import Path

from chunked_vla_ros.data.dataset import cause, DatasetError
from chunked_vla_ros.data.lerobot_files import LeRobotFiles
from chunked_vla_ros.data.lerobot_info import LeRobotInfo

EPISODES_FILE = 'meta/episodes.jsonl'


class LeRobotV2(LeRobotFiles):
    """A dataset of one file per episode; see `data.dataset.Dataset`."""

    def __init__(self, info: LeRobotInfo) -> None:
        self._tasks = _tasks(info.root / EPISODES_FILE)
        super().__init__(info, self._tasks, EPISODES_FILE)

    def _task(self, index: int) -> str:
        return self._tasks[index]

    def _table(self, index: int) -> Path:
        return self._info.file(
            self._info.data_path, episode_chunk=index // self._info.chunks_size,
            episode_index=index)

    def _video(self, index: int, camera: str) -> tuple[Path, float]:
        return self._info.file(
            self._info.video_path, episode_chunk=index // self._info.chunks_size,
            episode_index=index, video_key=self._info.camera_keys[camera]), 0.0


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
        except (ValueError, KeyError, TypeError, AttributeError, IndexError,
                RecursionError) as error:
            raise DatasetError(
                f'{file}: line {number} is no episode ({cause(error)}), expected '
                '{"episode_index": 0, "tasks": ["..."], "length": ...}') from error
        tasks[index] = names[0]
    return tasks
