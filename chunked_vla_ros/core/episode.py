"""
One recorded episode: what was measured and commanded, in rows, with its times.

Plain arrays, whatever file they come from. Knows no file format and no robot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.types import FloatArray, frozen_array


@dataclass(frozen=True)
class Episode:
    """
    A recorded episode.

    :ivar index: Its number in the dataset.
    :ivar task: The instruction, '' where none was recorded.
    :ivar times_s: Shape (N,) in [s], strictly increasing from 0.
    :ivar state: Measured, shape (N, J), in the dataset's units.
    :ivar action: Commanded, shape (N, A), or ``None`` where none was recorded.
    :ivar state_names: J names of the dataset's own.
    :ivar action_names: A names, () without an action.
    :ivar cameras: Names of its cameras.
    :ivar source: Where it was read from, for people.
    """

    index: int
    task: str
    times_s: FloatArray
    state: FloatArray
    action: FloatArray | None
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        times_s = frozen_array(self.times_s, (None,), 'times_s')
        object.__setattr__(self, 'times_s', times_s)
        count = len(times_s)
        if not count:
            raise ValueError('has no rows')
        state = frozen_array(self.state, (count, len(self.state_names)), 'state')
        object.__setattr__(self, 'state', state)
        tables = [('state', state)]
        if self.action is not None:
            action = frozen_array(self.action, (count, len(self.action_names)), 'action')
            object.__setattr__(self, 'action', action)
            tables.append(('action', action))
        for name, values in (('time', times_s[:, None]), *tables):
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                raise ValueError(f'{name} in row {bad[0]} is not finite')
        back = np.flatnonzero(np.diff(times_s) <= 0.0)
        if len(back):
            raise ValueError(f'time does not increase from row {back[0]} to row {back[0] + 1}')
        if times_s[0] != 0.0:
            raise ValueError(f'times start at {times_s[0]:g} s, expected 0')

    @property
    def duration_s(self) -> float:
        """Return the time from the first row to the last in [s]."""
        return float(self.times_s[-1])
