"""The bytes of a command are a message that anybody's rclpy decodes."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray

from chunked_vla_ros.core.executor_state import Command
from chunked_vla_ros.core.types import MotionState
from chunked_vla_ros.nodes.executor_messages import array_to_cdr


@pytest.mark.parametrize('joints', [1, 2, 7, 26])
def test_a_command_is_an_array_of_positions_without_a_layout(joints: int) -> None:
    positions = np.linspace(-1.0, 1.0, joints)
    data = array_to_cdr(Command(0, MotionState.at_rest(positions)))
    msg = deserialize_message(data, Float64MultiArray)
    assert list(msg.data) == positions.tolist()
    assert (list(msg.layout.dim), msg.layout.data_offset) == ([], 0)
    assert len(data) == len(serialize_message(msg))
