"""
How long a control tick takes that plans the way into a new chunk, and one that does not.

The recorded chunks of a replay are given to an executor in this process, on a clock that the
processor's speed does not touch, with an arm that is where it is commanded to be. Knows no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import time

import numpy as np

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import ExecutorConfig
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import ActionChunk, FloatArray, JointSample, NS_PER_S

# At rest in the first pose for so long before the first chunk, as an arm is before a run.
SETTLING_NS = NS_PER_S // 2


@dataclass(frozen=True)
class TickTimes:
    """
    Durations of control ticks in [s].

    :ivar taking_s: Of each tick that took a chunk, shape (C,).
    :ivar others_s: Of every other tick after the first chunk, shape (T,).
    """

    taking_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    others_s: FloatArray = field(default_factory=lambda: np.zeros(0))


def tick_times(robot: RobotSpec, chunks: Sequence[ActionChunk]) -> TickTimes:
    """Return how long the ticks of an executor take that is sent ``chunks`` as they were sent."""
    executor = Executor(robot, ExecutorConfig(rate_hz=robot.command.rate_hz))
    waiting = sorted(chunks, key=_sent_ns)
    if not waiting:
        return TickTimes()
    now_ns = waiting[0].start_ns - SETTLING_NS
    first_ns, end_ns = _sent_ns(waiting[0]), _sent_ns(waiting[-1]) + NS_PER_S // 2
    order = [waiting[0].joint_names.index(name) for name in robot.joint_names]
    pose = np.clip(waiting[0].positions[0, order], robot.limits.lower, robot.limits.upper)
    taking, others = [], []
    while now_ns < end_ns:
        executor.observe(JointSample(now_ns, pose, np.zeros_like(pose)))
        while waiting and _sent_ns(waiting[0]) <= now_ns:
            executor.offer_chunk(waiting.pop(0))
        taken = executor.status(now_ns).counters.accepted
        started_ns = time.perf_counter_ns()
        command = executor.step(now_ns, now_ns)
        took_s = (time.perf_counter_ns() - started_ns) / NS_PER_S
        if executor.status(now_ns).counters.accepted > taken:
            taking.append(took_s)
        elif now_ns >= first_ns:
            others.append(took_s)
        if command is not None:
            pose = command.state.position
        now_ns += executor.period_ns
    return TickTimes(np.array(taking), np.array(others))


def _sent_ns(chunk: ActionChunk) -> int:
    return chunk.start_ns + chunk.inference_latency_ns
