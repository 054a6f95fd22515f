"""The probe counts over real DDS what arrives, what was lost and what nodes say."""

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import CompressedImage, JointState

from chunked_vla_ros.core.robot_spec import ImageTransport, RobotSpec
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.rate_probe import GraphSample, listen


def _with_a_compressed_camera() -> RobotSpec:
    robot = load_robot('ur5e_sim')
    front, wrist = robot.cameras
    return replace(robot, cameras=(
        front, replace(wrist, transport=ImageTransport.COMPRESSED)))


ROBOT = _with_a_compressed_camera()


@pytest.fixture
def sample(peer: Any, domain: int, monkeypatch: pytest.MonkeyPatch) -> GraphSample:
    """Return what is heard of joint states at 50 Hz, an executor on hold and an active policy."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
    joints = peer.node.create_publisher(JointState, 'joint_states', qos.SENSOR)
    state = peer.node.create_publisher(ExecutorState, 'executor_state', qos.STATUS)
    hold = ExecutorState(mode=ExecutorState.MODE_HOLD, reason='no chunk')
    wrist = peer.node.create_publisher(CompressedImage, 'cameras/wrist/image_raw', qos.SENSOR)
    timer = peer.node.create_timer(0.02, lambda: (
        joints.publish(JointState()), state.publish(hold), wrist.publish(CompressedImage())))

    def answer(request: GetState.Request, response: GetState.Response) -> GetState.Response:
        response.current_state.label = 'active'
        return response

    service = peer.node.create_service(GetState, 'inference/get_state', answer)
    yield listen(ROBOT, '', listen_s=1.0)
    peer.destroy(timer, service, joints, state, wrist)


def test_the_probe_counts_streams_and_hears_modes(sample: GraphSample) -> None:
    joints, front = sample.streams['joint_states'], sample.streams['cameras/front/image_raw']
    assert joints.publishers == 1
    assert 0 < joints.received <= joints.published
    # One second at 50 Hz; the wide bound is the machine's, the point is that counting restarted.
    assert joints.received < 100
    assert (front.publishers, front.received) == (0, 0)
    wrist = sample.streams['cameras/wrist/image_raw']
    assert 0 < wrist.received <= wrist.published
    assert sample.executor == 'HOLD: no chunk'
    assert sample.lifecycle == {'inference': 'active'}
