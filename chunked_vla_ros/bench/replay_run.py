"""
Judge one replay of a recorded motion: how well it was tracked, how smoothly, within which limits.

Time zero of the recording is the stamp of the session's first chunk; nothing is aligned by search.
Pure: a record of the motion in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from chunked_vla_ros.bench.replay_report import ReplayReport
from chunked_vla_ros.bench.take_time import TickTimes
from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import ExecutorSample, MotionRecord, StampedMotion
from chunked_vla_ros.core.retarget import Demonstration, Retargeted
from chunked_vla_ros.core.robot_spec import JointUnit, RobotSpec
from chunked_vla_ros.core.statistics import tracking_error, TrackingError
from chunked_vla_ros.core.types import DimKind, FloatArray, NS_PER_S
from chunked_vla_ros.demo.results import counted

# The arm starts from rest and a delayed first chunk asks for motion already under way.
SETTLED_AFTER_S = 1.0
# After four periods without a tick the executor holds motion back, and stamps say nothing.
STALL_PERIODS = 3
# A command is sent shortly after the instant at which it was due.
SEND_SLACK_NS = 5_000_000
# How the executor's reason begins when its guard did not let a command pass.
GUARD_STOP = 'stopped at a limit'


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
class Setting:
    """
    What a run was made with.

    :ivar delay_s: Injected inference delay in [s].
    :ivar chunk_rate_hz: Points per second of the policy's chunks.
    """

    delay_s: float
    repeat: int
    chunk_rate_hz: float = 20.0

    def __str__(self) -> str:
        return (f'chunks at {self.chunk_rate_hz:g} Hz, {self.delay_s * 1e3:.0f} ms delay, '
                f'run {self.repeat + 1}')


@dataclass(frozen=True)
class Unfinished:
    """
    A replay of which nothing can be judged.

    :ivar reason: Why, in one line.
    """

    demonstration: str
    setting: Setting
    reason: str

    def __str__(self) -> str:
        return f'{self.demonstration}, {self.setting}: {self.reason}'


@dataclass(frozen=True)
class ReplayRun:
    """
    One replay, judged.

    :ivar moved: Whether the recording was shifted to begin at the robot's home pose.
    :ivar measured: joint_states against the recording, over the joints counted in [rad].
    :ivar commanded: The executor's commands against the recording, over the same joints.
    :ivar measured_share: As ``measured``, over the joints counted in shares of their range, and
        in that unit; ``None`` if there are none.
    :ivar commanded_share: As ``commanded``, likewise.
    :ivar command_step_rad: Largest change between two successive commands, in [rad].
    :ivar splice_step_rad: The same, where one chunk follows another.
    :ivar lost_commands: Commands that never reached the recorder.
    :ivar counters: Growth of the executor's counters during the run.
    :ivar guard_stops: How often the guard stopped the arm at a limit; also among the clamps, the
        rest of which are chunks that were changed to keep a limit or the room before it.
    :ivar lateness_p99_s: Worst 99th percentile over 1000 ticks of their lateness, in [s].
    :ivar observation_to_command_s: Largest time from an observation to the first command of its
        chunk, in [s].
    :ivar taking_tick_s: Median and largest duration of a tick that takes a chunk, in [s],
        measured afterwards on the same chunks.
    :ivar other_tick_s: Median duration of any other tick, in [s], likewise.
    :ivar said: What the nodes said of the run.
    """

    demonstration: str
    delay_s: float
    repeat: int
    chunk_rate_hz: float
    duration_s: float
    moved: bool
    time_scale: float
    smoothing_deviation_rad: float
    smoothing_deviation_share: float
    measured: Errors
    commanded: Errors
    measured_share: Errors | None
    commanded_share: Errors | None
    command_step_rad: float
    splice_step_rad: float
    at_splices: Jumps
    elsewhere: Jumps
    limits: LimitUse
    commands: int
    lost_commands: int
    counters: Counters
    guard_stops: int
    lateness_p99_s: float
    observation_to_command_s: float
    taking_tick_s: tuple[float, float]
    other_tick_s: float
    said: ReplayReport

    @property
    def kept_its_promises(self) -> bool:
        """Whether every chunk was taken, and the motion kept limits without a jump or a wait."""
        return not (
            self.limits.violations or self.at_splices.jumps or self.elsewhere.jumps
            or self.counters.rejected or self.counters.stale or self.guard_stops
            or self.said.resumed)


def judge(record: MotionRecord, session_id: str, robot: RobotSpec, replayed: Retargeted,
          setting: Setting, said: ReplayReport = ReplayReport(),
          ticks: TickTimes = TickTimes()) -> ReplayRun:
    """
    Return what ``record`` shows of the session's replay.

    Times are not shifted where the policy waited for the arm: that is an error of tracking, and
    ``said`` explains it.

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
        measured, commanded = (
            {unit: _errors(times_ns, positions, replayed.recorded, zero_ns, columns)
             for unit, columns in _columns(robot).items()}
            for times_ns, positions in (
                (record.measured.times_ns, record.measured.positions),
                (motion.times_ns, motion.positions)))
    except (ValueError, IndexError) as error:
        raise NoReplay(f'session {session_id[:8]}: {error}') from error
    windows = splice_windows(motion) + np.array([0, SEND_SLACK_NS])
    everything = np.array([[zero_ns, motion.times_ns[-1] + SEND_SLACK_NS]])
    limits, rad = robot.limits, _columns(robot)[JointUnit.RADIAN]
    steps = StampedMotion(record.commands.times_ns, record.commands.positions[:, rad])
    states = [one for one in record.executor if one.session_id == session_id]
    return ReplayRun(
        demonstration=replayed.motion.source, delay_s=setting.delay_s, repeat=setting.repeat,
        chunk_rate_hz=setting.chunk_rate_hz, duration_s=replayed.motion.duration_s,
        moved=replayed.moved, time_scale=replayed.time_scale,
        smoothing_deviation_rad=replayed.smoothing_deviation_rad,
        smoothing_deviation_share=replayed.smoothing_deviation_share,
        measured=measured[JointUnit.RADIAN], commanded=commanded[JointUnit.RADIAN],
        measured_share=measured.get(JointUnit.FRACTION),
        commanded_share=commanded.get(JointUnit.FRACTION),
        command_step_rad=largest_command_step(steps, everything),
        splice_step_rad=largest_command_step(steps, windows),
        at_splices=jumps(motion, limits, at_splices=True, told=rad),
        elsewhere=jumps(motion, limits, at_splices=False, told=rad),
        limits=limit_use(motion, limits),
        commands=int(record.command_sequence.size),
        lost_commands=lost_samples(record.command_sequence),
        counters=counted([record.executor]), guard_stops=_guard_stops(record.executor),
        lateness_p99_s=max((one.lateness_p99_s for one in states), default=0.0),
        observation_to_command_s=max(
            (one.observation_to_command_s for one in states), default=0.0),
        taking_tick_s=_median_and_max(ticks.taking_s),
        other_tick_s=_median_and_max(ticks.others_s)[0], said=said)


