"""
Follow a person's joint targets: smooth motion that meets where they are going, within limits.

Near a target every joint takes the quintic that meets the target's own motion in position, speed
and acceleration; the shortest that the limits allow. Far from it, as at a hand-over, a joint moves
to it at half the robot's speed, acceleration and jerk. Without news it coasts briefly, then stops.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.curves import Curve, RuckigCurve
from chunked_vla_ros.core.profiles import ProfileError, Profiles
from chunked_vla_ros.core.retiming import scaled
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.target_track import Heading, TargetTrack, TeleopTarget
from chunked_vla_ros.core.types import FloatArray, MotionState, NS_PER_S

__all__ = ['TeleopFollower', 'TeleopTarget']

# Of speed, acceleration and jerk, for a joint on its way to a target.
MOVE_SHARE = 0.5
# Beside those, what the target's own motion takes, up to so much of the limit.
LARGEST_SHARE = 0.9
# The target is met in the shortest of these times, in units of `_quickest_s`.
MEETINGS = np.array([1.0, 1.5, 2.25, 3.4, 5.0, 7.5])
QUICKEST_S, SLOWEST_S = 0.04, 0.45
# Jerk must turn the acceleration round and back to meet anything at all.
TURNS = 2.0
ROUNDING = 1e-6
# So much of the range is left free at its ends, where a stop must still fit in at every instant.
END_SHARE = 1e-4
# A moving target is not foreseen for longer than this on the way to it.
FORESEEN_S = 0.3
INTERCEPTS = 3
# A plan takes some 0.3 ms: targets that come faster than this wait for the next.
PAUSE_NS = 5_000_000
GRID = np.linspace(0.0, 1.0, 12)
POWERS = GRID[:, None] ** np.arange(6)


class TeleopFollower:
    """Keep the newest targets; one is followed once and counts as late after a time-out."""

    def __init__(self, limits: JointLimits, timeout_s: float) -> None:
        self._limits = limits
        self._move = Profiles(scaled(limits, MOVE_SHARE))
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._quickest_s = np.maximum(QUICKEST_S, TURNS * limits.acceleration / limits.jerk)
        span = END_SHARE * (limits.upper - limits.lower)
        self._range = limits.lower + span, limits.upper - span
        self._track = TargetTrack(limits.velocity)
        self._taken: TeleopTarget | None = None
        self._planned_ns = -PAUSE_NS

    def offer(self, target: TeleopTarget) -> None:
        """Hand over a target; the newest wins."""
        inside = np.clip(target.position, *self._range)
        self._track.add(replace(target, position=inside))

    def clear(self) -> None:
        """Forget the targets: a source chosen later must not start with an old one."""
        self._track.clear()
        self._planned_ns = -PAUSE_NS

    def late(self, node_ns: int) -> bool:
        """Return whether there is no target young enough to follow."""
        newest = self._track.newest
        return newest is None or node_ns - newest.stamp_ns > self._timeout_ns

    def take(self, node_ns: int, t_ns: int, present: MotionState) -> Curve | None:
        """
        Return the motion from ``present`` to the newest target if it is new.

        :param node_ns: Now, on the clock that dates targets.
        :param t_ns: The same instant on the motion clock.
        """
        target = self._track.newest
        if target is None or target is self._taken or 0 <= t_ns - self._planned_ns < PAUSE_NS:
            return None
        self._taken, self._planned_ns = target, t_ns
        heading = self._track.heading()
        age_s = min(max(node_ns - heading.at_ns, 0), self._timeout_ns) / NS_PER_S
        # Before it is carried on, so that nothing grows beyond numbers, and after it.
        heading = Heading(node_ns, self._kept_inside(heading.state), heading.coasting_s)
        heading = Heading(
            node_ns, self._kept_inside(heading.after(age_s)), heading.coasting_s)
        met_s, near = self._meetings(present, heading)
        try:
            return _Following(t_ns, present, heading, met_s, near, self._move)
        except ProfileError:    # the motion under way goes on; the next target is milliseconds off
            return None

    def _kept_inside(self, state: MotionState) -> MotionState:
        """Return ``state`` within the limits, slower towards an end of the range."""
        limits, (lower, upper) = self._limits, self._range
        position = np.clip(state.position, lower, upper)
        # From this speed v half the acceleration a stops before the end, even if it takes the
        # quickest time T to turn to it: v T + v^2 / 2a is the room left.
        brake, turn_s = MOVE_SHARE * limits.acceleration, self._quickest_s
        up, down = (np.minimum(LARGEST_SHARE * limits.velocity,
                               brake * (np.sqrt(turn_s**2 + 2 * room / brake) - turn_s))
                    for room in (upper - position, position - lower))
        velocity = np.clip(state.velocity, -down, up)
        most = LARGEST_SHARE * limits.acceleration
        bend = np.where(velocity == state.velocity, np.clip(state.acceleration, -most, most), 0.0)
        return MotionState(position, velocity, bend)

    def _meetings(self, present: MotionState, heading: Heading
                  ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return when each joint meets its target in [s], and which can: (J,) each."""
        limits, going = self._limits, heading.state
        room = [np.maximum(np.minimum(MOVE_SHARE * limit + np.abs(own), LARGEST_SHARE * limit),
                           np.abs(now) + ROUNDING)
                for limit, own, now in (
                    (limits.velocity, going.velocity, present.velocity),
                    (limits.acceleration, going.acceleration, present.acceleration))]
        times_s = np.minimum(MEETINGS[:, None] * self._quickest_s, SLOWEST_S)    # (M, J)
        rows = _quintic(present, heading.after(times_s), times_s)
        position, velocity, acceleration, jerk = (
            np.einsum('gp,pmj->gmj', POWERS[:, :len(part)], part) / times_s ** order
            for order, part in enumerate(_derivatives(rows)))
        fits = ((np.abs(velocity) <= room[0]) & (np.abs(acceleration) <= room[1])
                & (np.abs(jerk) <= LARGEST_SHARE * limits.jerk)
                & (position >= limits.lower) & (position <= limits.upper)).all(axis=0)
        return (np.take_along_axis(times_s, fits.argmax(axis=0)[None], axis=0)[0],
                fits.any(axis=0))


