"""
Watch whether the executor commands the pose that the arm is in.

Only the newest message of each topic is kept, undecoded until somebody asks. Decides nothing about
what to do if they differ.
"""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import conversions, qos

# A servo at rest is within milliradians; the pose before a reset is far away.
TOLERANCE_RAD = 0.02


class PoseWatch:
    """Keeps the newest joint_states and executor_state."""

    def __init__(self, node: Node, robot: RobotSpec) -> None:
        self._names = robot.joint_names
        # A gripper is stopped by what it holds: its command and its angle may differ.
        self._arm = np.array([kind is not DimKind.BINARY for kind in robot.dim_kinds])
        self._joints: bytes = b''
        self._state: bytes = b''
        self._subscriptions = [
            node.create_subscription(
                JointState, robot.state.topic, self._on_joints, qos.SENSOR, raw=True),
            node.create_subscription(
                ExecutorState, 'executor_state', self._on_state, qos.STATUS, raw=True)]

    @property
    def joints_seen(self) -> bool:
        """Return whether the robot has said anything."""
        return bool(self._joints)

    def agrees(self, after_ns: int) -> bool | None:
        """
        Return whether the commanded pose is the measured one, both after ``after_ns``.

        None while either is older than that.
        """
        if not self._joints or not self._state:
            return None
        joints = deserialize_message(self._joints, JointState)
        state = deserialize_message(self._state, ExecutorState)
        stamps = (joints.header.stamp, state.header.stamp)
        if min(map(conversions.stamp_to_ns, stamps)) <= after_ns:
            return None
        if not state.command.positions:
            return False
        measured = conversions.joint_sample_from_msg(joints, self._names, after_ns).position
        apart = np.abs(np.array(state.command.positions) - measured)[self._arm]
        return bool(apart.max(initial=0.0) <= TOLERANCE_RAD)

    def _on_joints(self, data: bytes) -> None:
        self._joints = data

    def _on_state(self, data: bytes) -> None:
        self._state = data
