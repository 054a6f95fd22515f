"""
Judge a commanded motion: jumps where one chunk follows another, limits kept.

A motion within a jerk limit J cannot leave its own extrapolation by more than J dt^3 / 6 in
position and J dt^2 / 2 in velocity; what does is a jump. Pure: stamps and arrays in, numbers out.
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

    :ivar position_rad: Largest departure in [rad].
    :ivar velocity_radps: Largest departure in [rad/s].
    :ivar share_of_jerk_limit: Largest departure over what the jerk limit explains.
    :ivar beyond: Intervals in which that share exceeds `LIMIT_SLACK`: a jump, or a wrong stamp.
    """

    intervals: int
    position_rad: float
    velocity_radps: float
    share_of_jerk_limit: float
    beyond: int


@dataclass(frozen=True)
class LimitUse:
    """
    How much of each limit the motion used, as a share of it, and how often it was exceeded.

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


def jumps(motion: Track, limits: JointLimits, *, at_splices: bool) -> Jumps:
    """Return the largest departures at the changes of chunk, or everywhere else."""
    dt = np.diff(motion.times_ns) / 1e9
    chosen = motion.judged & (motion.chunk_changes[1:] == at_splices)
    if not chosen.any():
        return Jumps(0, 0.0, 0.0, 0.0, 0)
    p, v, a = motion.positions, motion.velocities, motion.accelerations
    step = dt[:, None]
    position = np.abs(p[1:] - (p[:-1] + v[:-1] * step + 0.5 * a[:-1] * step ** 2))[chosen]
    velocity = np.abs(v[1:] - (v[:-1] + a[:-1] * step))[chosen]
    step = step[chosen]
    share = np.maximum(
        position / (limits.jerk * step ** 3 / 6), velocity / (limits.jerk * step ** 2 / 2))
    return Jumps(
        int(chosen.sum()), float(position.max()), float(velocity.max()), float(share.max()),
        int((share > LIMIT_SLACK).any(axis=1).sum()))


def limit_use(motion: Track, limits: JointLimits) -> LimitUse:
    """
    Return the shares of the limits, from differences of the commanded points.

    Velocity and acceleration are divided differences of the positions, each of which equals the
    derivative somewhere within its interval; jerk is the difference of the accelerations.
    """
    dt, judged = np.diff(motion.times_ns) / 1e9, motion.judged
    velocity = np.diff(motion.positions, axis=0) / dt[:, None]
    acceleration = 2 * np.diff(velocity, axis=0) / (dt[1:] + dt[:-1])[:, None]
    jerk = np.diff(motion.accelerations, axis=0) / dt[:, None]
    both = judged[1:] & judged[:-1]
    shares = [
        np.abs(velocity[judged]) / limits.velocity,
        np.abs(acceleration[both]) / limits.acceleration,
        np.abs(jerk[judged]) / limits.jerk]
    outside = (
        (motion.positions < limits.lower - POSITION_SLACK_RAD)
        | (motion.positions > limits.upper + POSITION_SLACK_RAD))
    violations = sum(int((share > LIMIT_SLACK).any(axis=1).sum()) for share in shares)
    largest = [float(share.max(initial=0.0)) for share in shares]
    return LimitUse(
        velocity=largest[0], acceleration=largest[1], jerk=largest[2],
        violations=violations + int(outside.any(axis=1).sum()), unjudged=int((~judged).sum()))


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