def _guard_stops(samples: Sequence[ExecutorSample]) -> int:
    stopped = [one.reason.startswith(GUARD_STOP) for one in samples]
    return sum(now and not before for before, now in zip([False, *stopped], stopped, strict=False))


def _median_and_max(values: FloatArray) -> tuple[float, float]:
    return (float(np.median(values)), float(values.max())) if values.size else (0.0, 0.0)


def _columns(robot: RobotSpec) -> dict[JointUnit, list[int]]:
    """Return the joints whose motion is judged, per unit; [rad] is always there."""
    columns: dict[JointUnit, list[int]] = {JointUnit.RADIAN: []}
    for index, joint in enumerate(robot.joints):
        if joint.kind is not DimKind.BINARY:
            columns.setdefault(joint.unit, []).append(index)
    return columns


def _errors(times_ns: np.ndarray, positions: np.ndarray, recorded: Demonstration, zero_ns: int,
            columns: list[int]) -> Errors:
    reference_ns = zero_ns + np.round(recorded.times_s * NS_PER_S).astype(np.int64)
    late = times_ns >= zero_ns + round(SETTLED_AFTER_S * NS_PER_S)
    reference, moved = recorded.positions[:, columns], positions[:, columns]
    return Errors(
        tracking_error(times_ns, moved, reference_ns, reference),
        tracking_error(times_ns[late], moved[late], reference_ns, reference))


