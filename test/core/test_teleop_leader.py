"""A leader arm: renamed, scaled, shifted, and never a jump when it takes over."""

from dataclasses import replace
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import GripperSpec
from chunked_vla_ros.core.teleop_leader import (
    LeaderJoint,
    LeaderSettings,
    LeaderTeleop,
    parse_leader_joints,
)
from chunked_vla_ros.core.teleop_targets import TargetStream
from chunked_vla_ros.core.types import DimKind

MS = 1_000_000
NAMES = ['joint_0', 'joint_1', 'joint_2']
FADE = LeaderSettings(leader_fade_speed=0.2)
NEAR = replace(FADE, leader_take_over='near')
OPEN = [0.0, 0.0, 0.0]


@pytest.fixture
def robot(make_robot: Any) -> Any:
    """Return two joints and a gripper, open at 0 and closed at 1."""
    kinds = (DimKind.CONTINUOUS, DimKind.CONTINUOUS, DimKind.BINARY)
    return replace(make_robot(kinds), gripper=GripperSpec('joint_2', 0.0, 1.0))


def wish(leader: LeaderTeleop, positions: Any, pose: Any, now_ms: int = 0) -> Any:
    """Let the leader be at ``positions`` and return where it wants the arm."""
    leader.hear(NAMES, positions, now_ms * MS)
    found = leader.wish(now_ms * MS, np.array(pose))
    return None if found is None else found.position.tolist()


def test_the_difference_at_take_over_is_kept_and_fades_at_its_speed(robot: Any) -> None:
    leader = LeaderTeleop(robot, FADE)
    # 0.2 rad/s: 2 mrad in 10 ms.
    assert wish(leader, [0.5, 0.0, 0.0], OPEN)[:2] == pytest.approx([0.0, 0.0])
    assert wish(leader, [0.5, 0.0, 0.0], OPEN, 10)[:2] == pytest.approx([0.002, 0.0])
    for tick in range(260):
        last = wish(leader, [0.5, 0.0, 0.0], OPEN, 20 + 10 * tick)
    assert last[:2] == pytest.approx([0.5, 0.0])


def test_the_leaders_own_motion_comes_through_while_the_difference_fades(robot: Any) -> None:
    leader = LeaderTeleop(robot, FADE)
    wish(leader, [0.5, 0.0, 0.0], OPEN)
    assert wish(leader, [0.5, 0.3, 0.0], OPEN, 10)[1] == pytest.approx(0.3)


def test_near_waits_until_the_leader_has_come_and_says_which_joint_is_away(robot: Any) -> None:
    leader = LeaderTeleop(robot, NEAR)
    assert wish(leader, [0.05, -0.5, 0.0], OPEN) is None
    assert leader.waiting == (
        'bring the leader near: joint_1 is +0.50 rad away, nearer than 0.10 is needed')
    assert wish(leader, [0.05, -0.1, 0.0], OPEN, 10)[:2] == pytest.approx([0.0, 0.0])
    assert wish(leader, [0.05, -0.1, 0.0], OPEN, 20)[:2] == pytest.approx([0.002, -0.002])
    assert leader.waiting == ''


def test_a_silent_leader_is_let_go_and_taken_over_anew(robot: Any) -> None:
    leader = LeaderTeleop(robot, FADE)
    wish(leader, OPEN, OPEN)
    assert leader.wish(201 * MS, np.zeros(3)) is None
    assert leader.waiting == 'the leader is silent'
    # It was moved meanwhile: the arm does not jump after it.
    assert wish(leader, [1.0, 0.0, 0.0], OPEN, 300)[0] == pytest.approx(0.0)
    assert wish(leader, [1.0, 0.0, 0.0], OPEN, 310)[0] == pytest.approx(0.002)


def test_before_the_first_message_there_is_nothing_to_follow(robot: Any) -> None:
    leader = LeaderTeleop(robot, FADE)
    assert leader.wish(0, np.zeros(3)) is None
    assert leader.waiting == 'no message of the leader yet'


def test_names_scales_and_offsets(robot: Any) -> None:
    leader = LeaderTeleop(robot, replace(
        FADE, leader_joints='grip:joint_2, elbow:joint_0:-2:0.1', leader_fade_speed=2.0))
    joints = ['wrist', 'elbow', 'grip'], [9.0, 0.2, 1.0]
    leader.hear(*joints, 0)
    leader.wish(0, np.zeros(3))
    leader.hear(*joints, 1000 * MS)
    found = leader.wish(1000 * MS, np.zeros(3))
    assert found is not None
    assert found.position.tolist() == pytest.approx([-0.3, math.nan, 1.0], nan_ok=True)
    assert not found.velocity.any()


def test_the_gripper_switches_past_the_middle_and_not_back_for_a_tremble(robot: Any) -> None:
    leader = LeaderTeleop(robot, FADE)
    grips = [wish(leader, [0.0, 0.0, value], OPEN, 10 * tick)[2]
             for tick, value in enumerate([0.45, 0.1, 0.55, 0.65, 0.45, 0.35])]
    assert grips == pytest.approx([math.nan, 0.0, 0.0, 1.0, 1.0, 0.0], nan_ok=True)


