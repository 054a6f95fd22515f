"""
Send an arm to one pose through the chunk executor and see it rest there.

For the benchmarks, which begin where a recording begins. The command is a plain JointTrajectory,
as any node may send; the executor plans the way. Does not wait: the caller spins.
"""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from chunked_vla_ros.core.robot_spec import JointUnit, RobotSpec
from chunked_vla_ros.core.types import FloatArray, NS_PER_S
from chunked_vla_ros.nodes import conversions, qos

# At rest. Hands count in shares of their range and begin at its ends, where an executor may keep
# them a little inside.
NEAR_RAD, NEAR_OTHERS = 0.01, 0.025
REST_PER_S = 0.005
# Average speed on the way as a share of the joint limits; the point is not due sooner.
HURRY, LEAST_S = 0.25, 0.5


class PoseCommand:
    """Commands and watches the joints of ``robot``."""

    def __init__(self, node: Node, robot: RobotSpec) -> None:
        self._robot = robot
        self._near = np.array([
            NEAR_RAD if joint.unit is JointUnit.RADIAN else NEAR_OTHERS for joint in robot.joints])
        self._measured: FloatArray | None = None
        self._velocity: FloatArray | None = None
        self._publisher = node.create_publisher(
            JointTrajectory, 'joint_trajectory_in', qos.COMMAND)
        self._subscription = node.create_subscription(
            JointState, robot.state.topic, self._on_joints, qos.SENSOR)

    def go(self, pose: FloatArray) -> None:
        """Command ``pose`` (J,) in [rad]."""
        away = np.abs(pose - (self._robot.home if self._measured is None else self._measured))
        due_s = LEAST_S + float((away / (HURRY * self._robot.limits.velocity)).max())
        self._publisher.publish(JointTrajectory(
            joint_names=list(self._robot.joint_names), points=[JointTrajectoryPoint(
                positions=pose.tolist(),
                time_from_start=conversions.ns_to_duration(round(due_s * NS_PER_S)))]))

    @property
    def resting(self) -> bool:
        """Return whether the arm was last measured at rest."""
        return self._velocity is not None and bool((np.abs(self._velocity) <= REST_PER_S).all())

    def rests_at(self, pose: FloatArray) -> bool:
        """Return whether the arm was last measured at rest near ``pose``."""
        return (
            self.resting and self._measured is not None
            and bool((np.abs(self._measured - pose) <= self._near).all()))

    def _on_joints(self, msg: JointState) -> None:
        sample = conversions.joint_sample_from_msg(
            msg, self._robot.joint_names, conversions.stamp_to_ns(msg.header.stamp))
        self._measured, self._velocity = sample.position, sample.velocity
