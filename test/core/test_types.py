"""Shapes are checked when a thing is made, and nothing can be changed afterwards."""

from collections.abc import Callable

import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import (
    ActionChunk,
    CameraFrame,
    DimKind,
    JointSample,
    MotionState,
    Pose,
    ShapeError,
)


def test_chunk_of_the_wrong_width_says_expected_and_found() -> None:
    with pytest.raises(ShapeError) as error:
        ActionChunk('', 0, 0, 0, 0, ('a', 'b'), np.zeros((3, 1)), np.arange(3))
    assert str(error.value) == 'positions must have shape (None, 2), got (3, 1)'


def test_chunk_needs_one_time_per_point_and_one_kind_per_joint() -> None:
    with pytest.raises(ShapeError, match=r'offsets_ns must have shape \(3,\), got \(2,\)'):
        ActionChunk('', 0, 0, 0, 0, ('a',), np.zeros((3, 1)), np.arange(2))
    with pytest.raises(ShapeError, match='dim_kinds must have 1 entries, got 2'):
        ActionChunk('', 0, 0, 0, 0, ('a',), np.zeros((3, 1)), np.arange(3),
                    dim_kinds=(DimKind.BINARY, DimKind.BINARY))


def test_arrays_are_copied_and_read_only(make_chunk: Callable[..., ActionChunk]) -> None:
    rows = np.zeros((2, 1))
    chunk = make_chunk(rows)
    rows[0, 0] = 5.0
    assert chunk.positions[0, 0] == 0.0
    with pytest.raises(ValueError, match='read-only'):
        chunk.positions[0, 0] = 1.0


def test_velocity_has_the_shape_of_position() -> None:
    with pytest.raises(ShapeError, match=r'velocity must have shape \(2,\), got \(1,\)'):
        JointSample(0, np.zeros(2), np.zeros(1))


def test_pose_is_three_numbers_and_a_quaternion() -> None:
    with pytest.raises(ShapeError, match=r'quaternion must have shape \(4,\)'):
        Pose(np.zeros(3), np.zeros(3))


def test_frame_is_three_channels_of_bytes() -> None:
    with pytest.raises(ShapeError, match='uint8'):
        CameraFrame(0, np.zeros((4, 4, 3)))


def test_state_at_rest_does_not_move() -> None:
    state = MotionState.at_rest(np.array([1.0, 2.0]))
    assert state.velocity.tolist() == state.acceleration.tolist() == [0.0, 0.0]


def test_robot_gives_its_limits_as_arrays_in_joint_order(make_robot: Callable[..., RobotSpec]
                                                         ) -> None:
    robot = make_robot()
    assert robot.joint_names == ('joint_0', 'joint_1')
    assert robot.limits.velocity.tolist() == [1.0, 1.0]
    assert robot.home.tolist() == [0.0, 0.0]
    with pytest.raises(KeyError, match='no camera'):
        robot.camera('front')
