"""
What LeRobot datasets of every version have in common: episodes, extra columns and frames.

A version says by a subclass where an episode's table and video lie. Knows no layout itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import absent, ColumnArray, DatasetError, RgbArray
from chunked_vla_ros.data.lerobot_info import LeRobotInfo
from chunked_vla_ros.data.lerobot_pictures import picture_frames
from chunked_vla_ros.data.lerobot_table import read_columns, read_episode
from chunked_vla_ros.data.video import single_frames, video_frames

# Whatever else info.json says of where files lie.
FOLDERS = ('data', 'images', 'meta', 'videos')


class LeRobotFiles:
    """A dataset of tables and videos; see `data.dataset.Dataset`."""

    timed = True

    def __init__(self, info: LeRobotInfo, listed: Collection[int], list_name: str) -> None:
        """
        Keep those of the ``listed`` episodes whose table is there.

        :raises DatasetError: there is none.
        """
        self._info = info
        self.layout = f'LeRobot {info.version}'
        self.fps, self.robot_type = info.fps, info.robot_type
        self.state_names, self.action_names = info.state_names, info.action_names
        self.cameras = tuple(info.camera_keys)
        self.episodes = tuple(index for index in sorted(listed) if self._table(index).is_file())
        if not self.episodes:
            raise DatasetError(
                f'{info.root}: has none of the {len(listed)} episodes that {list_name} lists, '
                f'expected files {info.data_path}')

    def episode(self, index: int) -> Episode:
        """
        Return one episode, read anew.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        self._require(index)
        return read_episode(self._info, self._table(index), index, self._task(index))

    def columns(self, index: int) -> Mapping[str, ColumnArray]:
        """
        Return what else the table says of each row, as `data.dataset.Dataset` names it.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        self._require(index)
        return read_columns(self._table(index), index)

    def facts(self, index: int) -> Mapping[str, str]:
        """
        Return what is said of the whole episode.

        :raises DatasetError: one line that names the episodes that there are.
        """
        self._require(index)
        return {}

    def frames(self, index: int, camera: str) -> Iterator[tuple[float, RgbArray]]:
        """
        Yield (time in [s], (H, W, 3) RGB) of one camera.

        :raises DatasetError: one line that names the file, or the cameras that there are.
        """
        if camera not in self.cameras:
            raise absent(str(self._info.root), 'camera', camera, self.cameras)
        times_s, key = self.episode(index).times_s, self._info.camera_keys[camera]
        if key in self._info.image_keys:
            return picture_frames(self._info, self._table(index), key, index, times_s)
        file, from_s = self._video(index, camera)
        return video_frames(file, from_s, times_s, self.fps)

    def frames_at(self, index: int, camera: str, rows: Sequence[int] | NDArray[np.int64],
                  times_s: FloatArray) -> Iterator[tuple[float, RgbArray]]:
        """
        Yield (time in [s], (H, W, 3) RGB) of single rows, ascending, without those between.

        :param times_s: The rows' times, as in `episode`.
        :raises DatasetError: one line that names the file, or the cameras that there are.
        """
        if camera not in self.cameras:
            raise absent(str(self._info.root), 'camera', camera, self.cameras)
        if self._info.camera_keys[camera] in self._info.image_keys:
            wanted = Counter(int(row) for row in rows)
            for row, frame in enumerate(self.frames(index, camera)):
                yield from [frame] * wanted[row]
            return
        file, from_s = self.video(index, camera)
        yield from single_frames(file, from_s, times_s, self.fps)

    def video(self, index: int, camera: str) -> tuple[Path, float]:
        """
        Return the video with a camera's frames of an episode, and where it starts there in [s].

        :raises DatasetError: there is none; one line that names the cameras that have one.
        """
        self._require(index)
        keys = self._info.camera_keys
        if keys.get(camera) in self._info.image_keys | {None}:
            filmed = tuple(name for name, key in keys.items() if key not in self._info.image_keys)
            raise absent(str(self._info.root), 'video of camera', camera, filmed)
        return self._video(index, camera)

    def check_video(self, index: int, camera: str) -> None:
        """
        See that a camera's video of an episode is there; pictures in the table are.

        :raises DatasetError: it is not; one line that names it.
        """
        if self._info.camera_keys.get(camera) in self._info.image_keys:
            return
        file, _ = self.video(index, camera)
        if not file.is_file():
            raise DatasetError(f'{file}: is missing, fetch it again')

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the folders of its root that its files lie in, as patterns."""
        paths = (self._info.data_path, self._info.video_path or '')
        tops = {PurePosixPath(path).parts[0] for path in paths if path}
        return ('*',) if any('{' in top for top in tops) else tuple(sorted({*FOLDERS, *tops}))

    def _require(self, index: int) -> None:
        if index not in self.episodes:
            raise absent(str(self._info.root), 'episode', index, self.episodes)

    def _task(self, index: int) -> str:
        """Return the instruction of an episode."""
        raise NotImplementedError

    def _table(self, index: int) -> Path:
        """Return the parquet file that holds an episode's rows."""
        raise NotImplementedError

    def _video(self, index: int, camera: str) -> tuple[Path, float]:
        """Return a camera's video of an episode, and where in it the episode starts in [s]."""
        raise NotImplementedError
