"""
All rows of one or several datasets in a robot contract's order, as a training reads them.

Numbers are kept in memory, frames are not: a `FrameSource` has them. Whatever does not fit the
contract is refused here, before a training begins. Knows no network and no batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chunked_vla_ros.core.action_relation import ActionKind, ActionRelation, relate
from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.dataset_norms import action_kind
from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.robot_spec import CameraSpec, RobotSpec
from chunked_vla_ros.core.training_windows import (
    IntArray,
    make_windows,
    stride_of,
    Windows,
)
from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.data.datasets import Dataset, DatasetError, open_dataset
from chunked_vla_ros.data.frame_cache import default_cache
from chunked_vla_ros.data.frame_source import DecodedFrames, EpisodeFrames, mapped_frames

# Told how many frames are decoded, and of how many.
FrameProgress = Callable[[int, int], None]
# Rows further apart than so many periods are a gap: a chunk across it would be too fast.
LONGEST_GAP_ROWS = 2.5


class FrameSource(Protocol):
    """Frames by row and camera."""

    def read(self, rows: npt.ArrayLike, camera: int) -> ImageArray:
        """
        Return the frames of ``rows`` (B,) of a camera, by its number: (B, h, w, 3) uint8 RGB.

        Where an episode lacks the camera they are black. May be called by several threads.

        :raises DatasetError: a frame cannot be read; one line that names the file.
        """
        ...


@dataclass(frozen=True)
class TrainingRows:
    """
    The R rows of E episodes, episode after episode.

    :ivar joint_names: J joints in the contract's order.
    :ivar cameras: C cameras in the contract's order, of the size that the contract shows.
    :ivar fps: Rows per second in [Hz]; 0 where no times are recorded: then a row is a step.
    :ivar state: Shape (R, J) float32, measured; ``action`` (R, J) float32, absolute targets.
    :ivar episode_starts: Shape (E,), first row of each; ``episode_lengths`` (E,) in rows.
    :ivar episode_ids: E names, ``<dataset>#<number>``.
    :ivar instructions: I distinct instructions.
    :ivar instruction_of: Shape (E,), each episode's number among them.
    :ivar present: Shape (E, C), whether an episode has a camera.
    """

    joint_names: tuple[str, ...]
    cameras: tuple[BundleCamera, ...]
    fps: float
    state: npt.NDArray[np.float32]
    action: npt.NDArray[np.float32]
    episode_starts: IntArray
    episode_lengths: IntArray
    episode_ids: tuple[str, ...]
    instructions: tuple[str, ...]
    instruction_of: IntArray
    present: npt.NDArray[np.bool_]
    frames: FrameSource

    def windows(self, horizon: int, step_s: float,
                episodes: Sequence[int] | IntArray | None = None) -> Windows:
        """
        Return one window for every row of ``episodes``, by default of all of them.

        :raises DatasetError: a step is no whole number of rows.
        """
        try:
            stride = stride_of(self.fps, step_s)
        except ValueError as error:
            raise DatasetError(f'{self.episode_ids[0]}: {error}') from error
        chosen = np.arange(len(self.episode_starts)) if episodes is None else np.asarray(episodes)
        return make_windows(self.episode_starts[chosen], self.episode_lengths[chosen], horizon,
                            stride)


def read_training_rows(datasets: Sequence[str | Path], robot: RobotSpec,
                       cameras: Sequence[str] | None = None, cache: Path | None = None,
                       no_cache: bool = False,
                       on_progress: FrameProgress | None = None) -> TrainingRows:
    """
    Read the datasets, and decode their frames into the cache unless they lie there already.

    :param cameras: Names of the contract's cameras; ``None``: those that a dataset has.
    :param cache: Folder of decoded frames, by default the user's.
    :param no_cache: Keep no frames; decode them when they are asked for, which is slow. Their
        files are looked for at once.
    :raises DatasetError: one line with the file, what was found, and the remedy.
    """
    if not datasets:
        raise DatasetError('no dataset is named, expected one or more')
    opened = [(Path(path), open_dataset(path)) for path in datasets]
    _check_names([path for path, _ in opened])
    specs = _cameras(opened, robot, cameras)
    fps = _rate(opened)
    read = [_Read(path, dataset, robot) for path, dataset in opened]
    episodes = [each for one in read for each in one.episodes]
    lengths = np.array([len(each.state) for each in episodes], np.int64)
    tasks = [each.task for each in episodes]
    instructions = tuple(dict.fromkeys(tasks))
    sources = [EpisodeFrames(one.path, one.dataset, one.episodes, specs) for one in read]
    return TrainingRows(
        joint_names=robot.joint_names,
        cameras=tuple(map(BundleCamera.of, specs)),
        fps=fps,
        state=np.concatenate([one.table('state') for one in read]),
        action=np.concatenate([one.table('action') for one in read]),
        episode_starts=np.cumsum(lengths) - lengths, episode_lengths=lengths,
        episode_ids=tuple(f'{one.path.resolve().name}#{each.index}' for one in read
                          for each in one.episodes),
        instructions=instructions,
        instruction_of=np.array([instructions.index(task) for task in tasks], np.int64),
        present=np.concatenate([source.present for source in sources]),
        frames=DecodedFrames(sources) if no_cache else
        mapped_frames(sources, cache or default_cache(), on_progress))


class _Read:
    """A dataset's numbers, checked against the contract."""

    def __init__(self, path: Path, dataset: Dataset, robot: RobotSpec) -> None:
        self.path, self.dataset = path, dataset
        self._columns = {
            'state': joint_columns(path, 'state', dataset.state_names, robot),
            'action': joint_columns(path, 'action', dataset.action_names, robot)}
        self.episodes = [dataset.episode(index) for index in dataset.episodes]
        for episode in self.episodes:
            _check_times(path, dataset, episode)
        relations: list[ActionRelation | None] = [relate(each) for each in self.episodes]
        if action_kind(relations) is ActionKind.DELTA:
            raise DatasetError(
                f'{path}: its actions are steps from row to row, expected absolute joint targets: '
                'add them up into targets first')

    def table(self, name: str) -> npt.NDArray[np.float32]:
        """Return the rows of 'state' or 'action' in the contract's order."""
        columns = self._columns[name]
        tables: list[Any] = [getattr(each, name)[:, columns] for each in self.episodes]
        return np.concatenate(tables).astype(np.float32)


