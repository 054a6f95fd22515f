"""Round trips of images, scene and trajectories, and what is refused with one line."""

import array

from hypothesis import given, strategies
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.core.types import CameraFrame, Pose
from chunked_vla_ros.nodes.conversions import ns_to_duration, stamp_to_ns
from chunked_vla_ros.nodes.sensor_conversions import (
    camera_info_msg,
    image_from_msg,
    image_to_msg,
    positions_from_msg,
    scene_from_msg,
    scene_to_msg,
    trajectory_from_msg,
)
from chunked_vla_ros.sim.looks import Look

STAMP_NS = 1_234_567_890_123_456_789
FINITE = strategies.floats(-10, 10)


def camera(encoding='rgb8', width=4, height=2):
    stream = StreamSpec('cameras/front/image_raw', 20.0, TimeBase.HEADER, 0.2)
    return CameraSpec('front', stream, 'cameras/front/camera_info', width, height, encoding)


def picture(width=4, height=2):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def on_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


def test_an_image_survives_the_wire():
    msg = on_the_wire(image_to_msg(CameraFrame(STAMP_NS, picture()), 'front_optical_frame'))
    assert stamp_to_ns(msg.header.stamp) == STAMP_NS
    assert (msg.encoding, msg.step, msg.header.frame_id) == ('rgb8', 12, 'front_optical_frame')
    frame = image_from_msg(msg, camera(), STAMP_NS)
    assert frame.stamp_ns == STAMP_NS
    assert np.array_equal(frame.pixels, picture())


def test_bgr_becomes_rgb():
    msg = image_to_msg(CameraFrame(STAMP_NS, picture()[:, :, ::-1]), 'f')
    msg.encoding = 'bgr8'
    assert np.array_equal(image_from_msg(msg, camera('bgr8'), STAMP_NS).pixels, picture())


def test_padding_at_the_end_of_rows_is_left_out():
    padded = np.pad(picture().reshape(2, 12), ((0, 0), (0, 4)))
    msg = Image(width=4, height=2, encoding='rgb8', step=16, data=padded.ravel().tolist())
    assert np.array_equal(image_from_msg(msg, camera(), STAMP_NS).pixels, picture())


@pytest.mark.parametrize(('change', 'reason'), [
    ({'encoding': 'mono8'}, "encoding 'mono8', expected 'rgb8'"),
    ({'width': 2, 'height': 4}, '2x4, expected 4x2'),
    ({'data': array.array('B', bytes(23))}, '23 bytes in rows of 12'),
    ({'step': 11}, 'in rows of 11'),
    ({'data': array.array('B')}, '0 bytes'),
])
def test_an_image_that_is_not_the_contract_s_is_refused(change, reason):
    msg = image_to_msg(CameraFrame(STAMP_NS, picture()), 'f')
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(InputRejected, match=reason) as error:
        image_from_msg(msg, camera(), STAMP_NS)
    assert str(error.value).startswith('camera front: ')


@given(width=strategies.integers(0, 8), height=strategies.integers(0, 8),
       step=strategies.integers(0, 30), size=strategies.integers(0, 60),
       encoding=strategies.sampled_from(['rgb8', 'bgr8', '']))
def test_any_image_is_taken_or_refused_and_nothing_else(width, height, step, size, encoding):
    msg = Image(width=width, height=height, step=step, encoding=encoding,
                data=array.array('B', bytes(size)))
    try:
        frame = image_from_msg(msg, camera(), STAMP_NS)
    except InputRejected:
        return
    assert frame.pixels.shape == (2, 4, 3)


def test_camera_info_has_the_principal_point_in_the_middle():
    info = camera_info_msg(camera(width=224, height=224), 250.0, 'front_optical_frame')
    assert info.k.tolist() == [250.0, 0.0, 112.0, 0.0, 250.0, 112.0, 0.0, 0.0, 1.0]
    assert info.p.tolist()[:4] == [250.0, 0.0, 112.0, 0.0]
    assert not any(info.d)


