"""
Judge one replay of a recorded motion: how well it was tracked, how smoothly, within which limits.

Time zero of the recording is the stamp of the session's first chunk; nothing is aligned by search.
Pure: a record of the motion in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.bench.motion_audit import (
    Jumps,
    jumps,
    largest_command_step,
    limit_use,
    LimitUse,
    lost_samples,
    splice_windows,
    track,
)
from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import MotionRecord
from chunked_vla_ros.core.retarget import Demonstration, Retargeted
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.statistics import tracking_error, TrackingError
from chunked_vla_ros.core.types import DimKind, NS_PER_S
from chunked_vla_ros.demo.results import counted

# The arm starts from rest and a delayed first chunk asks for motion already under way.
SETTLED_AFTER_S = 1.0
# After four periods without a tick the executor holds motion back, and stamps say nothing.
STALL_PERIODS = 3
# A command is sent shortly after the instant at which it was due.
SEND_SLACK_NS = 5_000_000


class NoReplay(ValueError):
    """The record does not show the replay; the message is one line."""


@dataclass(frozen=True)
class Errors:
    """
    Tracking of the recording by the arm's joints.

    :ivar whole: From the first chunk's stamp on.
    :ivar settled: From `SETTLED_AFTER_S` later on.
    """

    whole: TrackingError
    settled: TrackingError


@dataclass(frozen=True)
class ReplayRun:
    """
    One replay, judged.

    :ivar measured: joint_states against the recording.
    :ivar commanded: The executor's commands against the recording.
    :ivar command_step_rad: Largest change between two successive commands, in [rad].
    :ivar splice_step_rad: The same, where one chunk follows another.
    :ivar lost_commands: Commands that never reached the recorder.
    :ivar counters: Growth of the executor's counters during the run.
    """

    demonstration: str
    delay_s: float
    repeat: int
    duration_s: float
    time_scale: float
    smoothing_deviation_rad: float
    measured: Errors
    commanded: Errors
    command_step_rad: float
    splice_step_rad: float
    at_splices: Jumps
    elsewhere: Jumps
    limits: LimitUse
    commands: int
    lost_commands: int
    counters: Counters

    @property
    def kept_its_promises(self) -> bool:
        """Whether every chunk was taken and the motion kept its limits without a jump."""
        return not (
            self.limits.violations or self.at_splices.jumps or self.elsewhere.jumps
            or self.counters.rejected or self.counters.stale)


def judge(record: MotionRecord, session_id: str, robot: RobotSpec, replayed: Retargeted,
          delay_s: float, repeat: int) -> ReplayRun:
    """
    Return what ``record`` shows of the session's replay.

    :raises NoReplay: if the record lacks the session's chunks, commands or joint states.
    """
    chunks = [chunk for chunk in record.chunks if chunk.session_id == session_id]
    if not chunks or chunks[0].chunk_id != 0:
        raise NoReplay(f'the first chunk of session {session_id[:8]} was not recorded')
    zero_ns = chunks[0].start_ns
    try:
        motion = track(
            [one for one in record.executor if one.stamp_ns >= zero_ns],
            record.commands.times_ns, round(STALL_PERIODS * NS_PER_S / robot.command.rate_hz))
        measured = _errors(
            record.measured.times_ns, record.measured.positions, replayed.recorded, zero_ns, robot)
        commanded = _errors(
            motion.times_ns, motion.positions, replayed.recorded, zero_ns, robot)
    except (ValueError, IndexError) as error:
        raise NoReplay(f'session {session_id[:8]}: {error}') from error
    windows = splice_windows(motion) + np.array([0, SEND_SLACK_NS])
    everything = np.array([[zero_ns, motion.times_ns[-1] + SEND_SLACK_NS]])
    limits = robot.limits
    return ReplayRun(
        demonstration=replayed.motion.source, delay_s=delay_s, repeat=repeat,
        duration_s=replayed.motion.duration_s, time_scale=replayed.time_scale,
        smoothing_deviation_rad=replayed.smoothing_deviation_rad,
        measured=measured, commanded=commanded,
        command_step_rad=largest_command_step(record.commands, everything),
        splice_step_rad=largest_command_step(record.commands, windows),
        at_splices=jumps(motion, limits, at_splices=True),
        elsewhere=jumps(motion, limits, at_splices=False), limits=limit_use(motion, limits),
        commands=int(record.command_sequence.size),
        lost_commands=lost_samples(record.command_sequence),
        counters=counted([record.executor]))


def _errors(times_ns: np.ndarray, positions: np.ndarray, recorded: Demonstration, zero_ns: int,
            robot: RobotSpec) -> Errors:
    arm = [index for index, kind in enumerate(robot.dim_kinds) if kind is not DimKind.BINARY]
    reference_ns = zero_ns + np.round(recorded.times_s * NS_PER_S).astype(np.int64)
    late = times_ns >= zero_ns + round(SETTLED_AFTER_S * NS_PER_S)
    reference, moved = recorded.positions[:, arm], positions[:, arm]
    return Errors(
        tracking_error(times_ns, moved, reference_ns, reference),
        tracking_error(times_ns[late], moved[late], reference_ns, reference))


