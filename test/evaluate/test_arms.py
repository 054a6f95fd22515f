"""Ten pairs in two cells, small enough to be counted on paper."""

from __future__ import annotations

import json

import pytest

from chunked_vla_ros.evaluate.arms import against, FEWEST_RESAMPLED, pool, totals

# By start and cell. Both solve 2 + 2, only the first 1 + 0, only the second 2 + 1, neither 0 + 2.
ALL = {'a-1': (1, 1, 1, 0, 0), 'a-2': (1, 0, 0, 0, 1)}
BETTER = {'a-1': (1, 1, 0, 1, 1), 'a-2': (1, 1, 0, 0, 1)}


@pytest.fixture
def runs(make_record):
    """Return a factory: episodes by cell; successes take as long as their cell is told."""
    def make(outcomes, **duration_s):
        return {cell: [make_record(seed, bool(success), duration_s=duration_s.get(
            cell.replace('-', ''), 10.0)) for seed, success in enumerate(each)]
            for cell, each in outcomes.items()}
    return make


@pytest.fixture
def baseline(runs):
    return 'all', runs(ALL)


@pytest.fixture
def better(runs):
    return 'better', runs(BETTER, a1=8.0, a2=9.0)


def test_counts_of_all_cells_are_pooled_and_each_cells_own_stand_beside(better):
    found = totals(*better)
    assert (found.success.k, found.success.n) == (7, 10)
    assert found.success.interval == pytest.approx((0.397, 0.892), abs=5e-4)
    assert {cell: (one.k, one.n) for cell, one in found.by_cell.items()} == {
        'a-1': (4, 5), 'a-2': (3, 5)}
    # Four successes of 8 s and three of 9 s.
    assert (found.cycle_median_s, found.cycle_mean_s.value) == (8.0, pytest.approx(59.0 / 7.0))
    assert found.cycle_mean_s.by_cell == {'a-1': 8.0, 'a-2': 9.0}


def test_pairs_of_all_cells_are_pooled(baseline, better):
    found = against(baseline, better)
    pooled = found.pooled
    assert (pooled.both, pooled.only_first, pooled.only_second, pooled.neither) == (4, 1, 3, 2)
    # Of four that differ at most one goes the other way: 2 * (1 + 4) / 2**4.
    assert pooled.p == pytest.approx(0.625)
    assert (found.baseline, found.arm) == ('all', 'better')
    assert (found.points.value, found.points.by_cell) == (
        20.0, {'a-1': 20.0, 'a-2': 20.0})
    assert found.points.interval[0] < 0.0 < 20.0 < found.points.interval[1]
    assert (found.ratio.value, found.ratio.by_cell) == (
        pytest.approx(7 / 5), {'a-1': pytest.approx(4 / 3), 'a-2': pytest.approx(3 / 2)})


def test_cycle_times_are_compared_where_both_solve_and_resampled_within_each_cell(runs):
    # The third start of the first cell and the last of the second are solved by one of them.
    one = runs({'a-1': (1, 1, 1, 1, 1, 1), 'a-2': (1, 1, 1, 1, 1, 0)})
    other = runs({'a-1': (1, 1, 0, 1, 1, 1), 'a-2': (1, 1, 1, 1, 1, 1)}, a1=8.0, a2=9.0)
    found = against(('all', one), ('better', other)).cycle_percent
    # Five pairs of 8 s and five of 9 s, each against 10 s.
    assert found.value == pytest.approx(-15.0)
    assert found.by_cell == {'a-1': pytest.approx(-20.0), 'a-2': pytest.approx(-10.0)}
    # Within a cell all pairs are alike: drawn over all of them, they would differ.
    assert found.interval == pytest.approx((-15.0, -15.0))


def test_an_episode_that_takes_twice_as_long_weighs_as_much_as_one_of_half(make_record):
    one = {'a': [make_record(k, duration_s=5.0 * (1 + k % 2)) for k in range(10)]}
    other = {'a': [make_record(k, duration_s=5.0 * (2 - k % 2)) for k in range(10)]}
    found = against(('one', one), ('other', other)).cycle_percent
    assert found.value == 0.0
    # Of ten drawn pairs two to eight are of the one sort: (2 * 5 + 8 * 10) / (2 * 10 + 8 * 5).
    assert found.interval == pytest.approx((100.0 * (60 / 90 - 1), 100.0 * (90 / 60 - 1)))


def test_a_baseline_without_a_success_has_no_ratio(runs, better):
    found = against(('never', runs(dict.fromkeys(ALL, (0,) * 5))), better)
    assert (found.ratio, found.cycle_percent) == (None, None)
    assert found.points.value == 70.0
    assert totals('never', runs(dict.fromkeys(ALL, (0,) * 5))).cycle_mean_s is None


def test_one_cell_without_a_success_has_no_number_of_its_own(runs, better):
    found = against(('all', runs(ALL | {'a-2': (0,) * 5})), better)
    assert (found.ratio.by_cell['a-2'], found.cycle_percent.by_cell['a-2']) == (None, None)
    assert found.ratio.value == pytest.approx(7 / 3)


@pytest.mark.parametrize(('pairs', 'enough'), [(1, False), (9, False), (10, True)])
def test_fewer_than_ten_pairs_of_all_cells_are_no_ground_for_an_interval(runs, pairs, enough):
    assert FEWEST_RESAMPLED == 10
    # Twelve episodes in two cells: what only one of the two solves is no pair of cycle times.
    solved = [1] * pairs + [0] * (12 - pairs)
    one = runs({'a': solved[::2], 'b': solved[1::2]})
    other = runs({'a': (1,) * 6, 'b': (1,) * 6}, a=7.0, b=7.0)
    found = against(('all', one), ('b', other)).cycle_percent
    assert found.value == pytest.approx(-30.0)
    assert (found.interval is not None) is enough
    assert (totals('all', one).cycle_mean_s.interval is not None) is enough


def test_other_cells_or_starts_are_refused(runs, baseline):
    with pytest.raises(ValueError, match='all and b were not run in the same cells'):
        against(baseline, ('b', runs({'a-1': (1,) * 5})))
    with pytest.raises(ValueError, match='all of a-2 and b of a-2 were not run from the same'):
        against(baseline, ('b', runs(ALL | {'a-2': (1, 1)})))


def test_every_arm_meets_every_baseline_that_is_there(runs, baseline, better):
    found = pool('a', {'better': better[1], 'all': baseline[1], 'same': runs(ALL)},
                 ('all', 'none', 'same'))
    assert [one.arm for one in found.arms] == ['all', 'same', 'better']
    assert {name: [one.arm for one in each] for name, each in found.comparisons.items()} == {
        'all': ['same', 'better'], 'same': ['all', 'better']}
    content = json.loads(json.dumps(found.to_json()))
    assert content['cells'] == ['a-1', 'a-2']
    assert content['comparisons'][1]['pairs']['only_second'] == 3
    assert content['comparisons'][1]['points']['by_cell'] == {'a-1': 20.0, 'a-2': 20.0}
