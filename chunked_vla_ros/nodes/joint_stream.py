"""
The joints that the policy is asked with: one by one while a plan is due, else in batches.

rclpy's executor builds its whole wait set anew for every message (0.3 ms). Between two questions
nobody needs a joint sample at once, so the executor does not wait for them then: what has come is
taken at the node's tick. Decides nothing: when a plan is due is the runner's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.sync import sample_time_ns
from chunked_vla_ros.core.types import JointSample
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import joint_sample_from_msg, stamp_to_ns
from chunked_vla_ros.nodes.polled import taken
from chunked_vla_ros.policies.runner import PolicyRunner

# The wait set is built anew at least at every tick of the node (20 ms): so early the executor must
# wait for joints that one is at hand when the plan is due.
AHEAD_NS = 30_000_000


class GatedGroup(CallbackGroup):
    """A group for which an rclpy executor waits only while ``is_open`` says so."""

    def __init__(self, is_open: Callable[[], bool]) -> None:
        super().__init__()
        self._is_open = is_open

    def can_execute(self, entity: Any) -> bool:
        """Return whether ``entity`` is waited for, and called back, now."""
        return self._is_open()

    def beginning_execution(self, entity: Any) -> bool:
        """Return that ``entity`` may be executed: one thread executes them all."""
        return True

    def ending_execution(self, entity: Any) -> None:
        """Take note of nothing: nothing waits for the end."""


class JointStream:
    """The subscription to the robot's joint states."""

    def __init__(self, node: Node, robot: RobotSpec, runner: PolicyRunner,
                 now_ns: Callable[[], int]) -> None:
        self._node, self._robot, self._runner, self._now_ns = node, robot, runner, now_ns
        self._subscription: Any = node.create_subscription(
            JointState, robot.state.topic, self._on_joints, qos.SAMPLE_BATCH,
            callback_group=GatedGroup(self._plan_is_near))

    def destroy(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def tick(self) -> None:
        """Take what has come, unless a plan is near: then every sample is called back."""
        if not self._plan_is_near():
            self.catch_up()

    def catch_up(self) -> None:
        """Take what has come; the policy is not asked with it, as it may have waited for long."""
        now_ns = self._now_ns()
        sample = self._newest(self._waiting(), now_ns)
        if sample is not None:
            self._runner.assembler.add_joints(sample, now_ns)

    def _plan_is_near(self) -> bool:
        return self._runner.wants_plan(self._now_ns() + AHEAD_NS)

    def _on_joints(self, msg: JointState) -> None:
        now_ns = self._now_ns()
        sample = self._newest([msg, *self._waiting()], now_ns)
        if sample is not None:
            self._runner.add_joints(sample, now_ns)

    def _waiting(self) -> list[JointState]:
        """Return what is in the queue, oldest first."""
        return [msg for msg, _ in taken(
            self._subscription, qos.SAMPLE_BATCH.depth, raw=False)]

    def _newest(self, messages: Sequence[JointState], now_ns: int) -> JointSample | None:
        """Count ``messages``; return the newest usable: a gripper's driver may speak here too."""
        joints = self._runner.assembler.joints
        for index in range(len(messages) - 1, -1, -1):
            msg = messages[index]
            stamp_ns = sample_time_ns(self._robot.state, stamp_to_ns(msg.header.stamp), now_ns)
            try:
                found = joint_sample_from_msg(msg, self._robot.joint_names, stamp_ns)
            except InputRejected as error:
                joints.reject(str(error), now_ns)
                continue
            for _ in range(index):
                joints.meter.add(now_ns)
            return found
        return None
