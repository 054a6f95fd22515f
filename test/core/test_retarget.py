"""Retargeting: first pose, gripper, noise and speed, on motions that can be checked by hand."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.retarget import demand, Demonstration, LIMIT_MARGIN, retarget
from chunked_vla_ros.core.robot_spec import (
    CommandKind,
    CommandSpec,
    GripperSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind

ROBOT = RobotSpec(
    name='tiny', base_frame='world',
    joints=(JointSpec('arm', DimKind.CONTINUOUS, -3.0, 3.0, 1.0, 5.0, 100.0, 0.5),
            JointSpec('finger', DimKind.BINARY, 0.0, 0.8, 1.0, 10.0, 100.0, 0.1)),
    gripper=GripperSpec('finger', 0.0, 0.8),
    state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1), cameras=(),
    command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 100.0))


def smooth_move(distance, duration_s, rate_hz=1000.0, offset=0.0):
    """Return a minimum-jerk move: its largest speed is 1.875 distance / duration."""
    u = np.linspace(0.0, 1.0, round(duration_s * rate_hz) + 1)
    rows = offset + distance * (10 * u**3 - 15 * u**4 + 6 * u**5)
    return Demonstration(u * duration_s, rows[:, None], ('recorded',), 'test')


def test_a_slow_motion_is_only_moved_to_the_home_pose():
    answer = retarget(smooth_move(0.4, 4.0, offset=2.0), ROBOT)
    assert answer.time_scale == 1.0
    assert answer.smoothing_s == 0.0
    assert answer.smoothing_deviation_rad == 0.0
    assert answer.motion.joint_names == ('arm', 'finger')
    assert answer.motion.positions[0] == pytest.approx([0.5, 0.1])
    assert answer.motion.positions[-1] == pytest.approx([0.9, 0.1])
    assert answer.motion.duration_s == pytest.approx(4.0)


def test_columns_beyond_the_arm_are_left_out():
    move = smooth_move(0.4, 4.0)
    wide = Demonstration(
        move.times_s, np.hstack([move.positions, 9.0 * move.positions]), ('a', 'b'), 'test')
    assert retarget(wide, ROBOT).motion.positions[-1] == pytest.approx([0.9, 0.1])


def test_a_motion_at_twice_the_allowed_speed_takes_twice_the_time():
    # Largest speed 1.875 * 1.2 / 1.40625 = 1.6 rad/s, allowed 0.8 * 1.0 rad/s.
    answer = retarget(smooth_move(1.2, 1.40625), ROBOT)
    assert answer.time_scale == pytest.approx(2.0, rel=0.02)
    assert answer.motion.duration_s == pytest.approx(2 * 1.40625, rel=0.02)
    assert answer.recorded.duration_s == pytest.approx(answer.motion.duration_s)


def test_jitter_is_smoothed_instead_of_slowed_and_the_change_is_reported():
    move = smooth_move(0.4, 4.0)
    jitter = 0.002 * np.random.default_rng(0).standard_normal(move.positions.shape)
    jitter[0] = 0.0
    noisy = Demonstration(move.times_s, move.positions + jitter, ('recorded',), 'test')
    answer = retarget(noisy, ROBOT)
    assert answer.smoothing_s == 0.02
    assert answer.time_scale == 1.0
    assert 0.001 < answer.smoothing_deviation_rad < 0.012
    clean = 0.5 + move.at(answer.motion.times_s)[:, 0]
    assert np.abs(answer.motion.positions[:, 0] - clean).max() < 0.002


def test_motion_beyond_a_position_limit_is_an_error_that_names_the_joint():
    with pytest.raises(ValueError, match=r'test: moves arm from 0\.500 to 3\.100 rad, limits -3'):
        retarget(smooth_move(2.6, 20.0), ROBOT)


def test_a_recording_with_too_few_joints_is_an_error():
    with pytest.raises(ValueError, match='has 0 joints, tiny needs 1'):
        retarget(Demonstration(np.array([0.0, 1.0]), np.zeros((2, 0)), (), 'test'), ROBOT)


def test_a_jump_that_no_speed_makes_smooth_is_an_error():
    rows = np.where(np.arange(2000) < 1000, 0.0, 1.0)[:, None]
    jump = Demonstration(np.arange(2000) * 1e-3, rows, ('recorded',), 'test')
    with pytest.raises(ValueError, match='exceeds the limits of tiny even 10 times slower'):
        retarget(jump, ROBOT)


@pytest.mark.parametrize(('times', 'rows', 'message'), [
    ([0.0], [[0.0]], 'expected at least 2'),
    ([0.0, 0.0], [[0.0], [0.0]], 'do not increase'),
    ([1.0, 2.0], [[0.0], [0.0]], 'do not increase strictly from 0'),
    ([0.0, np.nan], [[0.0], [0.0]], 'not finite'),
    ([0.0, 1.0], [[0.0], [np.inf]], 'not finite'),
    ([0.0, 1.0], [[0.0, 0.0]], 'must have shape')])
def test_a_demonstration_that_is_none_cannot_be_made(times, rows, message):
    with pytest.raises(ValueError, match=message):
        Demonstration(np.array(times), np.array(rows), ('recorded',), 'test')


@settings(max_examples=30, deadline=None)
@given(st.floats(0.05, 2.0), st.floats(0.3, 3.0), st.sampled_from([-1.0, 1.0]))
def test_what_comes_out_keeps_the_share_of_the_limits_and_starts_at_home(
        distance, seconds_per_rad, sign):
    # At most 1.875 / 0.3 rad/s, which is 8 times what is allowed: slow enough to be slowed.
    move = smooth_move(sign * distance, max(0.3, distance * seconds_per_rad))
    answer = retarget(move, ROBOT)
    assert demand(answer.motion, ROBOT, 1.0, 0.05, LIMIT_MARGIN) <= 1.0 + 1e-9
    assert answer.motion.positions[0] == pytest.approx(ROBOT.home)
    assert answer.time_scale >= 1.0


def by_name(columns):
    """Return a recording of 1 s with these constant columns."""
    return Demonstration(
        np.array([0.0, 1.0]), np.tile(list(columns.values()), (2, 1)), tuple(columns), 'named')


def test_joints_of_the_robot_s_own_names_stay_where_they_were_recorded():
    answer = retarget(by_name({'other': 9.0, 'finger': 0.8, 'arm': 1.5}), ROBOT)
    assert not answer.moved
    assert answer.held == ()
    assert answer.motion.positions[0] == pytest.approx([1.5, 0.8])


def test_an_alias_is_a_name_and_an_absent_gripper_is_held():
    arm = replace(ROBOT.joints[0], aliases=('kArm',))
    robot = replace(ROBOT, joints=(arm, ROBOT.joints[1]))
    answer = retarget(by_name({'kArm': -2.0}), robot)
    assert not answer.moved
    assert answer.held == ('finger',)
    assert answer.motion.positions[0] == pytest.approx([-2.0, 0.1])


def test_a_stranger_s_joints_are_moved_home_and_that_is_told():
    answer = retarget(by_name({'elbow': 2.5}), ROBOT)
    assert answer.moved
    assert answer.motion.positions[0] == pytest.approx(ROBOT.home)


def test_smoothing_does_not_carry_a_recorded_pose_over_a_position_limit():
    times_s = np.arange(0, 2.0, 0.001)
    rows = np.minimum(2.9 + 0.4 * times_s, 3.0)[:, None]
    noisy = rows - 0.004 * (np.arange(len(rows)) % 2)[:, None]
    answer = retarget(Demonstration(times_s, noisy, ('arm',), 'named'), ROBOT)
    assert answer.smoothing_s == 0.02
    assert answer.motion.positions[:, 0].max() <= 3.0
