"""
Frames of training rows by number: from the cache, or decoded when they are asked for.

Knows datasets and cameras of the contract; nothing of windows, batches and networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.data.dataset import Dataset, DatasetError
from chunked_vla_ros.data.frame_cache import cache_folder, CacheFile, fill, missing
from chunked_vla_ros.data.image_frames import resized
from chunked_vla_ros.data.lerobot_files import LeRobotFiles
from chunked_vla_ros.data.rlds import PATTERN, Rlds

# A frame further than so many rows from its row's time is another row's.
FARTHEST_ROWS = 1.5
# A dataset's pictures may be a scaled version of the camera's, rounded to whole pixels.
ASPECT_TOLERANCE = 0.02


class EpisodeFrames:
    """
    The frames of one dataset's episodes, at the sizes of the contract.

    :ivar rows: Rows of all episodes.
    :ivar present: Shape (E, C), whether an episode has a camera.
    """

    def __init__(self, path: Path, dataset: Dataset, episodes: Sequence[Episode],
                 cameras: Sequence[CameraSpec]) -> None:
        self.path, self.cameras = path, tuple(cameras)
        self._dataset, self._episodes = dataset, tuple(episodes)
        lengths = np.array([len(each.times_s) for each in episodes], np.int64)
        self.rows = int(lengths.sum())
        self.starts = np.cumsum(lengths) - lengths
        self.present = np.array([[self._has(each, camera) for camera in cameras]
                                 for each in episodes], np.bool_).reshape(
                                     len(self._episodes), len(self.cameras))

    def has(self, camera: int) -> bool:
        """Return whether any episode has the camera."""
        return bool(self.present[:, camera].any())

    @property
    def parts(self) -> tuple[str, ...]:
        """Return which files and folders of the dataset's folder are its own, as patterns."""
        if isinstance(self._dataset, LeRobotFiles):
            return self._dataset.parts
        return (PATTERN, '*.json') if isinstance(self._dataset, Rlds) else ('*.npy',)

    def check_files(self) -> None:
        """
        See that every video is there, without opening one.

        :raises DatasetError: one line that names the file.
        """
        if not isinstance(self._dataset, LeRobotFiles):
            return    # records and arrays have their pictures in them
        for number, camera in np.argwhere(self.present):
            self._dataset.check_video(self._episodes[number].index, self.cameras[camera].name)

    def all_of(self, camera: int) -> Iterator[ImageArray]:
        """
        Yield the camera's frame of every row, (h, w, 3); black where the episode lacks it.

        :raises DatasetError: one line that names the file.
        """
        spec = self.cameras[camera]
        black = np.zeros(spec.frame_shape, np.uint8)
        for number, episode in enumerate(self._episodes):
            count = len(episode.times_s)
            if not self.present[number, camera]:
                yield from (black for _ in range(count))
                continue
            row = 0
            for at_s, pixels in self._dataset.frames(episode.index, spec.name):
                if row == count:
                    break
                yield self._checked(episode, spec, row, at_s, pixels)
                row += 1
            if row < count:
                raise DatasetError(f'{self.path}: episode {episode.index} has {row} frames of '
                                   f'{spec.name} and {count} rows, fetch it again')

    def some_of(self, camera: int, rows: npt.NDArray[np.int64]) -> Iterator[ImageArray]:
        """
        Yield the camera's frames of ``rows``, ascending, decoding as little as can be.

        :raises DatasetError: one line that names the file.
        """
        spec = self.cameras[camera]
        episodes = np.searchsorted(self.starts, rows, 'right') - 1
        for number in np.unique(episodes):
            episode = self._episodes[number]
            wanted = rows[episodes == number] - self.starts[number]
            if not self.present[number, camera]:
                yield from (np.zeros(spec.frame_shape, np.uint8) for _ in wanted)
            elif isinstance(self._dataset, LeRobotFiles):
                times_s = episode.times_s[wanted]
                found = self._dataset.frames_at(episode.index, spec.name, wanted, times_s)
                for row, (at_s, pixels) in zip(wanted, found, strict=True):
                    yield self._checked(episode, spec, int(row), at_s, pixels)
            else:
                yield from self._passing_by(episode, spec, wanted)

    def _passing_by(self, episode: Episode, spec: CameraSpec,
                    wanted: npt.NDArray[np.int64]) -> Iterator[ImageArray]:
        due = list(wanted)
        for row, (at_s, pixels) in enumerate(self._dataset.frames(episode.index, spec.name)):
            while due and due[0] == row:
                yield self._checked(episode, spec, row, at_s, pixels)
                due.pop(0)
            if not due:
                return
        if due:
            raise DatasetError(f'{self.path}: episode {episode.index} has no frame of {spec.name} '
                               f'in row {due[0]} of {len(episode.times_s)}, fetch it again')

    def _has(self, episode: Episode, camera: CameraSpec) -> bool:
        if camera.name not in self._dataset.cameras:
            return False
        if not isinstance(self._dataset, Rlds):
            return True
        # Its writers fill up a camera that an episode lacks with one colour.
        for _, pixels in self._dataset.frames(episode.index, camera.name):
            return bool(pixels.min() != pixels.max())
        return False

    def _checked(self, episode: Episode, spec: CameraSpec, row: int, at_s: float,
                 pixels: ImageArray) -> ImageArray:
        """Return a frame at the contract's size, if it is of its row and of the camera's shape."""
        where = f'{self.path}: episode {episode.index}: camera {spec.name}'
        late_s = abs(at_s - float(episode.times_s[row]))
        if late_s > FARTHEST_ROWS / self._dataset.fps:
            raise DatasetError(
                f'{where}: frame {row} is {late_s:.3g} s away from its row, fetch the video again '
                'or leave the episode out with `chunked-vla dataset delete`')
        height, width, _ = pixels.shape
        if pixels.shape != spec.frame_shape and abs(
                width * spec.height / (height * spec.width) - 1.0) > ASPECT_TOLERANCE:
            raise DatasetError(
                f'{where} has {width}x{height} pixels, which is neither what policies see, '
                f'{spec.frame_shape[1]}x{spec.frame_shape[0]}, nor the shape of the camera, '
                f'{spec.width}x{spec.height}: set width, height or resize in the contract')
        return resized(pixels, spec.frame_shape)


