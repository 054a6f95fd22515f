"""What `policy_info` carries of a policy that has facts of its own to tell."""

from collections.abc import Callable

import numpy as np
import pytest

from chunked_vla_ros.core.retarget import Demonstration
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.policies.exchange import PolicyExchange
from chunked_vla_ros.policies.replay import ReplayPolicy
from chunked_vla_ros.policies.runner import PolicyRunner
from chunked_vla_ros.policies.runner_records import RunnerSettings

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')


def test_policy_info_tells_how_often_a_replay_waited_for_the_arm(
        make_robot: Callable[..., RobotSpec]) -> None:
    from chunked_vla_ros.nodes.inference_report import policy_info
    robot = make_robot()
    motion = Demonstration(
        np.array([0.0, 1.0]), np.zeros((2, 2)), robot.joint_names, 'still.npy')
    runner = PolicyRunner(
        robot, PolicyExchange(ReplayPolicy(robot, motion), lambda policy: None),
        RunnerSettings(), lambda request: None, lambda: '0' * 32)
    told = {value.key: value.value for value in policy_info(runner, robot).values}
    assert (told['replay_resumed'], told['replay_late_s']) == ('0', '0.000')
