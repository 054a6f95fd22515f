"""The stand-in without physics: it reaches what it is commanded, never faster than its limits."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import (
    CommandKind,
    CommandSpec,
    JointSpec,
    JointUnit,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.sim.kinematic_robot import KinematicRobot, STEP_NS
from chunked_vla_ros.sim.reference import TrajectoryCommand
from chunked_vla_ros.sim.simulated_robot import chosen_model, make_robot

PERIOD_NS = 5_000_000
HOME = np.array([0.5, 0.4])
VELOCITY = np.array([1.0, 5.0])
ROBOT = RobotSpec(
    name='tiny', base_frame='world',
    joints=(
        JointSpec('arm', DimKind.CONTINUOUS, -2.0, 2.0, 1.0, 5.0, 100.0, 0.5),
        JointSpec('finger', DimKind.CONTINUOUS, 0.0, 1.0, 5.0, 50.0, 1000.0, 0.4,
                  unit=JointUnit.FRACTION)),
    gripper=None, state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1), cameras=(),
    command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 200.0))


def test_it_begins_at_home_and_at_rest() -> None:
    sample = KinematicRobot(ROBOT).joints()
    assert sample.position == pytest.approx(HOME)
    assert sample.velocity == pytest.approx([0.0, 0.0])


def test_a_command_is_where_the_joints_are_from_then_on() -> None:
    robot = KinematicRobot(ROBOT)
    robot.command_position(HOME + 0.001, 0)
    robot.advance_to(5 * STEP_NS)
    assert robot.joints().position == pytest.approx(HOME + 0.001)
    assert robot.time_ns == 5 * STEP_NS


def test_a_step_is_made_at_the_velocity_limit() -> None:
    robot = KinematicRobot(ROBOT)
    robot.command_position(HOME + np.array([0.04, 0.0]), 0)
    robot.advance_to(10 * STEP_NS)
    # 10 ms at 1 rad/s.
    assert robot.joints().position == pytest.approx(HOME + np.array([0.01, 0.0]))
    assert robot.joints().velocity == pytest.approx([1.0, 0.0])


def test_a_first_command_from_afar_is_refused() -> None:
    robot = KinematicRobot(ROBOT)
    robot.command_position(HOME + 0.1, 0)
    robot.advance_to(50 * STEP_NS)
    assert robot.servo.refused == 1
    assert robot.joints().position == pytest.approx(HOME)


def test_a_trajectory_is_followed_to_its_end() -> None:
    robot = KinematicRobot(ROBOT)
    robot.command_trajectory(TrajectoryCommand(
        0, np.array([400_000_000]), (HOME + np.array([0.2, 0.3]))[None]), 0)
    robot.advance_to(200_000_000)
    assert robot.joints().position == pytest.approx(HOME + np.array([0.1, 0.15]), abs=2e-3)
    robot.advance_to(500_000_000)
    assert robot.joints().position == pytest.approx(HOME + np.array([0.2, 0.3]))


def test_a_reset_puts_it_home_and_time_goes_on() -> None:
    robot = KinematicRobot(ROBOT)
    robot.command_position(HOME + 0.01, 0)
    robot.advance_to(100 * STEP_NS)
    robot.reset(0, task='hand over the bottle')
    robot.advance_to(150 * STEP_NS)
    assert robot.joints().position == pytest.approx(HOME)
    assert robot.time_ns == 150 * STEP_NS
    assert robot.instruction == 'hand over the bottle'
    assert not robot.take_success()


@settings(max_examples=30)
@given(st.lists(
    st.tuples(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 9_000_000)),
    min_size=1, max_size=30))
def test_no_command_makes_it_faster_than_its_limits_or_leaves_its_range(
        commands: list[tuple[float, float, int]]) -> None:
    robot = KinematicRobot(ROBOT)
    robot.command_position(HOME, 0)
    now_ns, before = 0, HOME
    for arm, finger, wait_ns in commands:
        robot.command_position(np.array([arm, finger]), now_ns)
        now_ns += wait_ns
        for step_ns in range(robot.time_ns + STEP_NS, now_ns + 1, STEP_NS):
            robot.advance_to(step_ns)
            position = robot.joints().position
            assert np.all(np.abs(position - before) <= VELOCITY * 1e-3 * (1 + 1e-9))
            assert np.all(position >= ROBOT.limits.lower)
            assert np.all(position <= ROBOT.limits.upper)
            before = position


@settings(max_examples=8)
@given(st.floats(-2.0, 2.0), st.floats(0.0, 1.0))
def test_what_is_commanded_within_the_range_is_reached(arm: float, finger: float) -> None:
    robot, target = KinematicRobot(ROBOT), np.array([arm, finger])
    robot.command_position(HOME, 0)
    for tick in range(1, 901):
        robot.advance_to(tick * PERIOD_NS)
        robot.command_position(target, tick * PERIOD_NS)
    assert robot.joints().position == pytest.approx(target, abs=1e-9)


def test_a_contract_without_a_model_is_kinematic() -> None:
    assert chosen_model('auto', ROBOT) == 'kinematic'
    assert chosen_model('mujoco', ROBOT) == 'mujoco'
    assert isinstance(make_robot('auto', ROBOT, 0, 'random', ''), KinematicRobot)
