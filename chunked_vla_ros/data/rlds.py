"""
RLDS datasets as TensorFlow Datasets writes them, ``*.tfrecord*``: one record, one episode.

Read without TensorFlow. They record neither rates nor times: rows are counted, one per second.
Cameras that an episode lacks are padded with a picture of one colour, which is no camera.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.data.dataset import absent, ColumnArray, DatasetError, RgbArray
from chunked_vla_ros.data.picture import decode_picture
from chunked_vla_ros.data.protobuf_wire import WireError
from chunked_vla_ros.data.rlds_features import read_features
from chunked_vla_ros.data.rlds_steps import (
    camera_names,
    EpisodeSteps,
    joint_names,
    OBSERVATION,
    STEPS,
)
from chunked_vla_ros.data.tf_example import parse_example
from chunked_vla_ros.data.tfrecord import TfRecordFile

PATTERN = '*.tfrecord*'
STATES = (f'{OBSERVATION}state', f'{OBSERVATION}proprio', f'{OBSERVATION}robot_state')
ACTIONS = (f'{STEPS}action',)
# Pictures of so many episodes are looked at to tell cameras from padding.
LOOKED_AT = 4


class Rlds:
    """A dataset of records; see `data.dataset.Dataset`."""

    layout = 'RLDS'
    timed = False
    fps = 1.0

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = [TfRecordFile(path) for path in sorted(root.glob(PATTERN))]
        self._places = [(file, number) for file in self._files for number in range(len(file))]
        if not self._places:
            raise DatasetError(f'{root}: its {PATTERN} files hold no record, fetch them again')
        self.episodes = tuple(range(len(self._places)))
        self.robot_type = ''
        self._kept: tuple[int, EpisodeSteps] | None = None
        self._features = read_features(root)
        first = self._steps(0)
        self._state, self._action = first.vector(STATES), first.vector(ACTIONS)
        if self._state is None:
            raise DatasetError(
                f'{first.source}: has none of {", ".join(STATES)}, expected the robot\'s state; '
                f'found {", ".join(first.names)[:300]}')
        self.state_names = joint_names('state', first.width(self._state))
        self.action_names = joint_names('action', first.width(self._action)) \
            if self._action else ()
        self.cameras = self._real_cameras(camera_names(first))

    def episode(self, index: int) -> Episode:
        """
        Return one episode, read anew.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        steps = self._steps(index)
        assert self._state is not None
        state = steps.matrix(self._state, len(self.state_names))
        action = steps.matrix(self._action, len(self.action_names)) if self._action else None
        try:
            return Episode(
                index, steps.task, np.arange(len(state)) / self.fps, state, action,
                self.state_names, self.action_names, self.cameras, steps.source)
        except ValueError as error:
            raise DatasetError(f'{steps.source}: {error}') from error

    def columns(self, index: int) -> Mapping[str, ColumnArray]:
        """
        Return rewards and ends of the steps, as far as they are recorded.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        return self._steps(index).columns()

    def facts(self, index: int) -> Mapping[str, str]:
        """
        Return where the writer says that the episode comes from.

        :raises DatasetError: one line that names the file, or the episodes that there are.
        """
        return self._steps(index).facts()

    def frames(self, index: int, camera: str) -> Iterator[tuple[float, RgbArray]]:
        """
        Yield (time in [s], (H, W, 3) RGB) of one camera.

        :raises DatasetError: one line that names the file, or the cameras that there are.
        """
        if camera not in self.cameras:
            raise absent(str(self._root), 'camera', camera, self.cameras)
        return self._pictures(self._steps(index), camera)

    def _pictures(self, steps: EpisodeSteps, camera: str) -> Iterator[tuple[float, RgbArray]]:
        pictures = steps.pictures(camera)
        for row, content in enumerate(pictures):
            try:
                yield row / self.fps, decode_picture(bytes(content))
            except InputRejected as error:
                raise DatasetError(
                    f'{steps.source}: {camera} in row {row}: {error}, fetch it again') from error

    def _real_cameras(self, names: tuple[str, ...]) -> tuple[str, ...]:
        spread = np.linspace(0, len(self._places) - 1, LOOKED_AT).round().astype(int)
        looked_at = sorted({int(index) for index in spread})
        return tuple(name for name in names if any(
            frame.min() != frame.max() for index in looked_at
            for _, frame in [next(self._pictures(self._steps(index), name))]))

    def _steps(self, index: int) -> EpisodeSteps:
        if self._kept is not None and self._kept[0] == index:
            return self._kept[1]
        if index not in self.episodes:
            raise absent(str(self._root), 'episode', index, self.episodes)
        file, number = self._places[index]
        source = f'{file.path}: record {number}'
        try:
            steps = EpisodeSteps(source, parse_example(file.record(number)), self._features)
        except WireError as error:
            raise DatasetError(f'{source} is no tf.train.Example: {error}') from error
        self._kept = index, steps
        return steps
