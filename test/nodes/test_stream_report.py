"""What /diagnostics says of the streams: each problem names its stream and its number."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.core.sync import ObservationAssembler
from chunked_vla_ros.core.types import CameraFrame, JointSample
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.nodes.stream_report import stream_problems, stream_values

MS = 1_000_000
NOW = 10**18
SHIPPED = load_robot('ur5e_sim')
ROBOT = replace(SHIPPED, cameras=(replace(SHIPPED.cameras[0], frozen_after_s=0.5),))
PIXELS = np.zeros((2, 2, 3), np.uint8)


def watched(rate_hz=20, left_out=(), image=lambda index: index, seconds=2):
    """Return two seconds of joints at 125 Hz and of one camera, and the time when they end."""
    assembler = ObservationAssembler(ROBOT)
    for index in range(125 * seconds):
        now_ns = NOW + index * 8 * MS
        assembler.add_joints(JointSample(now_ns, np.zeros(7), np.zeros(7)), now_ns)
    camera = assembler.cameras['front']
    for index in range(rate_hz * seconds):
        now_ns = NOW + index * 1000 * MS // rate_hz
        if index not in left_out:
            camera.loss.add(index + 1, now_ns)
            camera.freeze.add(image(index), now_ns)
            camera.add(now_ns, CameraFrame(now_ns, PIXELS), now_ns)
    return assembler, NOW + seconds * 1000 * MS - 1


def problems(**changes):
    assembler, now_ns = watched(**changes)
    return stream_problems(assembler, ROBOT, now_ns)


def test_streams_that_come_as_promised_have_no_problem():
    assembler, now_ns = watched()
    assert stream_problems(assembler, ROBOT, now_ns) == []
    values = stream_values(assembler, ROBOT, now_ns)
    assert values['rate camera front'] == '20.0 of 20 Hz'
    assert values['lost camera front'] == '0 of 40 in 10 s (0.0%), 0 of 40 in all'


def test_a_rate_that_drops_is_told_with_its_number():
    assert problems(rate_hz=10) == ['camera front is slow: 10.0 of 20 Hz']
    assert problems(rate_hz=17) == []


def test_any_loss_is_told():
    assembler, now_ns = watched(left_out=(7, 8))
    assert stream_problems(assembler, ROBOT, now_ns) == ['camera front lost 2 of 40 images']
    assert stream_values(assembler, ROBOT, now_ns)['lost camera front'] == (
        '2 of 40 in 10 s (5.0%), 2 of 40 in all')


def test_a_frozen_camera_is_told():
    assert problems(image=lambda _: b'same') == ['camera front is frozen']


def test_a_refused_image_is_told_with_its_reason_until_a_good_one_comes():
    assembler, now_ns = watched()
    camera = assembler.cameras['front']
    camera.reject('camera front: 4x4, expected 224x224', now_ns)
    assert stream_problems(assembler, ROBOT, now_ns) == [
        'camera front refused: camera front: 4x4, expected 224x224']
    camera.add(now_ns, CameraFrame(now_ns, PIXELS), now_ns)
    assert stream_problems(assembler, ROBOT, now_ns) == []
