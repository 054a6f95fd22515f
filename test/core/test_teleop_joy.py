"""A joystick: sticks are speeds, only while the deadman button is held."""

from dataclasses import replace
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import GripperSpec
from chunked_vla_ros.core.teleop_joy import (
    AxisBinding,
    deflection,
    JoySettings,
    JoyTeleop,
    parse_axes,
)
from chunked_vla_ros.core.teleop_targets import Demand
from chunked_vla_ros.core.types import DimKind

MS = 1_000_000
POSE = np.zeros(3)
CENTRED = (0.0,) * 8
SETTINGS = JoySettings(joy_speed_share=0.5, joy_dead_zone=0.2)
DEADMAN = 4


@pytest.fixture
def robot(make_robot: Any) -> Any:
    """Return two joints of 1 rad/s and a gripper, open at 0 and closed at 1."""
    kinds = (DimKind.CONTINUOUS, DimKind.CONTINUOUS, DimKind.BINARY)
    return replace(make_robot(kinds), gripper=GripperSpec('joint_2', 0.0, 1.0))


class Pad:
    """A gamepad with a clock."""

    def __init__(self, robot: Any, settings: JoySettings = SETTINGS) -> None:
        self.joy = JoyTeleop(robot, settings)
        self.now_ms = 0
        self.send()

    def send(self, *down: int, axes: Any = CENTRED) -> tuple[Demand, ...]:
        self.now_ms += 50
        return self.joy.hear(axes, [int(i in down) for i in range(12)], self.now_ms * MS, POSE)

    def wish(self, later_ms: int = 0) -> Any:
        return self.joy.wish((self.now_ms + later_ms) * MS)


@pytest.fixture
def pad(robot: Any) -> Pad:
    return Pad(robot)


def stick(value: float, axis: int = 0) -> tuple[float, ...]:
    return tuple(value if index == axis else 0.0 for index in range(8))


def test_nothing_moves_without_the_deadman(pad: Pad) -> None:
    pad.send(axes=stick(1.0))
    assert pad.wish() is None


def test_full_deflection_is_the_speed_told(pad: Pad) -> None:
    pad.send(DEADMAN, axes=stick(-1.0, axis=1))
    assert pad.wish().velocity.tolist() == pytest.approx([0.0, -0.5, 0.0])


def test_letting_the_deadman_go_ends_targets_at_once(pad: Pad) -> None:
    pad.send(DEADMAN, axes=stick(1.0))
    pad.send(axes=stick(1.0))
    assert pad.wish() is None


def test_a_joystick_that_falls_silent_counts_as_released(pad: Pad) -> None:
    pad.send(DEADMAN, axes=stick(1.0))
    assert pad.wish(later_ms=300) is not None
    assert pad.wish(later_ms=301) is None


@pytest.mark.parametrize(('value', 'share'), [
    (0.0, 0.0), (0.2, 0.0), (-0.2, 0.0), (0.6, 0.5), (-0.6, -0.5), (1.0, 1.0), (7.0, 1.0),
    (math.nan, 0.0), (math.inf, 0.0)])
def test_the_dead_zone_is_zero_and_full_stays_full(value: float, share: float) -> None:
    assert deflection(value, 0.2) == pytest.approx(share)


def test_a_deadman_held_while_the_arm_was_taken_must_be_pressed_anew(pad: Pad) -> None:
    pad.send(DEADMAN, axes=stick(1.0))
    pad.joy.release()
    pad.send(DEADMAN, axes=stick(1.0))
    assert pad.wish() is None
    pad.send()
    pad.send(DEADMAN, axes=stick(1.0))
    assert pad.wish() is not None


def test_buttons_ask_once_when_they_are_pressed(pad: Pad) -> None:
    assert pad.send(7) == (Demand.TAKE_OVER,)
    assert pad.send(7) == ()
    assert pad.send(6) == (Demand.GIVE_BACK,)


def test_a_button_that_is_down_when_the_joystick_appears_was_not_pressed(robot: Any) -> None:
    joy = JoyTeleop(robot, SETTINGS)
    assert joy.hear(CENTRED, [0] * 7 + [1], 0, POSE) == ()


def test_the_gripper_button_counts_only_beside_the_deadman(pad: Pad) -> None:
    pad.send(0)
    pad.send(DEADMAN)
    assert np.isnan(pad.wish().position).all()
    pad.send(DEADMAN, 0)
    assert pad.wish().position[2] == 1.0


