"""
What was planned, commanded and measured during a stretch of motion, as arrays.

The vocabulary between the node that records topics and the pure code that judges the motion.
Knows nothing about topics, files or reports.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.types import ActionChunk, FloatArray, frozen_array, ShapeError


@dataclass(frozen=True)
class StampedMotion:
    """
    Joint positions over time.

    :ivar times_ns: Stamps in [ns], shape (N,) int64.
    :ivar positions: In [rad], shape (N, J).
    """

    times_ns: NDArray[np.int64]
    positions: FloatArray

    def __post_init__(self) -> None:
        times = np.array(self.times_ns, dtype=np.int64)
        times.setflags(write=False)
        object.__setattr__(self, 'times_ns', times)
        object.__setattr__(
            self, 'positions', frozen_array(self.positions, (None, None), 'positions'))
        if self.times_ns.shape != self.positions.shape[:1]:
            raise ShapeError(
                f'times_ns must have shape {self.positions.shape[:1]}, got {times.shape}')


@dataclass(frozen=True)
class ExecutorSample:
    """
    One ExecutorState.

    :ivar stamp_ns: The instant at which ``position`` was due, in [ns].
    :ivar session_id: Of the chunk being executed; zeros if none.
    :ivar observation_to_command_s: Observation stamp to the first command of that chunk, in [s].
    :ivar position: Commanded, shape (J,) in [rad]; empty while nothing is commanded.
    :ivar velocity: Commanded, shape (J,) in [rad/s].
    :ivar acceleration: Commanded, shape (J,) in [rad/s^2].
    :ivar lateness_p50_s: Median tick lateness over the executor's window, in [s].
    :ivar lateness_p99_s: 99th percentile of the same, in [s].
    """

    stamp_ns: int
    mode: int
    session_id: str
    chunk_id: int
    observation_to_command_s: float
    position: FloatArray
    velocity: FloatArray
    acceleration: FloatArray
    counters: Counters
    lateness_p50_s: float
    lateness_p99_s: float
    reason: str


@dataclass(frozen=True)
class MotionRecord:
    """
    Everything recorded during one run of a policy.

    :ivar measured: joint_states, by header stamp.
    :ivar commands: position_command, by the publisher's send time.
    :ivar command_sequence: The publisher's sequence numbers, shape (N,): a gap is a lost sample.
    :ivar executor: ExecutorState samples in order.
    :ivar chunks: Chunks in order of arrival.
    """

    measured: StampedMotion
    commands: StampedMotion
    command_sequence: NDArray[np.int64]
    executor: tuple[ExecutorSample, ...]
    chunks: tuple[ActionChunk, ...]
