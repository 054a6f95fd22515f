"""Data that cannot support an improvement are said to be so, with the numbers that say it."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.chunk_transitions import Trajectories
from chunked_vla_ros.core.rl_support import judge_support, Support, SupportVerdict


def judge(lengths, success, labelled=None, horizon=5, totals=None, **options) -> Support:
    """Judge episodes that earn ``totals``, by default 1 for a success, with their last step."""
    lengths, success = np.array(lengths), np.array(success, np.bool_)
    starts = np.cumsum(lengths) - lengths
    rewards, terminated = np.zeros(lengths.sum()), np.zeros(lengths.sum(), np.bool_)
    terminated[starts + lengths - 1] = success
    earned = success.astype(float) if totals is None else totals
    rewards[starts + lengths - 1 - ~success] = earned
    return judge_support(
        Trajectories(rewards, terminated, starts, lengths), success,
        np.ones(len(lengths)) if labelled is None else labelled, horizon, **options)


def test_failures_beside_successes_support_success_and_speed():
    support = judge([40, 60, 50, 55, 45, 100], [1, 1, 1, 1, 1, 0])
    assert support.verdict is SupportVerdict.SUCCESS_AND_SPEED
    assert not support.refused
    assert support.reasons == ()
    assert support.line == 'the data can support an improvement of success and speed'
    assert support.numbers == {
        'episodes': 6, 'successes': 5, 'failures': 1, 'unlabelled': 0, 'median rows': 52.5,
        'median rows of successes': 50.0, 'faster half is shorter by [%]': 15.0,
        'episodes shorter than a chunk': 0}


def test_without_failures_only_speed_can_be_improved():
    support = judge([40, 60, 50, 55, 45], [1] * 5)
    assert support.verdict is SupportVerdict.SPEED
    assert not support.refused
    reason, = support.reasons
    assert reason == (
        'none of 5 episodes failed, so that only speed tells better from worse, the faster half '
        'is 15% shorter: expect shorter cycles, and keep failures for more')


def test_equal_successes_leave_imitation_recommended():
    support = judge([100, 101, 100, 102, 99, 100], [1] * 6)
    assert support.refused
    assert support.line == (
        'the data cannot support an improvement, imitation stays the recommended policy: none of '
        '6 episodes failed and the faster half is only 0.0% shorter, expected failures or 5%: '
        'record episodes of more varied quality and keep those that fail')


def test_tasks_that_take_longer_than_others_are_no_variation_of_speed():
    lengths, tasks = [50, 100] * 5, ['near', 'far'] * 5
    assert judge(lengths, [1] * 10).verdict is SupportVerdict.SPEED
    assert judge(lengths, [1] * 10, tasks=tasks).refused


def test_recorded_rewards_may_tell_better_from_worse_where_speed_does_not():
    support = judge([50] * 6, [1] * 6, totals=[1, 1, 1, 2, 2, 2])
    assert support.verdict is SupportVerdict.RETURN
    assert 'the better half earned 33% more' in support.reasons[0]
    unlabelled = judge([50] * 3, [0] * 3, labelled=[0] * 3, totals=[-5, -1, 0])
    assert unlabelled.verdict is SupportVerdict.RETURN
    reason, = unlabelled.reasons
    assert reason == (
        'none of 3 episodes is a success and only the recorded rewards tell better from worse, '
        '-5 to 0 an episode')


@pytest.mark.parametrize(('successes', 'refused'), [(0, True), (1, True), (4, True), (5, False)])
def test_with_few_successes_what_they_have_in_common_is_chance(successes, refused):
    support = judge([50] * 20, [1] * successes + [0] * (20 - successes))
    assert support.refused is refused
    if refused:
        assert support.reasons[0].startswith(
            f'{successes or "none"} of 20 episodes succeeded')


def test_no_success_and_no_reward_says_what_to_record():
    assert judge([50] * 3, [0] * 3).reasons == (
        'none of 3 episodes succeeded and all earned 0: record and label some that succeed',)


def test_a_reward_that_failures_get_as_well_tells_nothing():
    support = judge([50] * 8, [1] * 6 + [0] * 2, totals=[1] * 8)
    assert support.refused
    reason, = support.reasons
    assert reason == (
        '2 of 8 episodes failed and earned 1 as those that succeeded did: take the reward from '
        'the successes')


def test_a_horizon_longer_than_an_episode_names_it():
    some = judge([40, 9, 50, 55, 45, 10], [1, 1, 1, 1, 1, 0], horizon=5, stride=2,
                 names=[f'demo#{index}' for index in range(6)])
    assert some.verdict is SupportVerdict.SUCCESS_AND_SPEED
    # The last row of an episode that was cut off begins no step.
    reason, = some.reasons
    assert reason == (
        'a chunk of 5 points spans 10 rows and is longer than 2 of 6 episodes, demo#1 (9 steps), '
        'demo#5 (9 steps): it is cut off there')
    every = judge([40, 60, 50, 55, 45], [1, 1, 1, 1, 1], horizon=61)
    assert every.refused
    assert every.reasons[0] == (
        'a chunk of 61 points spans 61 rows and is longer than every episode, 0 (40 steps), '
        '1 (60 steps), 2 (50 steps) and 2 more: shorten the horizon')


def test_tasks_without_a_success_and_unlabelled_episodes_are_told():
    support = judge([40, 60, 50, 55, 45, 100], [1, 1, 1, 1, 1, 0], labelled=[1] * 5 + [0],
                    tasks=['put'] * 5 + ['stack'])
    assert "1 of 2 tasks have no success: 'stack'" in support.reasons
    assert support.reasons[-1] == (
        '1 of 6 episodes are not labelled, such as 5, and count as cut off')


def test_what_is_not_one_for_each_episode_is_refused():
    with pytest.raises(ValueError, match='labelled has 2 entries, expected one for each of 3'):
        judge([5, 5, 5], [1, 1, 1], labelled=[1, 1])


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans(), st.booleans(), st.sampled_from(
    [-1e30, -1.0, 0.0, 1.0])), min_size=1, max_size=12), st.integers(1, 40))
def test_every_judgement_is_one_line_and_a_refusal_has_a_reason(episodes, horizon):
    lengths, success, labelled, totals = zip(*[
        (rows + 1, won, won or known, total) for rows, won, known, total in episodes], strict=True)
    support = judge(lengths, success, labelled, horizon, totals)
    assert '\n' not in support.line
    assert all(np.isfinite(value) for value in support.numbers.values())
    if support.verdict is not SupportVerdict.SUCCESS_AND_SPEED:
        assert support.reasons