def test_an_angle_that_wraps_is_followed_the_short_way_round(make_robot: Any) -> None:
    robot = make_robot((DimKind.WRAPPED,), lower=-9.0, upper=9.0)
    leader = LeaderTeleop(robot, replace(NEAR, leader_fade_speed=2.0))
    leader.hear(['joint_0'], [-3.1], 0)
    leader.wish(0, np.array([3.1]))
    found = leader.wish(100 * MS, np.array([3.1]))
    assert found is not None
    assert found.position[0] == pytest.approx(math.tau - 3.1)


@pytest.mark.parametrize(('stamps_ns', 'made_ns'), [
    ([5, 6], 6), ([5, 5], 0), ([6, 5], 0), ([0, 0], 0), ([-7, -6], 0), ([0, 4], 4)])
def test_stamps_of_the_leader_are_passed_on_if_they_move(
        robot: Any, stamps_ns: list[int], made_ns: int) -> None:
    leader = LeaderTeleop(robot, FADE)
    for stamp_ns in stamps_ns:
        leader.hear(NAMES, OPEN, 0, stamp_ns)
    found = leader.wish(0, np.zeros(3))
    assert found is not None
    assert found.made_ns == made_ns


@pytest.mark.parametrize(('names', 'positions', 'problem'), [
    (NAMES, [0.0, 0.0], 'leader has 3 names but 2 positions'),
    (['joint_0'], [0.0], 'leader has no joint joint_1, only joint_0'),
    ([], [], 'leader has no joint joint_0, only none'),
    (NAMES, [0.0, math.nan, 0.0], 'leader: position of joint_1 is not finite'),
    (NAMES, [0.0, 0.0, math.inf], 'leader: position of joint_2 is not finite')])
def test_a_message_that_is_no_pose_is_refused_and_forgotten(
        robot: Any, names: Any, positions: Any, problem: str) -> None:
    leader = LeaderTeleop(robot, FADE)
    with pytest.raises(InputRejected) as caught:
        leader.hear(names, positions, 0)
    assert str(caught.value) == problem
    assert leader.wish(0, np.zeros(3)) is None


@pytest.mark.parametrize(('text', 'problem'), [
    ('a', 'two to four parts'), (':joint_0', 'two to four parts'), ('a:b:1:2:3', 'two to four'),
    ('a:elbow', 'JOINT one of joint_0'), ('a:joint_0:x', 'numbers'), ('a:joint_0:0', 'SCALE'),
    ('a:joint_0:nan', 'SCALE'), ('a:joint_0:11', 'SCALE'), ('a:joint_0:1:13', 'OFFSET'),
    ('a:joint_0,b:joint_0', 'follows two joints')])
def test_a_wrong_description_is_named(robot: Any, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        LeaderTeleop(robot, replace(FADE, leader_joints=text))
    assert '\n' not in str(caught.value)


@given(st.text(alphabet='ab:,.-0123 joint_', max_size=30) | st.text(max_size=20))
def test_no_text_breaks_the_description(make_robot: Any, text: str) -> None:
    problem, found = '', ()
    try:
        found = parse_leader_joints(text, make_robot())
    except ValueError as error:
        problem = str(error)
    assert problem.startswith('leader_joints: ') or not problem
    assert all(0 <= one.joint < 2 and math.isfinite(one.scale * 10 + one.offset) for one in found)


def test_without_a_description_names_are_the_same(robot: Any) -> None:
    assert parse_leader_joints('', robot)[1] == LeaderJoint('joint_1', 1)


VALUES = st.floats(allow_nan=True, allow_infinity=True)
MESSAGES = st.tuples(
    st.lists(st.sampled_from([*NAMES, 'x']), max_size=4), st.lists(VALUES, max_size=4),
    st.integers(-10**9, 10**9), st.booleans())


@given(st.lists(MESSAGES, max_size=15), st.sampled_from([FADE, NEAR]))
def test_whatever_the_leader_says_targets_move_no_faster_than_told(
        make_robot: Any, messages: Any, settings: LeaderSettings) -> None:
    robot = make_robot((DimKind.CONTINUOUS, DimKind.CONTINUOUS, DimKind.WRAPPED))
    leader, stream = LeaderTeleop(robot, settings), TargetStream(robot.limits, 0.5)
    stream.seed(np.zeros(3))
    before, now_ns = np.zeros(3), 0
    for names, positions, step_ns, whole in messages:
        now_ns += step_ns
        try:
            leader.hear(NAMES if whole else names, positions, now_ns)
        except InputRejected:
            pass
        found = leader.wish(now_ns, before)
        if found is not None:
            target = stream.advance(found, 0.01, before)
            assert np.isfinite(target).all()
            assert np.abs(target - before).max() <= 0.005 + 1e-12
            before = target
