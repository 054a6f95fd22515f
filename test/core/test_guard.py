"""The guard lets through what can be stopped in time, and nothing that jumps."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.guard import Guard
from chunked_vla_ros.core.profiles import ProfileError, Profiles, velocity_after_settling
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import MotionState

LIMITS = JointLimits(*(np.array([x]) for x in (-2.0, 2.0, 1.0, 2.0, 20.0)))


def state(position: float, velocity: float = 0.0, acceleration: float = 0.0) -> MotionState:
    return MotionState(np.array([position]), np.array([velocity]), np.array([acceleration]))


@pytest.fixture
def guard() -> Guard:
    return Guard(LIMITS, Profiles(LIMITS))


def test_stop_from_1_radps_covers_the_textbook_distance() -> None:
    # v^2 / (2 a) + v a / (2 j) = 1 / 4 + 2 / 40 = 0.3 rad
    _, highest = Profiles(LIMITS).stop(0, state(0.0, 1.0)).extrema()
    assert highest == pytest.approx([0.3])


def test_velocity_after_settling_adds_what_the_acceleration_still_brings() -> None:
    # 0.5 + 2^2 / (2 * 20) = 0.6
    settled = velocity_after_settling(np.array([0.5]), np.array([2.0]), np.array([20.0]))
    assert settled == pytest.approx([0.6])


def test_state_that_stops_just_inside_the_range_passes(guard: Guard) -> None:
    assert guard.violation(state(1.699, 1.0), 0) == ''


@pytest.mark.parametrize(('bad', 'reason'), [
    (state(1.701, 1.0), 'position'),
    (state(-1.701, -1.0), 'position'),
    (state(0.0, 1.001), 'velocity'),
    (state(0.0, 0.95, 2.0), 'velocity'),        # would reach 1.05 rad/s
    (state(0.0, 0.0, 2.001), 'acceleration'),
    (state(np.nan), 'not finite'),
    (state(0.0, np.inf), 'not finite'),
])
def test_state_without_a_safe_future_is_named(guard: Guard, bad: MotionState, reason: str
                                              ) -> None:
    assert guard.violation(bad, 0) == reason


def test_step_along_a_constant_jerk_passes(guard: Guard) -> None:
    # j = 20 for 10 ms: a = 0.2, v = 0.001, q = 20 * 1e-6 / 6
    assert guard.step_violation(state(0.0), state(20e-6 / 6, 0.001, 0.2), 0.01) == ''


@pytest.mark.parametrize(('after', 'reason'), [
    (state(0.0, 0.0, 0.21), 'jerk'),
    (state(0.0, 0.01, 0.0), 'jump in velocity'),
    (state(0.001, 0.0, 0.0), 'jump in position'),
])
def test_step_that_no_bounded_jerk_makes_is_named(guard: Guard, after: MotionState, reason: str
                                                  ) -> None:
    assert guard.step_violation(state(0.0), after, 0.01) == reason


def test_a_profile_that_does_not_exist_is_an_error_of_one_line() -> None:
    with pytest.raises(ProfileError) as error:
        Profiles(LIMITS).move(0, state(0.0), state(1.0, 5.0))
    assert 'velocity' in str(error.value)
    assert '\n' not in str(error.value)


def test_a_joint_whose_range_excludes_zero_passes() -> None:
    # As joint 6 of a Franka FR3: ruckig reports 0 as an extreme of every velocity profile.
    limits = JointLimits(*(np.array(x) for x in (
        [0.5, -2.0], [4.5, 2.0], [1.0, 1.0], [2.0, 2.0], [20.0, 20.0])))
    guard = Guard(limits, Profiles(limits))
    rest = MotionState.at_rest(np.array([1.5, 0.0]))
    assert guard.violation(rest, 0) == ''
    for velocity in ([0.0, 0.5], [0.5, 0.0], [-0.5, 1e-12]):
        moving = MotionState(np.array([1.5, 0.0]), np.array(velocity), np.zeros(2))
        assert guard.violation(moving, 0) == ''
    # From 0.5 rad/s it takes 0.5^2 / (2 * 2) + 0.5 * 2 / (2 * 20) = 0.0875 rad to stop.
    towards = MotionState(np.array([0.58, 0.0]), np.array([-0.5, 0.0]), np.zeros(2))
    assert guard.violation(towards, 0) == 'position'


@given(velocity=st.floats(-1.0, 1.0), acceleration=st.floats(-2.0, 2.0))
def test_the_bound_of_the_stopping_distance_is_never_less_than_the_stop(
        velocity: float, acceleration: float) -> None:
    now = state(0.0, velocity, acceleration)
    lowest, highest = Profiles(LIMITS).stop(0, now).extrema()
    # A range that the planned stop just leaves: the quick way out must not say it is inside.
    for lower, upper in ((lowest[0] + 1e-6, 1e3), (-1e3, highest[0] - 1e-6)):
        limits = replace(LIMITS, lower=np.array([lower]), upper=np.array([upper]))
        assert not Guard(limits, Profiles(limits))._fine_for_sure(now)
