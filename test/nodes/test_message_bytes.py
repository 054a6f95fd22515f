"""Messages as bytes that depend on nothing but the message; rclpy reads and writes the same."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from unique_identifier_msgs.msg import UUID
from visualization_msgs.msg import Marker, MarkerArray

from chunked_vla_ros.msg import ActionChunk, EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes.message_bytes import message_bytes

NAMED = Header(frame_id='base')
MESSAGES = [
    String(data=''), String(data='grün'), EpisodeEvent(header=NAMED, type=8, value=-1.5, text='a'),
    JointState(header=NAMED, name=['a', 'bcd'], position=[1.0, -2.0], effort=[]),
    Image(header=NAMED, height=2, width=1, encoding='rgb8', step=3, data=[1, 2, 3, 4, 5, 255]),
    CameraInfo(header=NAMED, width=3, distortion_model='plumb_bob', d=[0.5], k=[2.0] * 9),
    DiagnosticStatus(level=b'\x02', name='n', values=[KeyValue(key='k', value=''), KeyValue()]),
    MarkerArray(markers=[Marker(header=NAMED, ns='cube', pose=Pose(position=Point(x=0.1)),
                                points=[Point(z=3.0)], text='t'), Marker()]),
    ActionChunk(session_id=UUID(uuid=np.arange(16, dtype=np.uint8)), dim_kind=[0, 1],
                joint=JointTrajectory(joint_names=['a'], points=[
                    JointTrajectoryPoint(positions=[1.0]), JointTrajectoryPoint()]), task='t'),
    ExecutorState(header=NAMED, joint_names=['a', 'b'], reason='why', limit_flags=[1, 2, 3],
                  command=JointTrajectoryPoint(positions=[0.25, 0.5]), chunk_position=1.5)]


@pytest.mark.parametrize('message', MESSAGES, ids=lambda one: type(one).__name__)
def test_rclpy_reads_what_was_written(message: Any) -> None:
    assert deserialize_message(message_bytes(message), type(message)) == message


@pytest.mark.parametrize('message', MESSAGES, ids=lambda one: type(one).__name__)
def test_only_padding_differs_from_what_rclpy_writes(message: Any) -> None:
    ours, theirs = message_bytes(message), bytes(serialize_message(message))
    # An empty list of numbers makes theirs longer than it is.
    assert 0 <= len(theirs) - len(ours) < 64
    differing = [index for index, byte in enumerate(ours) if byte != theirs[index]]
    assert not any(ours[index] for index in differing)


def test_padding_is_zero() -> None:
    # Level, three bytes of padding, then the length of the name.
    data = message_bytes(DiagnosticStatus(level=b'\x01'))
    assert data[4:12] == b'\x01\x00\x00\x00\x01\x00\x00\x00'
