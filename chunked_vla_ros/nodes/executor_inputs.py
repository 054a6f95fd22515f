"""
What moves the arm, taken by the control thread at each tick: joints, chunks, targets.

The work per tick is bounded by the queues' depths, so a flood cannot stall a tick; what nobody
took is counted. The emergency stop is not here: it is called back even when nothing ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
import time
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.rejection import ChunkRejected, InputRejected, Rejection
from chunked_vla_ros.core.robot_spec import RobotSpec, TimeBase
from chunked_vla_ros.core.teleop_follower import TeleopTarget
from chunked_vla_ros.core.types import ActionChunk as Chunk
from chunked_vla_ros.core.types import JointSample
from chunked_vla_ros.msg import ActionChunk
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.joint_decoder import JointDecoder
from chunked_vla_ros.nodes.polled import Polled

COMPLAINT_PERIOD_S = 2.0
SHORT_PERIOD_NS = 4_000_000
ROOM_BYTES, POINT_BYTES = 8192, 96


class ExecutorInputs:
    """The subscriptions of chunk_executor that a tick asks."""

    def __init__(self, node: Node, robot: RobotSpec, period_ns: int, max_horizon: int,
                 session_id: str, complain: Callable[[str], None]) -> None:
        """Subscribe; trajectories become chunks of session ``session_id``."""
        # Positions, velocities, accelerations, efforts; names and texts. What is larger has too
        # many points, and decoding 20,000 of them takes 160 ms.
        largest = ROOM_BYTES + 256 * len(robot.joints) + max_horizon * (
            POINT_BYTES + 32 * len(robot.joints))
        self._robot, self._session_id, self._complain = robot, session_id, complain
        self._by_header = robot.state.time_base is TimeBase.HEADER
        self._trajectory_count, self._complained_s = 0, -COMPLAINT_PERIOD_S
        self._joints = Polled(node, JointState, robot.state.topic, qos.SENSOR)
        self._chunks = Polled(node, ActionChunk, 'action_chunk', qos.CHUNK_IN, largest)
        self._trajectories = Polled(
            node, JointTrajectory, 'joint_trajectory_in', qos.COMMAND, largest)
        self._targets = Polled(node, JointState, 'teleop/joint_targets', qos.SENSOR)
        self._joint_decoder = JointDecoder(robot.joint_names)
        self._target_decoder = JointDecoder(robot.joint_names)
        # An empty queue costs as much as a full one: none is asked twice within 4 ms.
        joints, chunks = self._poll_joints, self._poll_chunks
        people, planners = self._poll_targets, self._poll_trajectories
        self._turns = cycle(
            ((joints,), (chunks, people), (joints,), (chunks, planners))
            if period_ns < SHORT_PERIOD_NS else
            ((joints, chunks, people), (joints, chunks, planners)))

    @property
    def overtaken(self) -> int:
        """Return how many chunks newer ones replaced before a tick could take them."""
        return self._chunks.lost

    def forget(self) -> None:
        """Drop what came while nobody listened."""
        for subscription in (self._joints, self._chunks, self._trajectories, self._targets):
            subscription.newest()

    def poll(self, executor: Executor, node_ns: int) -> None:
        """Hand over what has come since the queues of this tick were last asked."""
        for take in next(self._turns):
            take(executor, node_ns)

    def _poll_joints(self, executor: Executor, node_ns: int) -> None:
        sample = self._newest_sample(
            self._joints.take_bytes(), self._joint_decoder, self._robot.state.topic,
            None if self._by_header else node_ns)
        if sample is not None:
            executor.observe(sample)

    def _poll_chunks(self, executor: Executor, node_ns: int) -> None:
        for chunk in self._chunks.take():
            _hand_over(executor, conversions.chunk_from_msg, chunk)
        _refuse_oversized(executor, self._chunks)

    def _poll_trajectories(self, executor: Executor, node_ns: int) -> None:
        for trajectory in self._trajectories.take():
            self._trajectory_count += 1
            _hand_over(executor, conversions.chunk_from_trajectory, trajectory,
                       self._session_id, self._trajectory_count, node_ns)
        _refuse_oversized(executor, self._trajectories)

    def _poll_targets(self, executor: Executor, node_ns: int) -> None:
        # Each of them: together they say where the person is going.
        for data in self._targets.take_bytes():
            target = self._newest_sample(
                [data], self._target_decoder, 'teleop/joint_targets', None)
            if target is not None:
                executor.teleop.offer(TeleopTarget(node_ns, target.position, target.stamp_ns))

    def _newest_sample(self, messages: Sequence[bytes], decoder: JointDecoder, topic: str,
                       arrival_ns: int | None) -> JointSample | None:
        """Return the newest usable of ``messages``: a gripper's driver may publish here too."""
        for data in reversed(messages):
            try:
                return decoder.sample(data, arrival_ns)
            except InputRejected as error:
                self._say(str(error).replace('joint_states', topic, 1))
        return None

    def _say(self, complaint: str) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s >= COMPLAINT_PERIOD_S:
            self._complained_s = now_s
            self._complain(complaint)

    def destroy(self) -> None:
        """Leave the topics."""
        for subscription in (self._joints, self._chunks, self._trajectories, self._targets):
            subscription.destroy()


def _refuse_oversized(executor: Executor, subscription: Polled) -> None:
    while subscription.oversized:
        executor.offer_rejection(ChunkRejected(
            Rejection.TOO_LONG, f'{subscription.oversized.pop()} bytes'))


def _hand_over(executor: Executor, convert: Callable[..., Chunk], *arguments: Any) -> None:
    try:
        executor.offer_chunk(convert(*arguments))
    except ChunkRejected as error:
        executor.offer_rejection(error)
    except Exception as error:  # noqa: BLE001 - one message must not end the control loop
        executor.offer_rejection(ChunkRejected(Rejection.INTERNAL, repr(error)))
