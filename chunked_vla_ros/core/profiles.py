"""
Jerk-limited profiles by ruckig: stops, moves to a pose, and meeting a moving reference in time.

ruckig keeps velocity, acceleration and jerk limits but silently ignores position limits, so every
caller checks `RuckigCurve.extrema` or leaves it to `core.guard`.
"""

from __future__ import annotations

import numpy as np
from ruckig import (
    ControlInterface,
    InputParameter,
    Result,
    Ruckig,
    RuckigError,
    Synchronization,
    Trajectory,
)

from chunked_vla_ros.core.curves import RuckigCurve
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray, MotionState


class ProfileError(RuntimeError):
    """ruckig found no profile for these states within the limits."""


class Profiles:
    """Plan profiles for the joints of ``limits``; not thread-safe."""

    def __init__(self, limits: JointLimits) -> None:
        count = len(limits.velocity)
        self._count = count
        # From full speed at full acceleration, which must first be turned round at the jerk limit.
        self.longest_stop_s = float((limits.velocity / limits.acceleration
                                     + 2 * limits.acceleration / limits.jerk).max())
        self._solver = Ruckig(count)
        self._stop_input, self._move_input = InputParameter(count), InputParameter(count)
        for given in (self._stop_input, self._move_input):
            given.max_velocity = limits.velocity.tolist()
            given.max_acceleration = limits.acceleration.tolist()
            given.max_jerk = limits.jerk.tolist()
        self._stop_input.control_interface = ControlInterface.Velocity
        # Each joint stops as soon as it can; waiting for the slowest would lengthen every stop.
        self._stop_input.synchronization = Synchronization.No
        self._stop_input.target_velocity = [0.0] * count

    def stop(self, start_ns: int, state: MotionState) -> RuckigCurve:
        """
        Return the shortest stop from ``state``.

        :raises ProfileError: the state is not finite or outside what ruckig can stop.
        """
        if not np.isfinite(state.position).all():
            raise ProfileError('the position is not finite')
        # Counted from where it starts: ruckig takes 0 for a point of every velocity profile, and
        # a joint whose range excludes 0 would seem to leave it.
        relative = MotionState(
            np.zeros_like(state.position), state.velocity, state.acceleration)
        return self._solve(self._stop_input, start_ns, relative, state.position)

    def move(self, start_ns: int, state: MotionState, target: MotionState,
             duration_s: float = 0.0) -> RuckigCurve:
        """
        Return the profile from ``state`` to ``target`` that takes at least ``duration_s`` [s].

        :raises ProfileError: there is none within the limits.
        """
        given = self._move_input
        given.target_position = target.position.tolist()
        given.target_velocity = target.velocity.tolist()
        given.target_acceleration = target.acceleration.tolist()
        given.minimum_duration = duration_s if duration_s > 0.0 else None
        return self._solve(given, start_ns, state)

    def move_to_rest(self, start_ns: int, state: MotionState, pose: FloatArray) -> RuckigCurve:
        """Return the shortest profile that ends at rest at ``pose`` (J,)."""
        return self.move(start_ns, state, MotionState.at_rest(pose))

    def _solve(self, given: InputParameter, start_ns: int, state: MotionState,
               origin: FloatArray | float = 0.0) -> RuckigCurve:
        given.current_position = state.position.tolist()
        given.current_velocity = state.velocity.tolist()
        given.current_acceleration = state.acceleration.tolist()
        trajectory = Trajectory(self._count)
        try:
            result = self._solver.calculate(given, trajectory)
        except (RuckigError, ValueError) as error:    # ValueError: beyond ruckig's numbers
            raise ProfileError(str(error).strip()) from error
        if result not in (Result.Working, Result.Finished):
            raise ProfileError(f'ruckig answered {result}')
        return RuckigCurve(start_ns, trajectory, origin)


def velocity_after_settling(velocity: FloatArray, acceleration: FloatArray,
                            jerk: FloatArray) -> FloatArray:
    """
    Return the velocity reached when acceleration is brought to zero at full jerk, shape (J,).

    v + a |a| / (2 j): the smallest speed that a state can be held to.
    """
    return velocity + acceleration * np.abs(acceleration) / (2 * jerk)