def test_a_joystick_without_the_button_says_so_and_moves_nothing(pad: Pad) -> None:
    pad.joy.hear(stick(1.0), [1, 1], 0, POSE)
    assert pad.joy.wish(0) is None
    assert pad.joy.complaint == (
        'joy has 2 buttons, deadman_button is 4: the arm will not move')


def test_missing_axes_are_still_and_said(pad: Pad) -> None:
    pad.send(DEADMAN, axes=(1.0,))
    assert pad.wish().velocity.tolist() == pytest.approx([0.5, 0.0, 0.0])
    assert pad.joy.complaint == 'joy has 1 axes, joy_axes names axis 1'


def test_axes_are_described_in_words(robot: Any) -> None:
    assert parse_axes(' 3:joint_1:-0.5, 0 : joint_0', robot) == (
        AxisBinding(3, 1, -0.5), AxisBinding(0, 0))
    assert parse_axes('', robot) == (AxisBinding(0, 0), AxisBinding(1, 1))


@pytest.mark.parametrize(('text', 'problem'), [
    ('joint_0', 'AXIS a number'), ('-1:joint_0', 'AXIS a number'), ('64:joint_0', 'from 0 to 63'),
    ('0:elbow', 'JOINT one of joint_0'), ('0:joint_0:fast', 'SCALE'), ('0:joint_0:0', 'SCALE'),
    ('0:joint_0:nan', 'SCALE'), ('0:joint_0:2', 'SCALE'),
    ('0:joint_0,1:joint_0', 'moved by two axes')])
def test_a_wrong_description_is_named(robot: Any, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        JoyTeleop(robot, replace(SETTINGS, joy_axes=text))
    assert '\n' not in str(caught.value)


@given(st.text(alphabet='0123456789:,-. joint_', max_size=30) | st.text(max_size=20))
def test_no_text_breaks_the_description(make_robot: Any, text: str) -> None:
    robot = make_robot()
    problem, found = '', ()
    try:
        found = parse_axes(text, robot)
    except ValueError as error:
        problem = str(error)
    assert problem.startswith('joy_axes: ') or not problem
    assert all(0 <= one.joint < 2 and 0 <= one.axis < 64 and abs(one.scale) <= 1 for one in found)


MESSAGES = st.tuples(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=9),
    st.lists(st.integers(-2, 2), max_size=9), st.integers(-10**10, 10**10))


@given(st.lists(MESSAGES, max_size=12))
def test_whatever_arrives_wishes_are_finite_and_within_their_speed(
        make_robot: Any, messages: Any) -> None:
    joy = JoyTeleop(make_robot(), SETTINGS)
    for axes, buttons, now_ns in messages:
        joy.hear(axes, buttons, now_ns, np.zeros(2))
        wish = joy.wish(now_ns)
        assert (wish is None) or np.abs(wish.velocity).max() <= 0.5
        if len(buttons) <= DEADMAN or not buttons[DEADMAN]:
            assert wish is None


def test_a_joystick_that_is_not_there_or_silent_is_said_to_be(robot: Any, pad: Pad) -> None:
    assert JoyTeleop(robot, SETTINGS).problem(0).startswith('no message of the joystick yet')
    assert pad.joy.problem((pad.now_ms + 300) * MS) == ''
    assert pad.joy.problem((pad.now_ms + 301) * MS).startswith('the joystick is silent')


def test_who_holds_the_deadman_through_a_stop_is_told_to_press_it_again(pad: Pad) -> None:
    pad.send(DEADMAN)
    assert pad.joy.problem(pad.now_ms * MS) == ''
    pad.joy.release()
    assert pad.joy.problem(pad.now_ms * MS) == 'let button 4 go and press it again'
    pad.send()
    assert pad.joy.problem(pad.now_ms * MS) == ''


def test_buttons_and_axes_are_told_in_words(robot: Any) -> None:
    settings = replace(SETTINGS, joy_axes='5:joint_1:-1', give_back_button=-1)
    assert JoyTeleop(robot, settings).controls == (
        ('button 4', 'hold it to move'), ('button 0', 'open or close the gripper'),
        ('button 7', 'take over: you drive'), ('axis 5', 'joint_1'))
