"""The replay policy: where in the recording it is follows from time stamps alone."""

import numpy as np
import pytest

from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.core.retarget import Demonstration
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.policies.replay import horizon_for, ReplayPolicy

S = 1_000_000_000
FIRST = 1_700_000_000 * S


@pytest.fixture
def motion():
    """Return two seconds at 0.1 rad/s from the home pose 0.5 rad, sampled twice."""
    return Demonstration(
        np.array([0.0, 2.0]), np.array([[0.5, 0.0], [0.7, 0.0]]), ('arm', 'finger'), 'ramp.npy')


@pytest.fixture
def policy(robot, motion):
    return ReplayPolicy(robot, motion, step_s=0.5, horizon=4)


def test_the_first_plan_starts_with_the_first_row(policy, observe):
    plan = policy.plan(observe(FIRST))
    assert plan.positions[:, 0] == pytest.approx([0.5, 0.55, 0.6, 0.65])
    assert plan.positions[:, 1] == pytest.approx([0.0] * 4)
    assert not plan.done


def test_a_later_plan_goes_on_where_the_time_is_not_where_the_last_plan_ended(policy, observe):
    policy.plan(observe(FIRST))
    assert policy.plan(observe(FIRST + S // 4)).positions[:, 0] == pytest.approx(
        [0.525, 0.575, 0.625, 0.675])


def test_beyond_the_end_the_last_row_is_repeated_and_then_the_policy_is_done(policy, observe):
    policy.plan(observe(FIRST))
    plan = policy.plan(observe(FIRST + 3 * S // 2, position=(0.65, 0.0)))
    assert plan.positions[:, 0] == pytest.approx([0.65, 0.7, 0.7, 0.7])
    assert not plan.done
    plan = policy.plan(observe(FIRST + 2 * S, position=(0.7, 0.0)))
    assert plan.positions[:, 0] == pytest.approx([0.7] * 4)
    assert plan.done


def test_a_new_session_starts_from_the_beginning(policy, observe):
    policy.plan(observe(FIRST))
    policy.reset()
    assert policy.plan(observe(FIRST + S)).positions[0, 0] == pytest.approx(0.5)


def test_an_arm_that_is_elsewhere_is_first_moved_to_the_first_pose_within_limits(
        policy, observe):
    plans, position = [], -0.5
    for stamp in range(FIRST, FIRST + 20 * S, S // 10):
        plans.append(policy.plan(observe(stamp, position=(position, 0.8))))
        position = plans[-1].positions[0, 0]
    first_rows = np.array([plan.positions[0, 0] for plan in plans])
    assert first_rows[0] == pytest.approx(-0.5)
    assert plans[0].note.startswith('moving to the recording, ')
    arrival = next(index for index, plan in enumerate(plans) if not plan.note)
    # 1 rad at no more than 0.3 rad/s takes more than 3.3 s.
    assert 34 <= arrival < 50
    assert np.abs(np.diff(first_rows[:arrival])).max() <= 0.3 * 0.1 + 1e-9
    assert first_rows[arrival] == pytest.approx(0.5, abs=0.01)
    done = next(index for index, plan in enumerate(plans) if plan.done)
    assert done - arrival == pytest.approx(20, abs=1)
    assert policy.facts == {'replay_resumed': '0', 'replay_late_s': '0.000'}


def test_an_arm_within_a_servos_error_of_the_first_pose_needs_no_move(policy, observe):
    plan = policy.plan(observe(FIRST, position=(0.515, 0.4)))
    assert plan.positions[0, 0] == pytest.approx(0.5)
    assert plan.note == ''


def test_no_way_to_the_first_pose_is_a_policy_error(policy, observe):
    with pytest.raises(PolicyError, match='no way to the recording'):
        policy.plan(observe(FIRST, position=(np.nan, 0.0)))


def held(policy, observe, pose, since_s, until_s):
    """Return the plans for an arm that stands at ``pose``, every 0.1 s."""
    return [policy.plan(observe(FIRST + round(tenth * S / 10), position=(pose, 0.0)))
            for tenth in range(round(since_s * 10), round(until_s * 10) + 1)]


def test_an_arm_that_was_held_is_waited_for_where_it_stands(policy, observe):
    policy.plan(observe(FIRST))
    # At 0.55 rad, where it should be after 0.5 s. After 1.6 s it is 0.11 rad behind.
    plans = held(policy, observe, 0.55, 0.5, 1.6)
    assert [plan.positions[0, 0] for plan in plans[:-1]] == pytest.approx(
        0.55 + 0.01 * np.arange(11))
    # On from there, eased in within a second: after t the recording is t^2 / 2 s further on.
    assert plans[-1].positions[:, 0] == pytest.approx([0.55, 0.5625, 0.6, 0.65])
    # 1.1 s held and half a second to gain the speed.
    assert policy.facts == {'replay_resumed': '1', 'replay_late_s': '1.600'}


def test_a_replay_that_waited_goes_on_and_ends_later(policy, observe):
    policy.plan(observe(FIRST))
    held(policy, observe, 0.55, 0.5, 1.6)
    plan = policy.plan(observe(FIRST + 31 * S // 10, position=(0.65, 0.0)))
    assert plan.positions[:, 0] == pytest.approx([0.65, 0.7, 0.7, 0.7])
    assert not plan.done
    assert policy.plan(observe(FIRST + 36 * S // 10, position=(0.7, 0.0))).done


def test_an_arm_that_was_moved_aside_and_stands_is_brought_back(policy, observe):
    policy.plan(observe(FIRST))
    plans = held(policy, observe, 0.9, 0.5, 0.7)
    # The nearest that it can have passed is where it was due when it came to stand: 0.55 rad.
    assert plans[-1].positions[0, 0] == pytest.approx(0.9)
    assert plans[-1].note.startswith('moving to the recording, ')
    assert plans[-1].positions[-1, 0] < 0.7
    assert policy.facts['replay_resumed'] == '1'


def test_an_arm_that_lags_but_moves_is_not_waited_for(policy, observe):
    policy.plan(observe(FIRST))
    for tenth in range(1, 20):
        # 0.15 rad behind.
        policy.plan(observe(FIRST + tenth * S // 10, position=(0.35 + 0.01 * tenth, 0.0)))
    assert policy.facts['replay_resumed'] == '0'


def test_where_the_recording_itself_rests_nobody_is_waited_for(robot, observe):
    rest = Demonstration(
        np.array([0.0, 5.0]), np.array([[0.5, 0.0], [0.5, 0.0]]), ('arm', 'finger'), 'rest.npy')
    policy = ReplayPolicy(robot, rest)
    # A servo's error of 50 mrad is none of its business.
    held(policy, observe, 0.55, 0.0, 4.0)
    assert policy.facts['replay_resumed'] == '0'


def test_a_new_session_has_waited_for_nobody(policy, observe):
    policy.plan(observe(FIRST))
    held(policy, observe, 0.55, 0.5, 1.6)
    policy.reset()
    assert policy.facts['replay_resumed'] == '0'


@pytest.mark.parametrize(('rate_hz', 'points'), [
    (5, 5), (10, 9), (20, 16), (30, 24), (50, 39), (100, 76), (200, 100)])
def test_a_chunk_covers_three_quarters_of_a_second_at_any_rate(rate_hz, points):
    # The executor takes no more than 100 points.
    assert horizon_for(1 / rate_hz) == points


def test_it_waits_for_the_cameras_that_it_is_told_to(robot, motion):
    assert ReplayPolicy(robot, motion, cameras=('wrist',)).spec.cameras == ('wrist',)


def test_the_spec_says_what_the_chunk_needs(policy):
    assert policy.spec.policy_id == 'replay ramp.npy'
    assert policy.spec.dim_kinds == (DimKind.CONTINUOUS, DimKind.BINARY)
    assert policy.spec.cameras == ()
    assert not policy.spec.needs_instruction


def test_a_motion_of_another_robot_is_refused(robot):
    foreign = Demonstration(np.array([0.0, 1.0]), np.zeros((2, 1)), ('fr3_joint1',), 'raw.npy')
    with pytest.raises(ValueError, match=r'raw\.npy: joints'):
        ReplayPolicy(robot, foreign)
