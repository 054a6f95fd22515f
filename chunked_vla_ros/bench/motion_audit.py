"""
Judge a commanded motion: jumps where one chunk follows another, limits kept.

A motion within a jerk limit J cannot leave its own extrapolation by more than J dt^3 / 6 in
position and J dt^2 / 2 in velocity. What does, and would not at a slightly different time, is a
jump; the rest is a point stamped too early or too late, which a busy machine makes: it is counted
apart, with the largest error of a stamp. Pure: stamps and arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.motion_record import ExecutorSample, StampedMotion
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray

# Executor states come every 20 ms; over several of them a jump would hide in what jerk explains.
LONGEST_GAP_NS = 45_000_000
# The executor reads its two clocks one after the other: some microseconds in 10 ms.
LIMIT_SLACK = 1.01
# Where the motion is at its jerk limit, 1 us at 1 rad/s is 1 % of what that limit explains.
JUMP_SLACK = 1.1
POSITION_SLACK_RAD = 1e-6


@dataclass(frozen=True)
class Track:
    """
    Distinct commanded points in order.

    :ivar times_ns: When each was due in [ns], shape (N,).
    :ivar positions: Shape (N, J) in [rad].
    :ivar velocities: Shape (N, J) in [rad/s].
    :ivar accelerations: Shape (N, J) in [rad/s^2].
    :ivar chunk_changes: Whether another chunk was followed than at the point before, shape (N,).
    :ivar judged: Whether the time since the point before is the time the motion took, shape
        (N - 1,): not after a stall, when the executor holds motion back, nor over a long gap.
    """

    times_ns: NDArray[np.int64]
    positions: FloatArray
    velocities: FloatArray
    accelerations: FloatArray
    chunk_changes: NDArray[np.bool_]
    judged: NDArray[np.bool_]


@dataclass(frozen=True)
class Jumps:
    """
    The largest departures from a smooth motion, over ``intervals`` pairs of points.

    :ivar intervals: Pairs whose stamps fit the motion.
    :ivar position_rad: Largest departure in [rad].
    :ivar velocity_radps: Largest departure in [rad/s].
    :ivar share_of_jerk_limit: Largest departure over what the jerk limit explains.
    :ivar jumps: Intervals in which that share exceeds `JUMP_SLACK`.
    :ivar mistimed: Further intervals, whose stamps do not fit the motion but whose path does.
    :ivar stamp_error_s: Largest error of such a stamp in [s].
    """

    intervals: int
    position_rad: float
    velocity_radps: float
    share_of_jerk_limit: float
    jumps: int
    mistimed: int
    stamp_error_s: float


@dataclass(frozen=True)
class LimitUse:
    """
    How much of each limit the motion used, as a share of it, and how often it was exceeded.

    Velocity and acceleration are the larger of what the executor says of each point and the
    divided differences of the positions; jerk is the difference of the accelerations.

    :ivar violations: Points beyond `LIMIT_SLACK` times any limit of any joint, or outside its
        positions.
    :ivar unjudged: Intervals that could not be judged, see `Track`.
    """

    velocity: float
    acceleration: float
    jerk: float
    violations: int
    unjudged: int


def track(samples: Sequence[ExecutorSample], command_times_ns: NDArray[np.int64],
          stall_ns: int) -> Track:
    """
    Return the commanded points of ``samples``; repeated stamps are one point.

    :param command_times_ns: When commands were sent in [ns], shape (N,).
    :param stall_ns: A longer pause between two commands is a stall.
    :raises ValueError: if fewer than four points remain.
    """
    kept: list[ExecutorSample] = []
    for sample in samples:
        if sample.position.size and (not kept or sample.stamp_ns > kept[-1].stamp_ns):
            kept.append(sample)
    if len(kept) < 4:
        raise ValueError(f'{len(kept)} commanded points, expected at least 4')
    changes = [False] + [
        (a.session_id, a.chunk_id) != (b.session_id, b.chunk_id)
        for a, b in zip(kept, kept[1:], strict=False)]
    times_ns = np.array([one.stamp_ns for one in kept], np.int64)
    return Track(
        times_ns, np.array([one.position for one in kept]),
        np.array([one.velocity for one in kept]), np.array([one.acceleration for one in kept]),
        np.array(changes), _judged(times_ns, command_times_ns, stall_ns))


def jumps(motion: Track, limits: JointLimits, *, at_splices: bool,
          told: Sequence[int] | None = None) -> Jumps:
    """
    Return the largest departures at the changes of chunk, or everywhere else.

    :param told: Joints whose departures are told in [rad]; all are compared with their limits.
    """
    chosen = motion.judged & (motion.chunk_changes[1:] == at_splices)
    found = _departures(motion, limits, told)
    timed = chosen & ~found.mistimed
    late = chosen & found.mistimed
    return Jumps(
        int(timed.sum()), float(found.position[timed].max(initial=0.0)),
        float(found.velocity[timed].max(initial=0.0)),
        float(found.share[timed].max(initial=0.0)),
        int((found.share[timed] > JUMP_SLACK).sum()), int(late.sum()),
        float(np.abs(found.stamp_error_s[late]).max(initial=0.0)))


def limit_use(motion: Track, limits: JointLimits) -> LimitUse:
    """Return the shares of the limits; differences only where the stamps fit the motion."""
    judged = motion.judged & ~_departures(motion, limits).mistimed
    both = judged[1:] & judged[:-1]
    dt = np.diff(motion.times_ns) / 1e9
    velocity = np.diff(motion.positions, axis=0) / dt[:, None]
    acceleration = 2 * np.diff(velocity, axis=0) / (dt[1:] + dt[:-1])[:, None]
    jerk = np.diff(motion.accelerations, axis=0) / dt[:, None]
    shares = {
        'velocity': np.concatenate([motion.velocities, velocity[judged]]) / limits.velocity,
        'acceleration': np.concatenate(
            [motion.accelerations, acceleration[both]]) / limits.acceleration,
        'jerk': jerk[judged] / limits.jerk}
    outside = (
        (motion.positions < limits.lower - POSITION_SLACK_RAD)
        | (motion.positions > limits.upper + POSITION_SLACK_RAD))
    violations = sum(
        int((np.abs(share) > LIMIT_SLACK).any(axis=1).sum()) for share in shares.values())
    return LimitUse(
        **{name: float(np.abs(share).max(initial=0.0)) for name, share in shares.items()},
        violations=violations + int(outside.any(axis=1).sum()), unjudged=int((~judged).sum()))


@dataclass(frozen=True)
class _Departures:
    """Per interval, shape (N - 1,): largest departure of any joint, and what explains it."""

    position: FloatArray
    velocity: FloatArray
    share: FloatArray
    mistimed: NDArray[np.bool_]
    stamp_error_s: FloatArray


def _departures(motion: Track, limits: JointLimits, told: Sequence[int] | None = None,
                ) -> _Departures:
    columns = slice(None) if told is None else list(told)
    dt = (np.diff(motion.times_ns) / 1e9)[:, None]
    p, v, a = motion.positions, motion.velocities, motion.accelerations
    off = p[1:] - (p[:-1] + v[:-1] * dt + 0.5 * a[:-1] * dt ** 2)
    turn = v[1:] - (v[:-1] + a[:-1] * dt)
    reached = v[:-1] + a[:-1] * dt
    speed = (reached ** 2).sum(axis=1)
    # The shift in time that brings the point nearest to where the motion was going.
    shift = np.divide(
        (off * reached).sum(axis=1), speed, out=np.zeros_like(speed), where=speed > 0)
    share = _share(off, turn, dt, limits)
    shifted = _share(
        off - reached * shift[:, None], turn - a[:-1] * shift[:, None], dt, limits)
    mistimed = (share > JUMP_SLACK) & (shifted <= JUMP_SLACK) & (np.abs(shift) < dt[:, 0])
    return _Departures(
        np.abs(off[:, columns]).max(axis=1), np.abs(turn[:, columns]).max(axis=1), share, mistimed,
        shift)


def _share(off: FloatArray, turn: FloatArray, dt: FloatArray, limits: JointLimits) -> FloatArray:
    """Return each interval's departure over what the jerk limit explains."""
    shares: FloatArray = np.maximum(
        np.abs(off) / (limits.jerk * dt ** 3 / 6), np.abs(turn) / (limits.jerk * dt ** 2 / 2))
    largest: FloatArray = shares.max(axis=1)
    return largest


