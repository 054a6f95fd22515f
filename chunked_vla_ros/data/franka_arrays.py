"""
Franka FR3 leader-follower recordings: ``.npy`` files of 42 float64 columns, one episode each.

Columns: time in [ns], seven joint positions in [rad]; the rest (velocities, torques, pose) is not
read. There are no cameras and no commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
import tokenize

import numpy as np

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import absent, cause, ColumnArray, DatasetError, RgbArray

FRANKA_COLUMNS = 42
FRANKA_JOINTS = tuple(f'fr3_joint{index}' for index in range(1, 8))
NOMINAL_HZ = 1000.0
MAGIC = b'\x93NUMPY'


class FrankaArrays:
    """Recordings in ``files``, numbered by name; see `data.dataset.Dataset`."""

    layout = 'Franka recordings'
    timed = True
    robot_type = 'franka_fr3'
    state_names = FRANKA_JOINTS
    action_names: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    fps = NOMINAL_HZ

    def __init__(self, root: Path, files: tuple[Path, ...]) -> None:
        self._root, self._files = root, files
        self.episodes = tuple(range(len(files)))

    def episode(self, index: int) -> Episode:
        """
        Return recording ``index``.

        :raises DatasetError: one line that names the file, or the recordings that there are.
        """
        file = self._file(index)
        rows = _rows(file)
        try:
            # Subtracted before scaling: epoch nanoseconds in float64 are only good to 256 ns.
            return Episode(
                index, '', (rows[:, 0] - rows[0, 0]) * 1e-9, rows[:, 1:1 + len(FRANKA_JOINTS)],
                None, FRANKA_JOINTS, (), (), file.name)
        except ValueError as error:
            raise DatasetError(
                f'{file}: {str(error).replace("state in", "position in")}') from error

    def columns(self, index: int) -> Mapping[str, ColumnArray]:
        """Return {}: nothing else is recorded for each row."""
        self._file(index)
        return {}

    def facts(self, index: int) -> Mapping[str, str]:
        """Return the file of recording ``index``."""
        return {'source': self._file(index).name}

    def frames(self, index: int, camera: str) -> Iterator[tuple[float, RgbArray]]:
        """Refuse: there are no cameras."""
        raise absent(f'{self._root} episode {index}', 'camera', camera, ())

    def _file(self, index: int) -> Path:
        if index not in self.episodes:
            raise absent(str(self._root), 'episode', index, self.episodes)
        return self._files[index]


def _rows(file: Path) -> FloatArray:
    try:
        with file.open('rb') as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise ValueError('it does not begin as one')
        # Mapped, so that a size which the header merely claims is held against the file's.
        rows = np.load(file, mmap_mode='r', allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError,
            tokenize.TokenError) as error:    # numpy reads the header as Python
        raise DatasetError(f'{file}: cannot be read as a .npy array ({cause(error)})') from error
    shape = getattr(rows, 'shape', None)
    if shape is None or len(shape) != 2 or shape[1] != FRANKA_COLUMNS or rows.dtype.kind != 'f':
        raise DatasetError(
            f'{file}: holds {shape} {getattr(rows, "dtype", "")}, expected rows of '
            f'{FRANKA_COLUMNS} float64: t_ns, 7 positions in rad, ...')
    if len(rows) < 2:
        raise DatasetError(f'{file}: has {len(rows)} rows, expected at least 2')
    return np.array(rows, np.float64)
