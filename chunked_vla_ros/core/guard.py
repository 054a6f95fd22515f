"""
The last check before a command leaves: no limit is exceeded, nothing jumps, a stop always exists.

The guard keeps an invariant. Every state it lets through can be stopped within the limits and
inside the position range; if the next state of the plan cannot, the stop of the present state is
followed instead, whose every state can. So by induction no sequence of inputs makes a command
exceed a limit. Knows nothing about chunks or modes.
"""

from __future__ import annotations

import math

import numpy as np

from chunked_vla_ros.core.curves import RuckigCurve
from chunked_vla_ros.core.profiles import ProfileError, Profiles, velocity_after_settling
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray, MotionState

RELATIVE_SLACK = 1e-6
POSITION_SLACK_RAD = 1e-9
STEPS = ('jerk', 'jump in velocity', 'jump in position')


class Guard:
    """Judge the step from one commanded state to the next."""

    def __init__(self, limits: JointLimits, profiles: Profiles) -> None:
        self._limits, self._profiles = limits, profiles
        slack = 1.0 + RELATIVE_SLACK
        self._velocity = limits.velocity * slack
        self._acceleration = limits.acceleration * slack
        self._jerk = limits.jerk * slack
        self._per_jerk, self._per_acceleration = 1 / limits.jerk, 1 / limits.acceleration
        self._settling_s = limits.acceleration / limits.jerk
        # The state judged last is the next one's past.
        self._judged: tuple[MotionState | None, FloatArray] = None, np.empty(0)

    def violation(self, state: MotionState, t_ns: int) -> str:
        """Return why ``state`` may not be commanded at ``t_ns``, or the empty string."""
        if self._fine_for_sure(state):
            return ''
        # One sum instead of three arrays of truths: it is finite only if every part is.
        if not math.isfinite(float((state.position + state.velocity + state.acceleration).sum())):
            return 'not finite'
        if (np.abs(state.acceleration) > self._acceleration).any():
            return 'acceleration'
        settled = velocity_after_settling(state.velocity, state.acceleration, self._limits.jerk)
        if (np.maximum(np.abs(state.velocity), np.abs(settled)) > self._velocity).any():
            return 'velocity'
        try:
            lowest, highest = self._profiles.stop(t_ns, state).extrema()
        except ProfileError:
            return 'no stop from here'
        if ((lowest < self._limits.lower - POSITION_SLACK_RAD)
                | (highest > self._limits.upper + POSITION_SLACK_RAD)).any():
            return 'position'
        return ''

    def _fine_for_sure(self, state: MotionState) -> bool:
        """
        Return whether bounds that are cheap to compute show that ``state`` may be commanded.

        Bringing the acceleration to zero takes |a| / j, in which the speed rises to at most
        p = |v| + a^2 / 2j; stopping from p takes at most p / a_max + a_max / j. The distance is
        less than p times both. Ten times cheaper than planning the stop, which only states near a
        limit need. A value that is not finite is never fine: it does not compare as less.
        """
        limits, turn = self._limits, np.abs(state.acceleration)
        rise_s = turn * self._per_jerk
        peak = np.abs(state.velocity) + turn * rise_s / 2
        reach = peak * (rise_s + peak * self._per_acceleration + self._settling_s)
        room = np.minimum(state.position - limits.lower, limits.upper - state.position)
        fine = ((reach <= room + POSITION_SLACK_RAD) & (peak <= self._velocity)
                & (turn <= self._acceleration))
        return bool(np.count_nonzero(fine) == len(fine))

    def step_violation(self, before: MotionState, after: MotionState, dt_s: float) -> str:
        """
        Return why ``after`` cannot follow ``before`` within ``dt_s`` [s], or the empty string.

        Taylor's theorem with jerk bounded by j: the remainders are at most j dt, j dt^2 / 2 and
        j dt^3 / 6. A step in position, velocity or acceleration breaks one of them.
        """
        rows, half = _rows(after), dt_s * dt_s / 2
        drift = np.array(((1.0, 0.0, 0.0), (dt_s, 1.0, 0.0), (half, dt_s, 1.0)))
        expected = drift @ (self._judged[1] if self._judged[0] is before else _rows(before))
        room = np.array(((dt_s,), (half,), (half * dt_s / 3,))) * self._jerk + RELATIVE_SLACK
        excess = np.abs(rows - expected) > room
        self._judged = after, rows
        return STEPS[int(excess.any(axis=1).argmax())] if np.count_nonzero(excess) else ''

    def stop(self, t_ns: int, state: MotionState) -> RuckigCurve:
        """Return the stop from a state that the guard has let through."""
        return self._profiles.stop(t_ns, state)


def _rows(state: MotionState) -> FloatArray:
    """Return acceleration, velocity and position as one array, shape (3, J)."""
    return np.array((state.acceleration, state.velocity, state.position))