class MappedFrames:
    """Frames of all rows in memory maps; see `data.training_rows.FrameSource`."""

    def __init__(self, counts: Sequence[int],
                 maps: Sequence[Sequence[ImageArray | None]],
                 shapes: Sequence[tuple[int, int, int]]) -> None:
        """
        Join datasets.

        :param counts: Rows of each dataset.
        :param maps: By dataset and camera (rows, h, w, 3); ``None``: it lacks the camera.
        :param shapes: Of each camera, (h, w, 3).
        """
        self._starts = np.cumsum([0, *counts])
        self._maps, self._shapes = maps, shapes

    def read(self, rows: npt.ArrayLike, camera: int) -> ImageArray:
        """Return the frames of ``rows`` (B,): (B, h, w, 3) uint8 RGB."""
        wanted = np.asarray(rows, np.int64)
        only = self._maps[0][camera] if len(self._maps) == 1 else None
        if only is not None:
            return np.asarray(np.take(only, wanted, axis=0))
        found = np.zeros((len(wanted), *self._shapes[camera]), np.uint8)
        for number, maps in enumerate(self._maps):
            frames, start = maps[camera], self._starts[number]
            here = np.flatnonzero((wanted >= start) & (wanted < self._starts[number + 1]))
            if frames is not None and len(here):
                found[here] = np.take(frames, wanted[here] - start, axis=0)
        return found


class DecodedFrames:
    """Frames that are decoded whenever they are asked for; see `FrameSource`."""

    def __init__(self, sources: Sequence[EpisodeFrames]) -> None:
        """:raises DatasetError: a video is missing; one line that names it."""
        for source in sources:
            source.check_files()
        self._sources = tuple(sources)
        self._starts = np.cumsum([0, *(source.rows for source in sources)])

    def read(self, rows: npt.ArrayLike, camera: int) -> ImageArray:
        """
        Return the frames of ``rows`` (B,): (B, h, w, 3) uint8 RGB.

        :raises DatasetError: one cannot be decoded; one line that names the file.
        """
        wanted = np.asarray(rows, np.int64)
        found = np.zeros(
            (len(wanted), *self._sources[0].cameras[camera].frame_shape), np.uint8)
        for number, source in enumerate(self._sources):
            start = self._starts[number]
            here = np.flatnonzero((wanted >= start) & (wanted < self._starts[number + 1]))
            here = here[np.argsort(wanted[here], kind='stable')]
            if len(here):
                for place, frame in zip(
                        here, source.some_of(camera, wanted[here] - start), strict=True):
                    found[place] = frame
        return found


def mapped_frames(sources: Sequence[EpisodeFrames], cache: Path,
                  on_progress: Callable[[int, int], None] | None) -> MappedFrames:
    """
    Return all frames, decoded into ``cache`` where they are not there yet.

    :raises DatasetError: one line that names the file, or the space that is needed.
    """
    cameras = sources[0].cameras
    files = [[CacheFile(
        # Of two sizes: which pictures fit the camera depends on what it publishes.
        f'{spec.name}-{spec.width}x{spec.height}-{spec.frame_shape[1]}x{spec.frame_shape[0]}',
        (source.rows, *spec.frame_shape), partial(source.all_of, number))
        for number, spec in enumerate(cameras) if source.has(number)] for source in sources]
    folders = [cache_folder(cache, source.path, source.parts) for source in sources]
    lacking = [missing(folder, wanted) for folder, wanted in zip(folders, files, strict=True)]
    total, done = sum(file.shape[0] for each in lacking for file in each), 0

    def on_frame() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, max(done, total))

    maps: list[list[ImageArray | None]] = []
    for number, (source, folder, wanted) in enumerate(zip(sources, folders, files, strict=True)):
        later = sum(file.size for each in lacking[number + 1:] for file in each)
        mapped = iter(fill(folder, wanted, later, on_frame))
        maps.append([next(mapped) if source.has(camera) else None
                     for camera in range(len(cameras))])
    return MappedFrames([source.rows for source in sources], maps,
                        [spec.frame_shape for spec in cameras])
