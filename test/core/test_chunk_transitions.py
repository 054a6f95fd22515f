"""What a chunk earned and where it led, checked against values computed by hand."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.chunk_transitions import (
    Chunks,
    ChunkTransitions,
    EndRule,
    Trajectories,
)

HALF = 0.5
NAMES = ('action_rows', 'valid', 'returns', 'next_rows', 'bootstrap', 'counted')
RULES = list(EndRule)


def trajectories(*episodes: tuple[list[float], list[int]]) -> Trajectories:
    """Return episodes, each of the rewards of its rows and of the rows that end the task."""
    rewards = np.concatenate([np.array(each[0], np.float32) for each in episodes])
    lengths = np.array([len(each[0]) for each in episodes])
    starts = np.cumsum(lengths) - lengths
    terminated = np.zeros(len(rewards), np.bool_)
    for start, (_, ends) in zip(starts, episodes, strict=True):
        terminated[[start + end for end in ends]] = True
    return Trajectories(rewards, terminated, starts, lengths)


# Rows 0-3: success with the step of row 3. Rows 4-7: cut off, row 7 is only looked at.
SUCCESS, CUT_OFF = ([0, 0, 0, 8], [3]), ([1, 2, 4, 99], [])
HAND_MADE = trajectories(SUCCESS, CUT_OFF)
# Solved in row 1 and played on, as in OGBench's relabelled play data; cut off at row 5.
PLAY = trajectories(([-1, 0, -1, -1, -1, -1], [1]))


def chunk(of: Trajectories, row: int, horizon: int, rule: EndRule = EndRule.SAFE,
          discount: float = HALF, **options) -> dict[str, list]:
    """Return the chunk that starts at ``row`` by name."""
    every = ChunkTransitions(of, horizon, discount, rule, **options)
    found = every.at([every.rows.tolist().index(row)])
    assert found.rows.tolist() == [row]
    return {name: getattr(found, name)[0].tolist() for name in NAMES}


def every_chunk(of: Trajectories, horizon: int, *options) -> Chunks:
    """Return all chunks at once."""
    every = ChunkTransitions(of, horizon, *options)
    return every.at(np.arange(len(every)))


def test_a_chunk_starts_wherever_a_step_begins():
    # Row 7 is the last observation of an episode that was cut off: nothing was done there.
    assert ChunkTransitions(HAND_MADE, 3, HALF).rows.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_one_step_transitions_have_the_rewards_and_the_discount_of_one_step():
    every = ChunkTransitions(HAND_MADE, 1, HALF)
    found = every.at(np.arange(len(every)))
    assert found.returns[:, 0].tolist() == [0, 0, 0, 8, 1, 2, 4]
    assert found.next_rows[:, 0].tolist() == [1, 2, 3, 3, 5, 6, 7]
    assert found.bootstrap[:, 0].tolist() == [HALF, HALF, HALF, 0, HALF, HALF, HALF]
    assert found.valid.all()


def test_a_chunk_inside_its_episode_discounts_each_prefix():
    assert chunk(HAND_MADE, 4, 3) == {
        'action_rows': [4, 5, 6], 'valid': [True] * 3, 'returns': [1, 2, 3],
        'next_rows': [5, 6, 7], 'bootstrap': [1 / 2, 1 / 4, 1 / 8], 'counted': [True] * 3}


def test_success_at_the_last_point_of_a_chunk_stops_only_the_bootstrap_of_the_whole():
    found = chunk(HAND_MADE, 1, 3)
    assert found['returns'] == [0, 0, 8 / 4]
    assert found['bootstrap'] == [1 / 2, 1 / 4, 0]
    assert found['valid'] == [True] * 3


def test_success_in_the_middle_of_a_chunk_keeps_its_reward_and_masks_what_follows():
    assert chunk(HAND_MADE, 2, 5) == {
        'action_rows': [2, 3, 3, 3, 3], 'valid': [True, True, False, False, False],
        'returns': [0, 4, 4, 4, 4], 'next_rows': [3, 3, 3, 3, 3],
        'bootstrap': [1 / 2, 0, 0, 0, 0], 'counted': [True] * 5}


def test_truncation_inside_a_chunk_bootstraps_with_the_steps_that_were_taken():
    assert chunk(HAND_MADE, 5, 5) == {
        'action_rows': [5, 6, 6, 6, 6], 'valid': [True, True, False, False, False],
        'returns': [2, 4, 4, 4, 4], 'next_rows': [6, 7, 7, 7, 7],
        'bootstrap': [1 / 2] + [1 / 4] * 4, 'counted': [True] * 5}


def test_success_in_mid_episode_ends_the_chunk_and_not_the_episode():
    found = chunk(PLAY, 0, 3)
    assert found['valid'] == [True, True, False]
    assert found['returns'] == [-1, -1, -1]
    assert found['bootstrap'] == [1 / 2, 0, 0]
    assert found['next_rows'] == [1, 2, 2]
    later = chunk(PLAY, 2, 3)
    assert later['returns'] == [-1, -1.5, -1.75]
    assert later['bootstrap'] == [1 / 2, 1 / 4, 1 / 8]


def test_published_rule_drops_what_crosses_an_end_and_keeps_its_valid_prefix():
    for row, kept in ((0, 3), (1, 3), (2, 2), (3, 1), (4, 3)):
        found = chunk(HAND_MADE, row, 3, EndRule.PUBLISHED)
        assert found['valid'] == found['counted'] == [True] * kept + [False] * (3 - kept)
    assert chunk(HAND_MADE, 1, 3, EndRule.PUBLISHED) == chunk(HAND_MADE, 1, 3)
    # A chunk must fit into the table, as released: rows 5 and 6 have 2 steps and 1 before its end.
    assert ChunkTransitions(HAND_MADE, 3, HALF, EndRule.PUBLISHED).rows.tolist() == [0, 1, 2, 3, 4]


def test_published_rule_sums_on_after_a_success_in_mid_episode_and_bootstraps_nothing():
    assert chunk(PLAY, 0, 4, EndRule.PUBLISHED) == {
        'action_rows': [0, 1, 2, 3], 'valid': [True] * 4, 'returns': [-1, -1, -1.25, -1.375],
        'next_rows': [1, 2, 3, 4], 'bootstrap': [1 / 2, 0, 0, 0], 'counted': [True] * 4}


def test_points_of_a_stride_earn_the_rewards_of_all_their_rows():
    found = chunk(HAND_MADE, 4, 2, stride=2)
    # Rows 4 and 5 make the first step, row 6 alone the second, shorter one.
    assert found['action_rows'] == [4, 6]
    assert found['returns'] == [3, 3 + 4 / 2]
    assert found['next_rows'] == [6, 7]
    assert found['bootstrap'] == [1 / 2, 1 / 4]
    over = chunk(HAND_MADE, 0, 3, stride=2)
    assert over['action_rows'] == [0, 2, 3]
    assert over['valid'] == [True, True, False]
    assert over['returns'] == [0, 4, 4]
    assert over['bootstrap'] == [1 / 2, 0, 0]
    assert over['next_rows'] == [2, 3, 3]


def test_returns_to_go_are_the_discounted_rewards_up_to_the_end():
    assert ChunkTransitions(HAND_MADE, 3, HALF).returns_to_go().tolist() == [
        1, 2, 4, 8, 3, 4, 4, 0]
    assert ChunkTransitions(PLAY, 3, HALF).returns_to_go().tolist() == [
        -1, 0, -1.75, -1.5, -1, 0]
    assert ChunkTransitions(HAND_MADE, 3, HALF, stride=2).returns_to_go().tolist() == [
        4, 4 + 0, 8, 8, 5, 6, 4, 0]


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('horizon', [1, 3, 5])
def test_the_fixed_point_of_the_bellman_target_is_the_monte_carlo_value(horizon, stride):
    play_on = trajectories(SUCCESS, CUT_OFF, ([-1, 0, -1, -1, -1, -1], [1]), ([5], [0]), ([7], []))
    every = ChunkTransitions(play_on, horizon, 0.9, stride=stride)
    chunks = every.at(np.arange(len(every)))
    # A state for each row, and only one chunk was ever tried in it: a table is a chunk critic.
    values = np.zeros(len(play_on.rewards))
    for _ in range(len(values)):
        values[chunks.rows] = (chunks.returns[:, -1]
                               + chunks.bootstrap[:, -1] * values[chunks.next_rows[:, -1]])
    np.testing.assert_allclose(values, every.returns_to_go(), atol=1e-6)


def test_successful_chunks_are_shown_more_often():
    every = ChunkTransitions(HAND_MADE, 2, HALF, success_repeats=3)
    assert every.rows.tolist() == [0, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6]
    assert len(every) == 11
    # A success need not earn anything: costs of -1 up to the goal, and none there.
    costs = ChunkTransitions(PLAY, 2, HALF, success_repeats=3)
    assert costs.rows.tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 4]


def test_an_end_that_is_labelled_a_failure_is_not_shown_more_often():
    both = trajectories(SUCCESS, ([0, 5], [1]))
    ends = Trajectories(both.rewards, both.terminated, both.starts, both.lengths,
                        np.arange(6) == 3)
    every = ChunkTransitions(ends, 2, HALF, success_repeats=3)
    assert every.rows.tolist() == [0, 1, 2, 2, 2, 3, 3, 3, 4, 5]
    second = ChunkTransitions(ends.only([1]), 2, HALF, success_repeats=3)
    assert second.rows.tolist() == [4, 5]


@pytest.mark.parametrize(('episode', 'once'), [
    (([0, 0, 1], [2]), True), (([0, 0, 0.5], [2]), True), (([0, 0, 0], [2]), True),
    (([0, 0, 0], []), True),
    # The task goes on after it: somebody may earn it twice.
    (([0, 0.5, 0], [2]), False), (([0, 0.25, 0.5], [2]), False), (([0, 0.5, 0], []), False),
    (([0, 0, 2], [2]), False), (([-1, -1, 0], [2]), False), (([0, 0, -1], [2]), False),
    # No step begins at the last row of an episode that was cut off.
    (([0, 0, 7], []), True)])
def test_values_stay_in_0_to_1_where_every_reward_does_and_ends_the_task(episode, once):
    assert ChunkTransitions(trajectories(episode), 2, 0.9).paid_once is once
    # Of another episode than those that are learnt from, it does not matter.
    other = trajectories(([0, 1], [1]), episode).only([0])
    assert ChunkTransitions(other, 2, 0.9).paid_once


def test_where_rewards_after_an_end_are_summed_one_more_can_leave_0_to_1():
    again = trajectories(([0, 1, 0, 1], [1, 3]))
    assert ChunkTransitions(again, 2, 0.9).paid_once
    published = ChunkTransitions(again, 3, 0.9, EndRule.PUBLISHED)
    assert not published.paid_once
    assert published.at([1]).returns.max() > 1.0


def test_some_episodes_may_be_left_out():
    every = ChunkTransitions(HAND_MADE.only([1]), 3, HALF)
    assert every.rows.tolist() == [4, 5, 6]
    assert every.returns_to_go().tolist() == [0, 0, 0, 0, 3, 4, 4, 0]


EPISODE = st.integers(1, 9).flatmap(lambda rows: st.tuples(
    st.lists(st.integers(-3, 3).map(float), min_size=rows, max_size=rows),
    st.sets(st.integers(0, rows - 1), max_size=2).map(sorted)))
CASE = st.tuples(
    st.lists(EPISODE, min_size=1, max_size=4), st.sampled_from([1, 2, 3, 5]),
    st.sampled_from([1, 2, 3]), st.sampled_from([0.5, 0.9, 1.0])).filter(
        lambda case: any(len(rewards) > 1 or ends for rewards, ends in case[0]))


def by_loops(of: Trajectories, row: int, horizon: int, stride: int, discount: float):
    """Return (returns, bootstrap, next row, valid) of each prefix by the safe rule, slowly."""
    episode = next(index for index, (start, length) in enumerate(zip(
        of.starts, of.lengths, strict=True)) if start <= row < start + length)
    last = int(of.starts[episode] + of.lengths[episode] - 1)
    here, total, taken, over = row, 0.0, 0, False
    for _ in range(horizon):
        begun = False
        for _ in range(stride):
            if over or (here == last and not of.terminated[here]):
                break
            begun = True
            total += discount ** taken * float(of.rewards[here])
            over = bool(of.terminated[here])
            here = min(here + 1, last)
        taken += begun
        yield total, 0.0 if over else discount ** taken, here, begun


@given(CASE)
def test_every_chunk_equals_a_walk_through_its_episode(case):
    episodes, horizon, stride, discount = case
    of = trajectories(*episodes)
    every = ChunkTransitions(of, horizon, discount, stride=stride)
    found = every.at(np.arange(len(every)))
    for index, row in enumerate(every.rows.tolist()):
        returns, bootstrap, next_rows, valid = zip(
            *by_loops(of, row, horizon, stride, discount), strict=True)
        np.testing.assert_allclose(found.returns[index], returns, atol=1e-4)
        np.testing.assert_allclose(found.bootstrap[index], bootstrap, rtol=1e-6)
        assert found.next_rows[index].tolist() == list(next_rows)
        assert found.valid[index].tolist() == list(valid)


@given(CASE, st.sampled_from(RULES))
def test_a_chunk_reads_no_other_episode(case, rule):
    episodes, horizon, stride, discount = case
    of = trajectories(*episodes)
    try:
        found = every_chunk(of, horizon, discount, rule, stride)
    except ValueError:
        assert rule is EndRule.PUBLISHED
        return
    for start, last in zip(of.starts, of.last_rows, strict=True):
        # All that others earned and where they succeeded, but for how many steps they have.
        rewards, terminated = of.rewards + 50.0, ~of.terminated
        terminated[of.last_rows] = of.terminated[of.last_rows]
        own = slice(start, last + 1)
        rewards[own], terminated[own] = of.rewards[own], of.terminated[own]
        other = Trajectories(rewards, terminated, of.starts, of.lengths)
        changed = every_chunk(other, horizon, discount, rule, stride)
        mine = (found.rows >= start) & (found.rows <= last)
        for name in NAMES:
            assert (getattr(changed, name)[mine] == getattr(found, name)[mine]).all(), name
        for reached in (found.next_rows[mine], found.action_rows[mine]):
            assert ((reached >= start) & (reached <= last)).all()


@given(CASE)
def test_published_rule_is_the_released_sampling_over_a_table_of_steps(case):
    episodes, horizon, _, discount = case
    of = trajectories(*episodes)
    # The released code keeps steps, not observations: no row for where an episode was cut off.
    table = [(start + index, last) for start, last, steps in zip(
        of.starts, of.starts + of.steps - 1, of.steps, strict=True) for index in range(steps)]
    if max(of.steps) < horizon:
        return
    found = every_chunk(of, horizon, discount, EndRule.PUBLISHED)
    assert found.rows.tolist() == [row for row, _ in table[:len(table) - horizon + 1]]
    for index in range(len(found.rows)):
        total, mask, valid = 0.0, 1.0, True
        for point in range(horizon):
            row, last = table[index + point]
            total += discount ** point * float(of.rewards[row])
            mask = min(mask, 1.0 - of.terminated[row])
            assert found.valid[index, point] == found.counted[index, point] == valid
            if valid:
                assert found.action_rows[index, point] == row
                assert found.returns[index, point] == pytest.approx(total, abs=1e-4)
                assert found.bootstrap[index, point] == pytest.approx(
                    mask * discount ** (point + 1), rel=1e-6)
            valid = valid and row != last


@pytest.mark.parametrize(('options', 'line'), [
    ({'horizon': 0}, 'horizon is 0, expected 1 or more'),
    ({'stride': 0}, 'stride is 0, expected 1 or more'),
    ({'success_repeats': 0}, 'success_repeats is 0, expected 1 or more'),
    ({'discount': 0.0}, 'discount is 0, expected more than 0 and at most 1'),
    ({'discount': 1.01}, 'discount is 1.01, expected more than 0 and at most 1'),
    ({'discount': -0.5}, 'discount is -0.5, expected'),
    ({'discount': float('nan')}, 'discount is nan, expected'),
    ({'horizon': 5, 'rule': EndRule.PUBLISHED},
     'horizon 5 at stride 1 spans 5 steps and the longest episode has 4: the published rule')])
def test_what_makes_no_sense_is_refused_in_one_line(options, line):
    with pytest.raises(ValueError, match=r'horizon|stride|repeats|discount') as refused:
        ChunkTransitions(HAND_MADE, **{'horizon': 3, 'discount': HALF, **options})
    assert str(refused.value).startswith(line)
    assert '\n' not in str(refused.value)


def test_episodes_without_a_step_are_refused():
    with pytest.raises(ValueError, match='none of 2 episodes has a step, expected 2 rows or more'):
        ChunkTransitions(trajectories(([1], []), ([1], [])), 1, HALF)


@pytest.mark.parametrize(('fields', 'line'), [
    ({'rewards': [0.0, float('nan'), 0.0]}, 'the reward of row 1 is nan, expected a finite'),
    ({'rewards': [0.0, 0.0]}, 'there are 2 rewards and 3 ends, expected one of each for every'),
    ({'rewards': [[0.0], [0.0], [0.0]]}, 'rewards has shape (3, 1), expected one dimension'),
    ({'terminated': [0.0, 0.5, 1.0]}, 'terminated are float64, expected bool'),
    ({'succeeded': [True]}, 'there are 3 rewards and 1 ends, expected one of each for every'),
    ({'lengths': [1, 3]}, 'episode 1 has rows 1 to 3, expected rows from 1 to 2'),
    ({'lengths': [2, 1]}, 'episode 1 has rows 1 to 1, expected rows from 2 to 2'),
    ({'lengths': [0, 2]}, 'episode 0 has 0 rows, expected 1 or more'),
    ({'starts': [0]}, 'there are 1 starts and 2 lengths, expected one of each'),
    ({'starts': [], 'lengths': []}, 'there are 0 starts and 0 lengths, expected one of each')])
def test_rewards_that_are_not_aligned_with_rows_are_refused(fields, line):
    whole = {'rewards': [0.0, 0.0, 1.0], 'terminated': [False, False, True], 'starts': [0, 1],
             'lengths': [1, 2]}
    with pytest.raises(ValueError, match='expected') as refused:
        Trajectories(**{**whole, **fields})
    assert str(refused.value).startswith(line)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize(('rule', 'horizon'), list(itertools.product(RULES, [1, 3])))
def test_numbers_have_the_types_that_a_batch_is_made_of(rule, horizon):
    every = ChunkTransitions(HAND_MADE, horizon, HALF, rule)
    found = every.at([0, 1])
    for name in NAMES:
        assert getattr(found, name).shape == (2, horizon)
    assert found.returns.dtype == found.bootstrap.dtype == np.float32
    assert found.rows.dtype == found.action_rows.dtype == found.next_rows.dtype == np.int64
    assert found.valid.dtype == found.counted.dtype == np.bool_
