"""The simulator publishes images as the contract says, and refuses what it does not publish."""

import os
from pathlib import Path
import subprocess
import sys

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mujoco', reason='no simulator in this environment')

from sensor_msgs.msg import CompressedImage

from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.image_conversions import image_from_msg

pytestmark = pytest.mark.timeout(120)
CONTRACT = Path(__file__).parents[2] / 'config' / 'robots' / 'ur5e_sim.yaml'
START_NODE = 'import sys; from chunked_vla_ros.nodes.sim_node import main; sys.exit(main())'
LIMIT_S = 60.0


@pytest.fixture
def contract(tmp_path):
    """Return a function that writes the shipped contract with its wrist camera changed."""
    def write(**changes):
        content = yaml.safe_load(CONTRACT.read_text())
        content['cameras'][1] |= changes
        path = tmp_path / 'arm.yaml'
        path.write_text(yaml.safe_dump(content))
        return path
    return write


def launch(domain, path):
    return subprocess.Popen(
        [sys.executable, '-c', START_NODE, '--ros-args', '-p', f'robot:={path}'],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)


def test_a_compressed_camera_sends_pictures_that_inference_reads(domain, peer, contract):
    path = contract(transport='compressed', resize={'width': 112, 'height': 112})
    images = []
    topic = load_robot(path).camera('wrist').stream.topic
    peer.node.create_subscription(CompressedImage, topic, images.append, qos.SENSOR)
    process = launch(domain, path)
    try:
        peer.wait_for(lambda: images or process.poll() is not None, 'picture', LIMIT_S)
        if process.poll() == 2:
            reason = process.stderr.read()
            if 'EGL' in reason:
                pytest.skip(reason)
        assert images
    finally:
        process.terminate()
        process.communicate()
    frame = image_from_msg(images[0], load_robot(path).camera('wrist'), 1)
    assert frame.pixels.shape == (112, 112, 3)
    assert frame.pixels.std() > 10.0        # a picture of something


def test_an_encoding_that_the_simulator_does_not_publish_is_one_line(
        domain, contract, try_to_start):
    code, errors = try_to_start(
        'chunked_vla_ros.nodes.sim_node', domain, '--ros-args', '-p',
        f'robot:={contract(encoding="bgr8")}')
    assert code == 2
    assert 'camera wrist has encoding bgr8, the simulator publishes rgb8' in errors
    assert errors.count('\n') == 1
