"""Which commands the servo takes, and what it makes of them."""

import numpy as np
import pytest

from chunked_vla_ros.sim.reference import TrajectoryCommand
from chunked_vla_ros.sim.servo import ActuatorGains, Servo

MS = 1_000_000
REST = np.zeros(2)


@pytest.fixture
def servo():
    """Return a servo of one arm joint and a gripper: stiffness 100, damping 10, gain 50."""
    gains = ActuatorGains(
        gain=np.array([50.0, 50.0]), stiffness=np.array([100.0, 100.0]),
        damping=np.array([10.0, 10.0]), is_arm=np.array([True, False]))
    return Servo(gains, velocity_limit=np.array([2.0, 2.0]), command_rate_hz=200.0)


def position(servo, time_ns=0):
    return servo.setpoint(time_ns).position.tolist()


def trajectory(offset_ms, *row):
    return TrajectoryCommand(0, np.array([offset_ms * MS]), np.array([row]))


def test_it_stands_still_until_told_otherwise(servo):
    servo.hold(np.array([0.3, 0.0]))
    assert position(servo, 10**9) == [0.3, 0.0]


def test_a_first_command_from_afar_is_refused_and_counted(servo):
    servo.command_position(np.array([0.06, 0.0]), REST, 0)
    assert position(servo) == [0.0, 0.0]
    assert servo.refused == 1
    assert servo.refusal == ('joint 0 is 0.060 rad from the command, the first one must be '
                             'within 0.050 rad')


def test_a_command_from_nearby_engages_and_then_no_distance_is_refused(servo):
    servo.command_position(np.array([0.04, 0.0]), REST, 0)
    servo.command_position(np.array([0.50, 0.0]), REST, 5 * MS)
    assert servo.refused == 0
    assert position(servo, 5 * MS)[0] == pytest.approx(0.5)


def test_after_hold_it_must_be_engaged_again(servo):
    servo.command_position(np.array([0.04, 0.0]), REST, 0)
    servo.hold(REST)
    servo.command_position(np.array([0.5, 0.0]), REST, 5 * MS)
    assert servo.refused == 1
    assert position(servo, 5 * MS) == [0.0, 0.0]


def test_the_gripper_may_start_anywhere(servo):
    servo.command_position(np.array([0.0, 0.8]), REST, 0)
    assert servo.refused == 0


@pytest.mark.parametrize(('command', 'reason'), [
    ([0.0], '1 positions, expected 2'), ([0.0, 0.0, 0.0], '3 positions, expected 2'),
    ([float('nan'), 0.0], 'not finite'), ([0.0, float('inf')], 'not finite')])
def test_a_malformed_command_is_refused_even_when_engaged(servo, command, reason):
    servo.command_position(REST, REST, 0)
    servo.command_position(np.array(command), REST, 5 * MS)
    assert servo.refused == 1
    assert reason in servo.refusal
    assert position(servo, 5 * MS) == [0.0, 0.0]


def test_a_trajectory_may_begin_as_far_away_as_the_arm_gets_in_time(servo):
    servo.command_trajectory(trajectory(100, 0.30, 0.0), REST, 0)       # 0.05 + 2 rad/s * 0.1 s
    assert servo.refused == 1
    servo.command_trajectory(trajectory(200, 0.30, 0.0), REST, 0)
    assert servo.refused == 1
    assert position(servo, 200 * MS)[0] == pytest.approx(0.30)


def test_a_trajectory_that_is_over_is_refused(servo):
    command = TrajectoryCommand(1, np.array([10 * MS]), np.array([[0.0, 0.0]]))
    servo.command_trajectory(command, REST, 20 * MS)
    assert 'still ahead' in servo.refusal


def test_the_input_feeds_velocity_and_the_arm_bias_forward(servo):
    for k in range(4):
        servo.command_position(np.array([0.005 * k, 0.0]), REST, k * 5 * MS)     # 1 rad/s
    arm, gripper = servo.input(15 * MS, bias_force=np.array([7.0, 7.0]))
    assert arm == pytest.approx((100 * 0.015 + 10 * 1.0 + 7.0) / 50)
    assert gripper == pytest.approx(0.0)
