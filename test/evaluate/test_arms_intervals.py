"""Intervals of paired rates against published ones, the bootstrap against drawings by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.evaluate import arms_intervals
from chunked_vla_ros.evaluate.arms_intervals import (
    difference_interval,
    middle_95,
    ratio_interval,
    resampled_sums,
)
from chunked_vla_ros.evaluate.comparison import Comparison

COUNT = st.integers(0, 300)


def pairs(both, only_first, only_second, neither):
    return Comparison('all', 'arm', both, only_first, only_second, neither, None)


def test_a_published_example_of_both_intervals():
    # 21 children before and after a transplantation, as Fagerland, Lydersen and Laake worked it
    # out (Statistics in Medicine 33, 2014): -0.507 to -0.026, and 0.068 to 0.923.
    after_and_before = pairs(1, 7, 1, 12)
    assert difference_interval(after_and_before) == pytest.approx((-0.507, -0.026), abs=5e-4)
    assert ratio_interval(after_and_before) == pytest.approx((0.068, 0.923), abs=5e-4)


def test_who_never_succeeded_has_no_ratio_and_who_does_not_differ_has_a_width():
    assert ratio_interval(pairs(0, 0, 5, 5)) is None
    low, high = difference_interval(pairs(10, 0, 0, 0))
    assert low < 0.0 < high
    with pytest.raises(ValueError, match='0 of 0'):
        difference_interval(pairs(0, 0, 0, 0))


@given(COUNT, COUNT, COUNT, COUNT)
def test_intervals_hold_their_number_and_turn_with_the_two(both, one, other, neither):
    found, turned = pairs(both, one, other, neither), pairs(both, other, one, neither)
    if not found.pairs:
        return
    low, high = difference_interval(found)
    assert -1.0 - 1e-9 <= low <= (other - one) / found.pairs + 1e-9
    assert (other - one) / found.pairs - 1e-9 <= high <= 1.0 + 1e-9
    assert difference_interval(turned) == pytest.approx((-high, -low), abs=1e-9)
    if both + one and both + other:
        low, high = ratio_interval(found)
        assert low - 1e-9 <= (both + other) / (both + one) <= high + 1e-9
        assert ratio_interval(turned) == pytest.approx((1.0 / high, 1.0 / low))


def test_rows_are_drawn_again_within_each_stratum():
    # Of 8 and 12 two are drawn: 16, 20 or 24, one time in four, two and four; 100 is always drawn.
    sums = resampled_sums([np.array([[8.0], [12.0]]), np.array([[100.0]])], seed=0)[:, 0]
    assert set(sums) == {116.0, 120.0, 124.0}
    assert np.mean(sums == 120.0) == pytest.approx(0.5, abs=0.02)
    assert middle_95(sums) == (116.0, 124.0)


def test_many_rows_are_drawn_in_parts_to_the_same_sums(monkeypatch):
    strata = [np.arange(10.0).reshape(5, 2)]
    whole = resampled_sums(strata, seed=3)
    monkeypatch.setattr(arms_intervals, 'DRAWN_AT_ONCE', 10_000)
    np.testing.assert_array_equal(resampled_sums(strata, seed=3), whole)
    assert not np.array_equal(resampled_sums(strata, seed=4), whole)