@given(strategies.lists(FINITE, min_size=7, max_size=7))
def test_a_scene_survives_the_wire(values):
    scene = {'cube/red': Pose(np.array(values[:3]), np.array(values[3:]))}
    looks = {'cube/red': Look((0.02, 0.02, 0.01), (1.0, 0.0, 0.0, 1.0))}
    msg = on_the_wire(scene_to_msg(scene, looks, 'world', STAMP_NS))
    assert msg.markers[0].header.frame_id == 'world'
    assert msg.markers[0].scale.z == 0.02
    found = scene_from_msg(msg)
    assert found['cube/red'].position.tolist() == values[:3]
    assert found['cube/red'].quaternion.tolist() == values[3:]


def test_a_scene_with_a_pose_that_is_not_finite_is_refused_by_name():
    scene = {'cube/red': Pose(np.array([0.0, np.nan, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]))}
    looks = {'cube/red': Look((0.02, 0.02, 0.02), (1.0, 0.0, 0.0, 1.0))}
    with pytest.raises(InputRejected, match='cube/red'):
        scene_from_msg(scene_to_msg(scene, looks, 'world', STAMP_NS))


def test_an_empty_scene_is_empty():
    assert scene_from_msg(MarkerArray()) == {}


def test_positions_are_taken_as_they_are():
    assert positions_from_msg(Float64MultiArray(data=[1.0, 2.0])).tolist() == [1.0, 2.0]


def trajectory(names=('a', 'b'), **columns):
    times_ms = columns.pop('times_ms', (100, 200))
    points = [JointTrajectoryPoint(
        time_from_start=ns_to_duration(time_ms * 1_000_000),
        **{name: list(rows[index]) for name, rows in columns.items()})
        for index, time_ms in enumerate(times_ms)]
    return JointTrajectory(joint_names=list(names), points=points)


def test_joints_in_another_order_give_the_same_motion():
    msg = trajectory(('b', 'a'), positions=[(2, 1), (4, 3)], velocities=[(20, 10), (40, 30)])
    command = trajectory_from_msg(msg, ('a', 'b'), start_ns=7)
    assert command.start_ns == 7
    assert command.offsets_ns.tolist() == [100_000_000, 200_000_000]
    assert command.positions.tolist() == [[1, 2], [3, 4]]
    assert command.velocities.tolist() == [[10, 20], [30, 40]]
    assert command.accelerations is None


def test_velocities_count_only_if_every_point_has_them():
    msg = trajectory(positions=[(1, 2), (3, 4)], velocities=[(1, 1), ()],
                     accelerations=[(1, 1), (1, 1)])
    command = trajectory_from_msg(msg, ('a', 'b'), 0)
    assert command.velocities is None
    assert command.accelerations is None


@pytest.mark.parametrize(('msg', 'reason'), [
    (trajectory(('a', 'c'), positions=[(1, 2), (3, 4)]), "names .'a', 'c'., expected .'a', 'b'."),
    (trajectory(('a', 'a'), positions=[(1, 2), (3, 4)]), "names .'a', 'a'."),
    (trajectory(('a',), positions=[(1,), (3,)]), "names .'a'."),
    (trajectory(positions=[], times_ms=()), 'no points'),
    (trajectory(positions=[(1, 2), (3, 4)], times_ms=(200, 200)), 'does not increase'),
    (trajectory(positions=[(1, 2), (3, 4)], times_ms=(-100, 200)), 'does not increase'),
    (trajectory(positions=[(1, 2), (3,)]), 'positions of a point are not 2 values'),
    (trajectory(positions=[(1, 2), ()]), 'a point has no positions'),
    (trajectory(positions=[(1, 2), (3, float('nan'))]), 'positions of a point are not finite'),
    (trajectory(positions=[(1, 2), (3, 4)], velocities=[(1, 1), (1, float('inf'))]),
     'velocities of a point are not finite'),
])
def test_a_malformed_trajectory_is_refused_with_its_reason(msg, reason):
    with pytest.raises(InputRejected, match=reason):
        trajectory_from_msg(msg, ('a', 'b'), 0)
