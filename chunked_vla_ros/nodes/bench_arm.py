"""
A kinematic arm and a source of chunks in one deadline loop, light enough to measure beside.

It is where it was last commanded to be, and asks for a slow swing of one joint in chunks. Used by
the executor's benchmark and tests; knows nothing about what is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import math
import time
import uuid

import numpy as np
import rclpy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import ActionChunk as Chunk
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.msg import ActionChunk, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.polled import Polled

SWING_RAD, SWING_HZ = 0.3, 0.25
HORIZON, SPACING_NS = 16, 50_000_000
VALID_FOR_NS = NS_PER_S


@dataclass(frozen=True)
class Seen:
    """
    What the executor last said of itself.

    :ivar ticks: Ticks since activation.
    :ivar due_ns: When the last of them was due, on the node clock.
    :ivar lateness_s: Median and 99th percentile over its last 1000 ticks in [s].
    """

    mode: Mode
    reason: str
    ticks: int
    due_ns: int
    lateness_s: tuple[float, float]
    accepted: int
    refused: int
    holds: int
    clamps: int
    chunk_id: int


class BenchArm:
    """
    Node ``bench_arm`` in a context of its own, moved by `run`.

    :ivar commands: Commanded positions of the latest `run` in order, each (J,) in [rad]; a command
        may be missed, DDS keeps only the newest.
    :ivar chunk_id: Of the newest chunk sent.
    """

    def __init__(self, robot: RobotSpec, domain_id: int, state_rate_hz: float) -> None:
        self._robot, self._period_s = robot, 1 / state_rate_hz
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = rclpy.create_node(
            'bench_arm', context=self._context, start_parameter_services=False)
        create = self._node.create_publisher
        self._joints = create(JointState, robot.state.topic, qos.SENSOR)
        self._chunks = create(ActionChunk, 'action_chunk', qos.chunk_out(1.0))
        self._commands = Polled(self._node, Float64MultiArray, robot.command.topic, qos.COMMAND)
        self._states = Polled(self._node, ExecutorState, 'executor_state', qos.STATUS)
        self._position = robot.home.copy()
        self._session, self.chunk_id, self._began_ns = uuid.uuid4().hex, 0, 0
        self._seen: Seen | None = None
        self.commands: list[tuple[float, ...]] = []

    def run(self, seconds: float, chunk_rate_hz: float = 10.0,
            until: Callable[[Seen], bool] | None = None) -> Seen | None:
        """
        Be the arm for ``seconds`` [s], or until ``until`` holds; return what was seen last.

        :param chunk_rate_hz: Chunks per second, 0 for none.
        """
        self.commands = []
        start_s = time.monotonic()
        deadline_s, chunk_s = start_s, start_s
        while deadline_s < start_s + seconds:
            deadline_s = max(deadline_s + self._period_s, time.monotonic())
            time.sleep(max(deadline_s - time.monotonic(), 0.0))
            self._follow()
            if chunk_rate_hz and deadline_s >= chunk_s:
                chunk_s += 1 / chunk_rate_hz
                self.send_chunk()
            if until is not None and self._seen is not None and until(self._seen):
                break
        return self._seen

    def wait_for(self, what: str, condition: Callable[[Seen], bool], limit_s: float = 30.0,
                 chunk_rate_hz: float = 0.0) -> Seen:
        """
        Be the arm until ``condition`` holds.

        :raises GraphFailure: it did not within ``limit_s`` [s].
        """
        seen = self.run(limit_s, chunk_rate_hz, condition)
        if seen is None or not condition(seen):
            raise GraphFailure(f'the executor: no {what} within {limit_s:g} s, it says {seen}')
        return seen

    def forget(self) -> None:
        """Prepare for another executor: home again, nothing seen."""
        self._states.newest()
        self._seen, self._began_ns = None, 0
        self._position = self._robot.home.copy()

    def send_chunk(self) -> None:
        """Publish the coming part of the swing; it begins with the first chunk."""
        now_ns = int(self._node.get_clock().now().nanoseconds)
        self._began_ns = self._began_ns or now_ns
        self.chunk_id += 1
        offsets = np.arange(HORIZON) * SPACING_NS
        phase = 2 * math.pi * SWING_HZ * (now_ns - self._began_ns + offsets) * 1e-9
        rows = np.tile(self._robot.home, (HORIZON, 1))
        rows[:, 0] += SWING_RAD / 2 * (1 - np.cos(phase))
        self._chunks.publish(conversions.chunk_to_msg(Chunk(
            session_id=self._session, chunk_id=self.chunk_id, start_ns=now_ns,
            observation_ns=now_ns, valid_for_ns=VALID_FOR_NS, policy_id='swing',
            joint_names=self._robot.joint_names, positions=rows, offsets_ns=offsets,
            dim_kinds=self._robot.dim_kinds)))

    def _follow(self) -> None:
        for command in self._commands.take():
            self.commands.append(tuple(command.data))
        if self.commands:
            self._position = np.array(self.commands[-1])
        msg = JointState(name=list(self._robot.joint_names), position=self._position.tolist())
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self._joints.publish(msg)
        said = self._states.newest()
        if said is not None:
            self._seen = Seen(
                Mode(said.mode), said.reason, said.ticks,
                conversions.stamp_to_ns(said.header.stamp), (said.lateness_p50, said.lateness_p99),
                said.accepted, said.stale + said.rejected, said.holds, said.clamps,
                said.chunk_id)

    def close(self) -> None:
        """Leave the domain."""
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)
