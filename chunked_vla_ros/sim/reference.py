"""
What a servo follows: a reference gives position, velocity and acceleration at any instant.

Two kinds come from the two command topics of a ros2_control arm. `PositionStream` rebuilds a
smooth motion from bare positions that arrive with jitter; `TrajectoryTrack` follows timed points
as joint_trajectory_controller does. Knows nothing about MuJoCo or ROS.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import FloatArray, MotionState, NS_PER_S

# A critically damped phase-locked loop: jitter is averaged over about 40 commands.
PHASE_GAIN = 0.05
PERIOD_GAIN = PHASE_GAIN**2 / 4
# If mean and median of so many intervals are off by more than this, the rate is another one.
MEASURED_INTERVALS = 17
RATE_MISMATCH = 0.18
# Velocity is the mean over this time, or one period, at most over so many commands.
VELOCITY_SPAN_NS = 4_500_000
VELOCITY_STEPS = 8
# A gap of this many periods ends a stream: the next command starts a new one, at rest.
STREAM_GAP_PERIODS = 20
# Motion goes on between commands and over one that is missing, then the last position holds.
EXTRAPOLATED_PERIODS = 2.0


class Reference(Protocol):
    """A motion in time; asked for instants that do not go back."""

    def at(self, time_ns: int) -> MotionState:
        """Return the motion at ``time_ns``."""


class HeldPosition:
    """Stand still."""

    def __init__(self, position: FloatArray) -> None:
        self._state = MotionState.at_rest(position)

    def at(self, time_ns: int) -> MotionState:
        """Return the held position."""
        return self._state


class PositionStream:
    """
    A motion rebuilt from positions that are sent at a constant rate and arrive with jitter.

    A command's due time is estimated by counting periods and following the arrivals slowly, so
    that 1 ms of jitter on a period of 5 ms does not become 20 % of velocity.

    :param position: First command, shape (J,) in [rad].
    :param period_ns: Expected period; the true one is measured.
    :param velocity_limit: Bound of the rebuilt velocity, shape (J,) in [rad/s].
    """

    def __init__(self, position: FloatArray, time_ns: int, period_ns: int,
                 velocity_limit: FloatArray) -> None:
        self._velocity_limit = velocity_limit
        self._period_ns = float(period_ns)
        self._restart(position, time_ns)

    def _restart(self, position: FloatArray, time_ns: int) -> None:
        self._position, self._velocity = position, np.zeros_like(position)
        # Due times are counted from here: sums of floats must not depend on the time of day.
        self._origin_ns = self._arrived_ns = time_ns
        self._due_ns = 0.0
        # (step, periods it spans) of the newest commands
        self._steps: deque[tuple[FloatArray, int]] = deque(maxlen=VELOCITY_STEPS)
        self._intervals_ns: deque[int] = deque(maxlen=MEASURED_INTERVALS)

    def accept(self, position: FloatArray, time_ns: int) -> None:
        """Take the next command, which arrived at ``time_ns``."""
        if time_ns - self._arrived_ns > STREAM_GAP_PERIODS * self._period_ns:
            self._restart(position, time_ns)
            return
        periods = self._follow(time_ns)
        self._steps.append((position - self._position, periods))
        velocity = self._newest_velocity()
        self._velocity = np.clip(velocity, -self._velocity_limit, self._velocity_limit)
        self._position, self._arrived_ns = position, time_ns

    def _follow(self, time_ns: int) -> int:
        """Follow the arrivals with due time and period; return the periods since the last one."""
        self._intervals_ns.append(time_ns - self._arrived_ns)
        since_ns = time_ns - self._origin_ns
        mean_ns = sum(self._intervals_ns) / len(self._intervals_ns)
        median_ns = sorted(self._intervals_ns)[len(self._intervals_ns) // 2]
        # Jitter moves the median, missing commands move the mean; another rate moves both.
        smallest_ns = min(abs(mean_ns - self._period_ns), abs(median_ns - self._period_ns))
        if (len(self._intervals_ns) == MEASURED_INTERVALS
                and smallest_ns > RATE_MISMATCH * self._period_ns):
            self._period_ns, self._due_ns = max(1.0, mean_ns), float(since_ns)
            return 1
        periods = max(0, round((since_ns - self._due_ns) / self._period_ns))
        expected_ns = self._due_ns + periods * self._period_ns
        lateness_ns = since_ns - expected_ns
        self._due_ns = expected_ns + PHASE_GAIN * lateness_ns
        self._period_ns += PERIOD_GAIN * lateness_ns
        return periods

    def _newest_velocity(self) -> FloatArray:
        """
        Return the newest steps over their time, shape (J,) in [rad/s].

        Steps are added up over `VELOCITY_SPAN_NS`. Where the newest seems to span no period or
        several, one command was late or is missing, and it cannot be told which: the mean with
        the step before is nearer to the truth in both cases.
        """
        step, periods, count = np.zeros_like(self._position), 0, 0
        wanted = 1 if self._steps[-1][1] == 1 else 2
        for earlier, spanned in reversed(self._steps):
            step, periods, count = step + earlier, periods + spanned, count + 1
            if count >= wanted and periods * self._period_ns >= VELOCITY_SPAN_NS:
                break
        return step * (NS_PER_S / (max(1, periods) * self._period_ns))

    def at(self, time_ns: int) -> MotionState:
        """Return the motion, carried on over `EXTRAPOLATED_PERIODS` and then held."""
        age_ns = time_ns - self._origin_ns - self._due_ns
        if age_ns > EXTRAPOLATED_PERIODS * self._period_ns:
            return MotionState.at_rest(self._position)
        position = self._position + self._velocity * (age_ns / NS_PER_S)
        return MotionState(position, self._velocity, np.zeros_like(position))


@dataclass(frozen=True)
class TrajectoryCommand:
    """
    Timed points, as in trajectory_msgs/JointTrajectory.

    :ivar start_ns: When offset 0 is due; 0 means on arrival.
    :ivar offsets_ns: Due times after the start, shape (P,) int64, increasing.
    :ivar positions: Shape (P, J) in [rad].
    :ivar velocities: Shape (P, J) in [rad/s], or None.
    :ivar accelerations: Shape (P, J) in [rad/s^2], or None; needs velocities.
    """

    start_ns: int
    offsets_ns: NDArray[np.int64]
    positions: FloatArray
    velocities: FloatArray | None = None
    accelerations: FloatArray | None = None


@dataclass(frozen=True)
class _Knot:
    time_ns: int
    position: FloatArray
    velocity: FloatArray | None
    acceleration: FloatArray | None


class TrajectoryTrack:
    """
    Follow a command from its start on, and what was followed before until then.

    The motion leads from the state at the start through the points that are not past; it is
    quintic between points with accelerations, cubic with velocities, else linear, and holds the
    last point.
    """

    def __init__(self, command: TrajectoryCommand, before: Reference, now_ns: int) -> None:
        begin_ns = max(command.start_ns or now_ns, now_ns)
        start = before.at(begin_ns)
        self._before: Reference | None = before
        self._knots = [_Knot(begin_ns, start.position, start.velocity, start.acceleration)]
        self._knots += _knots_after(command, begin_ns, command.start_ns or now_ns)
        self._times_ns = [knot.time_ns for knot in self._knots]

    @property
    def knots(self) -> int:
        """Return how many points of the command are still ahead."""
        return len(self._knots) - 1

    def at(self, time_ns: int) -> MotionState:
        """Return the motion at ``time_ns``."""
        index = bisect_right(self._times_ns, time_ns)
        if index == 0:
            assert self._before is not None, 'a reference is not asked for its past'
            return self._before.at(time_ns)
        self._before = None     # or a stream of trajectories would keep every predecessor
        if index == len(self._knots):
            return MotionState.at_rest(self._knots[-1].position)
        return _between(self._knots[index - 1], self._knots[index], time_ns)


def _knots_after(command: TrajectoryCommand, begin_ns: int, start_ns: int) -> list[_Knot]:
    return [
        _Knot(start_ns + int(offset_ns), command.positions[row],
              None if command.velocities is None else command.velocities[row],
              None if command.accelerations is None else command.accelerations[row])
        for row, offset_ns in enumerate(command.offsets_ns) if start_ns + offset_ns > begin_ns]


def _between(a: _Knot, b: _Knot, time_ns: int) -> MotionState:
    span_s = (b.time_ns - a.time_ns) / NS_PER_S
    s = (time_ns - a.time_ns) / (b.time_ns - a.time_ns)
    step = b.position - a.position
    if a.velocity is None or b.velocity is None:
        return MotionState(a.position + s * step, step / span_s, np.zeros_like(step))
    if a.acceleration is None or b.acceleration is None:
        coefficients = _cubic(step, a.velocity * span_s, b.velocity * span_s)
    else:
        coefficients = _quintic(step, a.velocity * span_s, b.velocity * span_s,
                                a.acceleration * span_s**2, b.acceleration * span_s**2)
    first = [k * c for k, c in enumerate(coefficients)][1:]
    second = [k * c for k, c in enumerate(first)][1:]
    return MotionState(
        a.position + _horner(coefficients, s), _horner(first, s) / span_s,
        _horner(second, s) / span_s**2)


def _cubic(step: FloatArray, v0: FloatArray, v1: FloatArray) -> list[FloatArray]:
    """Return coefficients in powers of s of the motion by ``step`` with these end slopes."""
    return [np.zeros_like(step), v0, 3 * step - 2 * v0 - v1, v0 + v1 - 2 * step]


def _quintic(step: FloatArray, v0: FloatArray, v1: FloatArray, a0: FloatArray,
             a1: FloatArray) -> list[FloatArray]:
    return [np.zeros_like(step), v0, a0 / 2,
            10 * step - 6 * v0 - 4 * v1 - 1.5 * a0 + 0.5 * a1,
            -15 * step + 8 * v0 + 7 * v1 + 1.5 * a0 - a1,
            6 * step - 3 * (v0 + v1) - 0.5 * (a0 - a1)]


def _horner(coefficients: list[FloatArray], s: float) -> FloatArray:
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = value * s + coefficient
    return value
