"""
Record the motion topics of a running graph and hand them over as arrays.

Messages are kept as the bytes that arrived and decoded on demand: recording 400 messages a second
must not take the processor from the graph that is being measured. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import (
    ExecutorSample,
    MotionRecord,
    StampedMotion,
)
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.msg import ActionChunk, ExecutorState
from chunked_vla_ros.nodes import conversions

# Deep enough that a recorder which loses the processor for a second still gets every command.
RECORD = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=500, reliability=ReliabilityPolicy.RELIABLE)
RECORD_SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=500, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class RawRecord:
    """Messages as they arrived: (bytes, publisher's send time in [ns], sequence number)."""

    messages: dict[str, list[tuple[bytes, int, int]]] = field(default_factory=dict)


class MotionLog:
    """
    Keeps what arrives between `start` and `take`.

    :ivar recorded: What was kept since `start`.
    """

    def __init__(self, node: Node, robot: RobotSpec, *, commands: bool) -> None:
        self._robot = robot
        self.recorded = RawRecord()
        self._recording = False
        topics: list[tuple[str, Any, str, QoSProfile]] = [
            ('joint_states', JointState, robot.state.topic, RECORD_SENSOR),
            ('executor_state', ExecutorState, 'executor_state', RECORD),
            ('action_chunk', ActionChunk, 'action_chunk', RECORD)]
        if commands:
            topics.append(('commands', Float64MultiArray, robot.command.topic, RECORD))
        self._subscriptions = [
            node.create_subscription(kind, topic, self._keeper(name), profile, raw=True)
            for name, kind, topic, profile in topics]

    def start(self) -> None:
        """Forget what was kept and record from now on."""
        self.recorded, self._recording = RawRecord(), True

    def take(self) -> RawRecord:
        """Stop recording and return what was kept."""
        self._recording = False
        return self.recorded

    def decode(self, raw: RawRecord) -> MotionRecord:
        """Return ``raw`` as arrays in the contract's joint order."""
        commands = raw.messages.get('commands', [])
        return MotionRecord(
            measured=self._measured(raw.messages.get('joint_states', [])),
            commands=StampedMotion(
                np.array([sent for _, sent, _ in commands], np.int64),
                self._rows([
                    deserialize_message(data, Float64MultiArray).data
                    for data, _, _ in commands])),
            command_sequence=np.array([number for _, _, number in commands], np.int64),
            executor=executor_samples(raw),
            chunks=tuple(
                conversions.chunk_from_msg(deserialize_message(data, ActionChunk))
                for data, _, _ in raw.messages.get('action_chunk', [])))

    def _keeper(self, name: str) -> Any:
        # Two positional parameters make rclpy pass the message info.
        def keep(data: bytes, info: dict[str, int]) -> None:
            if self._recording:
                self.recorded.messages.setdefault(name, []).append(
                    (data, info['source_timestamp'], info['publication_sequence_number']))
        return keep

    def _measured(self, messages: list[tuple[bytes, int, int]]) -> StampedMotion:
        samples = []
        for data, _, _ in messages:
            msg = deserialize_message(data, JointState)
            stamp_ns = conversions.stamp_to_ns(msg.header.stamp)
            samples.append(
                conversions.joint_sample_from_msg(msg, self._robot.joint_names, stamp_ns))
        return StampedMotion(
            np.array([sample.stamp_ns for sample in samples], np.int64),
            self._rows([sample.position for sample in samples]))

    def _rows(self, rows: Sequence[Sequence[float] | FloatArray]) -> FloatArray:
        return np.array(rows, np.float64).reshape(len(rows), len(self._robot.joints))


def executor_samples(raw: RawRecord) -> tuple[ExecutorSample, ...]:
    """Return the executor's states alone: cheap enough to do after every episode."""
    return tuple(
        executor_sample(deserialize_message(data, ExecutorState))
        for data, _, _ in raw.messages.get('executor_state', []))


def executor_sample(msg: ExecutorState) -> ExecutorSample:
    """Return one message in the core's vocabulary."""
    return ExecutorSample(
        stamp_ns=conversions.stamp_to_ns(msg.header.stamp), mode=int(msg.mode),
        session_id=conversions.uuid_to_hex(msg.session_id), chunk_id=int(msg.chunk_id),
        observation_to_command_s=conversions.duration_to_ns(msg.observation_to_command) / 1e9,
        position=np.array(msg.command.positions, np.float64),
        velocity=np.array(msg.command.velocities, np.float64),
        acceleration=np.array(msg.command.accelerations, np.float64),
        counters=Counters(
            accepted=int(msg.accepted), stale=int(msg.stale), rejected=int(msg.rejected),
            points_skipped=int(msg.points_skipped), holds=int(msg.holds), ticks=int(msg.ticks),
            deadline_misses=int(msg.deadline_misses), clamps=int(msg.clamps)),
        lateness_p50_s=float(msg.lateness_p50), lateness_p99_s=float(msg.lateness_p99),
        reason=msg.reason)