def joint_columns(path: Path, what: str, names: Sequence[str], robot: RobotSpec) -> list[int]:
    """
    Return the dataset's column of each of the contract's joints, by name or alias.

    :param what: 'state' or 'action', for the message.
    :raises DatasetError: they are not the same joints; the first that differs is named.
    """
    if not names:
        raise DatasetError(
            f'{path}: has no {what} column, expected the joints of {robot.name}: convert its bags '
            'again with a recorded command, or with the next state as action')
    called: dict[str, int] = {}
    for column, name in enumerate(names):
        joint = robot.joint_called(name)
        if joint is None:
            raise DatasetError(
                f'{path}: {what} has joint {name!r}, which {robot.name} lacks: name the contract '
                'that the data is of, or add the name to the aliases of one of its joints')
        if joint in called:
            raise DatasetError(
                f'{path}: {what} has joint {joint!r} of {robot.name} twice, as '
                f'{names[called[joint]]!r} and {name!r}: leave one out')
        called[joint] = column
    for joint in robot.joint_names:
        if joint not in called:
            raise DatasetError(
                f'{path}: {what} lacks joint {joint!r} of {robot.name}: name the contract that '
                'the data is of')
    return [called[joint] for joint in robot.joint_names]


def _check_names(paths: Sequence[Path]) -> None:
    """
    Refuse two datasets of one name: an episode is known by its dataset's name and its number.

    :raises DatasetError: one line that names both.
    """
    there: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name
        if name in there:
            raise DatasetError(
                f'{path}: is called {name}, as {there[name]} is, and {name}#0 would be an episode '
                'of either: give one of the folders another name, or name it once')
        there[name] = path


def _cameras(opened: Sequence[tuple[Path, Dataset]], robot: RobotSpec,
             names: Sequence[str] | None) -> tuple[CameraSpec, ...]:
    """Return the contract's cameras that are wanted and that a dataset has, in its order."""
    there = {camera for _, dataset in opened for camera in dataset.cameras}
    where = ', '.join(str(path) for path, _ in opened[:3])
    known = [camera.name for camera in robot.cameras]
    for name in names or ():
        if name not in known:
            raise DatasetError(f'camera {name!r} is none of {robot.name}, expected one of '
                               f'{", ".join(known) or "none"}')
        if name not in there:
            raise DatasetError(f'{where}: has no camera {name!r}, expected one of '
                               f'{", ".join(sorted(there)) or "none"}')
    return tuple(camera for camera in robot.cameras
                 if camera.name in there and (names is None or camera.name in names))


def _rate(opened: Sequence[tuple[Path, Dataset]]) -> float:
    """Return the datasets' common rate; 0 where they record none."""
    rates = [dataset.fps if dataset.timed else 0.0 for _, dataset in opened]
    for (path, _), rate in zip(opened, rates, strict=True):
        if abs(rate - rates[0]) > 1e-3 * rates[0]:
            raise DatasetError(
                f'{path}: has {rate:g} rows per second and {opened[0][0]} has {rates[0]:g}, '
                'expected the same: convert their bags again with one --fps')
    return rates[0]


def _check_times(path: Path, dataset: Dataset, episode: Episode) -> None:
    if not dataset.timed:
        return
    gaps_s = np.diff(episode.times_s)
    wide = np.flatnonzero(gaps_s > LONGEST_GAP_ROWS / dataset.fps)
    if len(wide):
        row = int(wide[0])
        raise DatasetError(
            f'{path}: episode {episode.index}: {gaps_s[row]:.3g} s pass from row {row} to row '
            f'{row + 1}, expected {1.0 / dataset.fps:.3g} s: leave the episode out with '
            f'`chunked-vla dataset delete`')
