"""The emergency stop's publisher is a heartbeat: when its process dies the arm stops."""

from collections.abc import Iterator
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from sensor_msgs.msg import JointState

from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.srv import ResetExecutor

LEASE_S = 0.5
ROBOT = load_robot('ur5e_sim')
BUTTON = f"""
import rclpy
from std_msgs.msg import Bool
from chunked_vla_ros.nodes import qos
rclpy.init()
node = rclpy.create_node('button')
node.create_publisher(Bool, 'emergency_stop', qos.emergency_stop({LEASE_S})).publish(Bool())
rclpy.spin(node)
"""


def start_button(domain: int) -> 'subprocess.Popen[bytes]':
    return subprocess.Popen(
        [sys.executable, '-c', BUTTON], env={**os.environ, 'ROS_DOMAIN_ID': str(domain)})


@pytest.fixture
def states(peer: Any, domain: int) -> Iterator[list[ExecutorState]]:
    """Yield what an executor that demands a heartbeat says, its arm standing at home."""
    states: list[ExecutorState] = []
    joints = peer.node.create_publisher(JointState, 'joint_states', qos.SENSOR)
    peer.node.create_subscription(ExecutorState, 'executor_state', states.append, qos.STATUS)

    def tell() -> None:
        msg = JointState(name=list(ROBOT.joint_names), position=ROBOT.home.tolist())
        msg.header.stamp = peer.node.get_clock().now().to_msg()
        joints.publish(msg)

    peer.node.create_timer(0.008, tell)
    spec = NodeSpec('chunk_executor_node', 'chunk_executor',
                    parameters={'emergency_stop_lease_s': LEASE_S})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}):
        yield states


def reset(peer: Any) -> Any:
    return peer.call(ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request())


def test_without_a_heartbeat_the_arm_is_stopped_and_with_one_it_takes_a_reset(
        states: list[ExecutorState], peer: Any, domain: int) -> None:
    peer.wait_for(lambda: states and states[-1].mode == Mode.ESTOP, 'emergency stop')
    assert states[-1].reason == 'emergency stop has no heartbeat yet'

    def held() -> bool:
        # A machine busy for the length of a lease takes the heartbeat away once more.
        return reset(peer).success and states[-1].mode == Mode.HOLD

    button = start_button(domain)
    try:
        peer.wait_for(held, 'hold')
    finally:
        button.kill()
        button.wait()
    peer.wait_for(lambda: states[-1].mode == Mode.ESTOP, 'emergency stop')
    assert states[-1].reason == 'emergency stop lost its heartbeat'
    answer = reset(peer)
    assert (answer.success, answer.message) == (False, 'emergency stop lost its heartbeat')
