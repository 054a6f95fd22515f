"""Counts, intervals and comparisons against numbers that one can check by hand."""

from __future__ import annotations

from dataclasses import replace
import json

import pytest

from chunked_vla_ros.evaluate.comparison import compare
from chunked_vla_ros.evaluate.results import (
    EvaluationResults,
    IN_PROCESS,
    policy_results,
    PolicyResults,
    THROUGH_ROS,
)
from chunked_vla_ros.evaluate.share import Share, share


def evaluation(*policies, **changes):
    values = {'command': 'chunked-vla evaluate a', 'robot': 'ur5e_sim', 'position_set': 'random',
              'first_seed': 0, 'timing': {'latency_s': 0.05}, 'versions': {'python': '3.11'},
              'policies': policies, 'duration_s': 9.0}
    return EvaluationResults(**(values | changes))


@pytest.fixture
def three(make_record):
    """Return three episodes, two of which succeeded."""
    return (make_record(0), make_record(1, task='blue_left', duration_s=8.0),
            make_record(2, False, task='blue_left', first_lifted='red', rms_jerk=40.0))


def test_a_share_has_wilsons_interval_and_nothing_has_none():
    nine = share([True] * 9 + [False])
    assert (nine.k, nine.n, nine.rate) == (9, 10, 0.9)
    assert nine.interval == pytest.approx((0.596, 0.982), abs=5e-4)
    assert (Share(0, 0).rate, Share(0, 0).interval) == (None, None)


def test_totals_are_those_of_the_episodes(three):
    found = PolicyResults('a', 'a@1', three)
    assert (found.success.k, found.success.n) == (2, 3)
    assert {text: (one.k, one.n) for text, one in found.by_instruction.items()} == {
        'put the red cube on the left pad': (1, 1), 'put the blue cube on the left pad': (1, 2)}
    assert (found.right_cube.k, found.right_cube.n) == (2, 3)
    # Of the successes only: 6 s and 8 s.
    assert (found.cycle_time.median, found.cycle_time.count) == (7.0, 2)
    assert found.mean('rms_jerk') == 20.0
    assert found.plan_wall[0] == pytest.approx(0.03)
    assert found.endings() == {'success': 2, 'timeout': 1}


def test_what_was_not_measured_is_not_counted_as_zero(make_record):
    found = PolicyResults('a', 'a@1', (
        make_record(0, first_lifted=None, rms_jerk=None, plan_wall_s=()),))
    assert found.right_cube.n == 0
    assert (found.mean('rms_jerk'), found.plan_wall) == (None, None)


def test_json_says_all_that_is_needed_to_believe_it(three):
    content = json.loads(json.dumps(evaluation(PolicyResults('a', 'a@1', three)).to_json()))
    assert list(content)[:2] == ['schema', 'command']
    assert content['first_seed'] == 0
    policy = content['policies'][0]
    assert (policy['k'], policy['n'], policy['how']) == (2, 3, IN_PROCESS)
    assert policy['interval_95'] == pytest.approx([0.208, 0.939], abs=5e-4)
    assert [one['seed'] for one in policy['episodes']] == [0, 1, 2]
    assert {'task', 'success', 'duration_s', 'termination', 'first_lifted', 'cube_to_pad_m',
            'plan_wall_s', 'holds', 'clamps', 'refused', 'rms_jerk',
            'spectral_arc_length'} <= set(policy['episodes'][0])
    assert content['comparisons'] == []


def test_policies_are_compared_start_by_start(make_record):
    first = [make_record(seed, success) for seed, success in enumerate([1, 1, 1, 0])]
    second = [make_record(seed, bool(success), duration_s=7.0)
              for seed, success in enumerate([1, 0, 0, 0])]
    found = compare(('a', first), ('b', second[::-1]))
    assert (found.both, found.only_first, found.only_second, found.neither) == (1, 2, 0, 1)
    # Two that differ, both one way: 2 * 0.5**2.
    assert found.p == pytest.approx(0.5)
    assert (found.cycle_difference.median, found.cycle_difference.count) == (1.0, 1)
    assert found.intervals_overlap


def test_clear_differences_do_not_overlap(make_record):
    good = [make_record(seed) for seed in range(20)]
    bad = [make_record(seed, False) for seed in range(20)]
    found = compare(('good', good), ('bad', bad))
    assert not found.intervals_overlap
    assert found.p == pytest.approx(2 * 0.5**20)
    assert found.cycle_difference is None


@pytest.mark.parametrize('seeds', [(0, 1, 2), (0, 2), (0, 0)])
def test_episodes_from_other_starts_are_not_compared(make_record, seeds):
    with pytest.raises(ValueError, match='a and b were not run from the same starts'):
        compare(('a', [make_record(0), make_record(1)]),
                ('b', [make_record(seed) for seed in seeds]))


def test_a_policy_is_compared_with_the_other_and_with_itself_through_ros(make_record):
    records = [make_record(0, policy=0), make_record(0, policy=1)]
    ways = [replace(one, how=how) for how in (IN_PROCESS, THROUGH_ROS)
            for one in policy_results(('a', 'b'), ('a@1', 'b@2'), records)]
    pairs = {(one.first, one.second) for one in evaluation(*ways).comparisons}
    assert pairs == {('a@1', 'b@2'), ('a@1 through ROS', 'b@2 through ROS'),
                     ('a@1', 'a@1 through ROS'), ('b@2', 'b@2 through ROS')}


def test_records_go_to_their_policies(make_record):
    records = [make_record(0, policy=1), make_record(1, policy=0)]
    first, second = policy_results(('a', 'b'), ('a@1', 'b@2'), records, records[:1])
    assert ([one.seed for one in first.episodes], first.paired) == ([1], ())
    assert ([one.seed for one in second.episodes], len(second.paired)) == ([0], 1)
    assert replace(second, how=THROUGH_ROS).label == 'b@2 through ROS'