def largest_command_step(commands: StampedMotion, windows_ns: NDArray[np.int64]) -> float:
    """
    Return the largest change between two successive commands within any window, in [rad].

    :param windows_ns: Begin and end of each window on the commands' clock, shape (W, 2).
    """
    if commands.times_ns.size < 2 or windows_ns.size == 0:
        return 0.0
    steps = np.abs(np.diff(commands.positions, axis=0)).max(axis=1)
    later, earlier = commands.times_ns[1:, None], commands.times_ns[:-1, None]
    within = ((later >= windows_ns[:, 0]) & (earlier <= windows_ns[:, 1])).any(axis=1)
    return float(steps[within].max(initial=0.0))


def splice_windows(motion: Track) -> NDArray[np.int64]:
    """Return begin and end in [ns] of every interval in which the chunk changed, shape (W, 2)."""
    later = np.flatnonzero(motion.chunk_changes)
    return np.stack([motion.times_ns[later - 1], motion.times_ns[later]], axis=1)


def lost_samples(sequence: NDArray[np.int64]) -> int:
    """Return how many samples between the first and the last never arrived."""
    return int(sequence[-1] - sequence[0] + 1 - sequence.size) if sequence.size else 0


def _judged(times_ns: NDArray[np.int64], command_times_ns: NDArray[np.int64],
            stall_ns: int) -> NDArray[np.bool_]:
    resumed = 1 + np.flatnonzero(np.diff(command_times_ns) > stall_ns)
    begins, ends = command_times_ns[resumed - 1], command_times_ns[resumed]
    stalled = (
        (times_ns[1:, None] > begins) & (times_ns[:-1, None] < ends)).any(axis=1)
    return (np.diff(times_ns) <= LONGEST_GAP_NS) & ~stalled
