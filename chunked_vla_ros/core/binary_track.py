"""
Move the binary dimensions of a chunk: they switch between values and are never interpolated.

A switch is a jerk-limited move to the new value, so that a gripper keeps its limits too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.curves import RuckigCurve
from chunked_vla_ros.core.profiles import ProfileError, Profiles
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray, MotionState


class BinaryTrack:
    """Drive the joints under ``mask`` to the newest target; the others are left alone."""

    def __init__(self, limits: JointLimits, profiles: Profiles) -> None:
        self._limits, self._profiles = limits, profiles
        self._curve: RuckigCurve | None = None
        self._target: FloatArray | None = None

    def release(self) -> None:
        """Forget the target: the next `aim` starts a new move."""
        self._curve = self._target = None

    def aim(self, t_ns: int, state: MotionState, values: FloatArray,
            mask: NDArray[np.bool_]) -> bool:
        """
        Start a move from ``state`` if the targets (J,) under ``mask`` differ from before.

        :return: Whether that is what the joints do now; else ask again.
        """
        target = np.where(
            mask, np.clip(values, self._limits.lower, self._limits.upper), 0.0)
        if self._target is not None and np.array_equal(target, self._target):
            return True
        start = MotionState(*(np.where(mask, part, 0.0) for part in (
            state.position, state.velocity, state.acceleration)))
        try:
            self._curve = self._profiles.move_to_rest(t_ns, start, target)
        except ProfileError:    # keeps the move under way; the next point asks again
            return False
        self._target = target
        return True

    def overlay(self, t_ns: int, state: MotionState, held: FloatArray,
                mask: NDArray[np.bool_]) -> MotionState:
        """Return ``state`` with the joints under ``mask`` from the move under way, or ``held``."""
        if self._curve is None:
            return MotionState(np.where(mask, held, state.position), state.velocity,
                               state.acceleration)
        own = self._curve.state_at(t_ns)
        if t_ns >= self._curve.end_ns:    # at rest, as the curve of the others has them
            return MotionState(np.where(mask, own.position, state.position), state.velocity,
                               state.acceleration)
        return MotionState(np.where(mask, own.position, state.position),
                           np.where(mask, own.velocity, state.velocity),
                           np.where(mask, own.acceleration, state.acceleration))
