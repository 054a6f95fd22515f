"""A two-joint robot and observations of it, small enough to check by hand."""

import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    CommandKind,
    CommandSpec,
    GripperSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind, JointSample, Observation


@pytest.fixture(scope='session')
def robot():
    return RobotSpec(
        name='tiny', base_frame='world',
        joints=(JointSpec('arm', DimKind.CONTINUOUS, -3.0, 3.0, 1.0, 5.0, 100.0, 0.5),
                JointSpec('finger', DimKind.BINARY, 0.0, 0.8, 1.0, 10.0, 100.0, 0.0)),
        gripper=GripperSpec('finger', 0.0, 0.8),
        state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1),
        cameras=(CameraSpec('wrist', StreamSpec('wrist/image', 20.0, TimeBase.HEADER, 0.2),
                            'wrist/info', 2, 2, 'rgb8'),),
        command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 100.0))


@pytest.fixture
def observe():
    def make(stamp_ns, position=(0.5, 0.0), instruction=''):
        joints = JointSample(stamp_ns, np.array(position), np.zeros(2))
        return Observation(stamp_ns, joints, instruction=instruction)
    return make
