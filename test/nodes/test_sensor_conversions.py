"""Round trips of scene and trajectories, and what is refused with one line."""

from hypothesis import given, strategies
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.core.types import Pose
from chunked_vla_ros.nodes.conversions import ns_to_duration
from chunked_vla_ros.nodes.sensor_conversions import (
    camera_info_msg,
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


def on_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


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