class _Following:
    """
    The motion of all joints from one target on.

    :ivar start_ns: On the motion clock; so is ``end_ns``, when everything stands still.
    """

    def __init__(self, start_ns: int, present: MotionState, heading: Heading, met_s: FloatArray,
                 near: NDArray[np.bool_], move: Profiles) -> None:
        """
        Plan it.

        :raises ProfileError: a joint that is far away cannot move to its target.
        """
        self.start_ns, self._near, self._met_s, self._heading = start_ns, near, met_s, heading
        self._rows = _derivatives(_quintic(present, heading.after(met_s), met_s))
        self._coast_ns = start_ns + round(heading.coasting_s * NS_PER_S)
        self.end_ns = start_ns + round(float(met_s.max()) * NS_PER_S)
        if not near.all():
            self._far = _catch_up(start_ns, _only(~near, present), heading, near, move)
            self.end_ns = max(self.end_ns, self._far.end_ns)
            self._coast_ns = min(self._coast_ns, self._far.end_ns)
        self._going = (heading.state.velocity != 0) | (heading.state.acceleration != 0)
        if self._going.any():
            coasted = _only(self._going, self.state_at(self._coast_ns))
            self._stop = move.stop(self._coast_ns, coasted)
            self.end_ns = max(self.end_ns, self._stop.end_ns)

    def state_at(self, t_ns: int) -> MotionState:
        """Return the state at ``t_ns``."""
        state = self._met(t_ns)
        if not self._near.all():
            state = _choose(self._near, state, self._far.state_at(t_ns))
        if t_ns > self._coast_ns and self._going.any():
            state = _choose(self._going, self._stop.state_at(t_ns), state)
        return state

    def _met(self, t_ns: int) -> MotionState:
        """Return the quintics, and the heading itself once it is met."""
        t_s = max(t_ns - self.start_ns, 0) / NS_PER_S
        share = np.minimum(t_s / self._met_s, 1.0)
        powers = share ** np.arange(6)[:, None]
        before = MotionState(*(
            (powers[:len(part)] * part).sum(axis=0) / self._met_s ** order
            for order, part in enumerate(self._rows[:3])))
        if t_s < float(self._met_s.min()):
            return before
        return _choose(t_s < self._met_s, before, self._heading.after(t_s))


def _catch_up(start_ns: int, present: MotionState, heading: Heading, near: NDArray[np.bool_],
              move: Profiles) -> RuckigCurve:
    """Return the profile that meets the joints not ``near`` where they will be by then."""
    duration_s = 0.0
    for _ in range(INTERCEPTS):
        ahead = heading.after(min(duration_s, FORESEEN_S))
        target = _only(~near, MotionState(ahead.position, ahead.velocity,
                                          np.zeros_like(ahead.acceleration)))
        curve = move.move(start_ns, present, target)
        duration_s = (curve.end_ns - start_ns) / NS_PER_S
    return curve


def _quintic(start: MotionState, end: MotionState, duration_s: FloatArray) -> FloatArray:
    """Return coefficients over the share of ``duration_s`` (..., J), lowest power first."""
    t = duration_s
    v0, a0 = start.velocity * t, start.acceleration * t * t / 2
    v1, a1 = end.velocity * t, end.acceleration * t * t / 2
    p0 = start.position + np.zeros_like(v0)
    away, turn, bend = end.position - p0 - v0 - a0, v1 - v0 - 2 * a0, a1 - a0
    return np.stack([p0, v0, a0, 10 * away - 4 * turn + bend, -15 * away + 7 * turn - 2 * bend,
                     6 * away - 3 * turn + bend])


def _derivatives(rows: FloatArray) -> list[FloatArray]:
    """Return polynomials and their first three derivatives, lowest power first."""
    parts = [rows]
    for _ in range(3):
        last = parts[-1]
        parts.append(last[1:] * np.arange(1, len(last)).reshape(-1, *[1] * (last.ndim - 1)))
    return parts


def _only(mask: NDArray[np.bool_], state: MotionState) -> MotionState:
    zero = np.zeros_like(state.position)
    return _choose(mask, state, MotionState(zero, zero, zero))


def _choose(mask: NDArray[np.bool_], one: MotionState, other: MotionState) -> MotionState:
    return MotionState(np.where(mask, one.position, other.position),
                       np.where(mask, one.velocity, other.velocity),
                       np.where(mask, one.acceleration, other.acceleration))
