"""
What the executor is asked for and what it answers: settings, modes, commands and counters.

Values of the enumerations are those of ExecutorState.msg. Decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.types import MotionState


class Mode(IntEnum):
    """ExecutorState.MODE_*."""

    INACTIVE = 0
    RUNNING = 1
    HOLD = 2
    STOPPING = 3
    TELEOP = 4
    FAULT = 5
    ESTOP = 6


LATCHED = (Mode.FAULT, Mode.ESTOP)


class Source(IntEnum):
    """ExecutorState.SOURCE_*."""

    POLICY = 0
    TELEOP = 1
    HOLD = 2


@dataclass(frozen=True)
class ExecutorConfig:
    """Settings of the executor; each is a ROS parameter of chunk_executor_node."""

    rate_hz: float = parameter(
        200.0, 'control rate [Hz]', minimum=100.0, maximum=1000.0)
    start_tolerance_rad: float = parameter(
        0.1, 'from rest: largest distance of a chunk from the measured pose [rad]',
        minimum=0.0, maximum=1.0)
    jump_tolerance_rad: float = parameter(
        0.2, 'in motion: largest distance of a chunk from the commanded pose [rad]',
        minimum=0.0, maximum=1.0)
    tracking_tolerance_rad: float = parameter(
        0.2, 'distance of measured from commanded pose that counts as a fault [rad]',
        minimum=0.01, maximum=3.2)
    tracking_time_s: float = parameter(
        0.2, 'how long that distance must last to be a fault [s]', minimum=0.0, maximum=5.0)
    joint_state_timeout_s: float = parameter(
        0.25, 'age of joint_states after which the arm is stopped [s]',
        minimum=0.02, maximum=5.0)
    max_future_s: float = parameter(
        0.5, 'how far ahead of now a chunk may be stamped [s]', minimum=0.0, maximum=10.0)
    max_observation_age_s: float = parameter(
        2.0, 'oldest observation that may still be acted on [s]', minimum=0.05, maximum=30.0)
    session_lease_s: float = parameter(
        0.5, 'how long a silent session keeps other sessions out while its chunk runs [s]',
        minimum=0.0, maximum=10.0)
    max_horizon: int = parameter(
        100, 'most points in a chunk; planning time grows with it', minimum=1, maximum=200)
    teleop_timeout_s: float = parameter(
        0.25, 'age of a teleoperation target after which the arm is stopped [s]',
        minimum=0.02, maximum=5.0)


@dataclass(frozen=True)
class Command:
    """One commanded point and the node time in [ns] at which it is due."""

    due_ns: int
    state: MotionState


@dataclass
class Counters:
    """What has happened since activation."""

    accepted: int = 0
    stale: int = 0
    rejected: int = 0
    points_skipped: int = 0
    holds: int = 0
    ticks: int = 0
    deadline_misses: int = 0
    clamps: int = 0


@dataclass(frozen=True)
class ExecutorStatus:
    """
    A snapshot for people and logs.

    :ivar chunk_position: Fractional index of the point being executed.
    :ivar observation_age_ns: Age of the observation behind the present motion, 0 if none.
    :ivar observation_to_command_ns: Observation stamp to first command of the present chunk.
    :ivar buffer_left_s: Motion left in the chunk in [s].
    :ivar limit_flags: LIMIT_* bits per joint met during the present motion, shape (J,).
    :ivar rejections: Count per reason text.
    """

    mode: Mode
    source: Source
    reason: str
    counters: Counters
    limit_flags: np.ndarray
    command: Command | None = None
    session_id: str = ''
    chunk_id: int = 0
    chunk_position: float = 0.0
    observation_age_ns: int = 0
    observation_to_command_ns: int = 0
    buffer_left_s: float = 0.0
    rejections: dict[str, int] = field(default_factory=dict)
    last_rejection: str = ''


@dataclass(frozen=True)
class Answer:
    """What became of a request: done or not, and why, in one line."""

    done: bool
    message: str
