"""
Read recorded demonstrations from files.

The format understood so far is the Franka FR3 leader-follower recording: rows of 42 float64,
time in [ns], then seven joint positions in [rad]; the rest (velocities, torques, pose) is not
needed to replay it. Knows nothing about the robot that will follow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chunked_vla_ros.core.retarget import Demonstration

FRANKA_COLUMNS = 42
FRANKA_JOINTS = tuple(f'fr3_joint{index}' for index in range(1, 8))


class DemonstrationError(ValueError):
    """A demonstration cannot be used; the message is one line with file and remedy."""


def load_demonstration(path: str | Path) -> Demonstration:
    """
    Return the recording in ``path``, a ``.npy`` file or a directory: its first one by name.

    :raises DemonstrationError: one line that names file, found and expected content.
    """
    file = _file(Path(path))
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        cause = getattr(error, 'strerror', None) or ' '.join(str(error).split())
        raise DemonstrationError(f'{file}: cannot be read as a .npy array ({cause})') from error
    shape = getattr(rows, 'shape', None)
    if shape is None or len(shape) != 2 or shape[1] != FRANKA_COLUMNS or rows.dtype.kind != 'f':
        raise DemonstrationError(
            f'{file}: holds {shape} {getattr(rows, "dtype", "")}, expected rows of '
            f'{FRANKA_COLUMNS} float64: t_ns, 7 positions in rad, ...')
    if len(rows) < 2:
        raise DemonstrationError(f'{file}: has {len(rows)} rows, expected at least 2')
    return _franka(rows, file)


def _franka(rows: np.ndarray, file: Path) -> Demonstration:
    time_ns, positions = rows[:, 0], rows[:, 1:1 + len(FRANKA_JOINTS)]
    for name, values in (('time', time_ns[:, None]), ('position', positions)):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise DemonstrationError(f'{file}: {name} in row {bad[0]} is not finite')
    # Subtracted before scaling: epoch nanoseconds in float64 are only good to 256 ns.
    times_s = (time_ns - time_ns[0]) * 1e-9
    back = np.flatnonzero(np.diff(times_s) <= 0.0)
    if len(back):
        raise DemonstrationError(
            f'{file}: time does not increase from row {back[0]} to row {back[0] + 1}')
    return Demonstration(times_s, positions, FRANKA_JOINTS, file.name)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob('*.npy'))
    if not files:
        raise DemonstrationError(f'{path}: has no .npy recording')
    return files[0]
