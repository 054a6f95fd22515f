"""Statistics against numbers that one can check by hand."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.statistics import (
    interpolate,
    mcnemar_exact,
    percentile,
    spread,
    tracking_error,
    wilson_interval,
)
from chunked_vla_ros.core.types import ShapeError

# 2026-11-21 in [ns]: a float64 would round such stamps to 256 ns.
TODAY_NS = 1_795_219_200_000_000_001


def test_nine_successes_of_ten_give_the_published_interval() -> None:
    low, high = wilson_interval(9, 10)
    assert low == pytest.approx(0.596, abs=5e-4)
    assert high == pytest.approx(0.982, abs=5e-4)


def test_ten_of_ten_does_not_claim_certainty() -> None:
    # With rate 1 the interval is [n / (n + z^2), 1] = [10 / 13.8415, 1].
    low, high = wilson_interval(10, 10)
    assert low == pytest.approx(10 / 13.841459, abs=1e-6)
    assert high == pytest.approx(1.0)


@pytest.mark.parametrize(('successes', 'trials'), [(0, 0), (3, 2), (-1, 4)])
def test_impossible_counts_are_refused_by_number(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f'{successes} of {trials}'):
        wilson_interval(successes, trials)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_holds_the_rate_and_mirrors(counts: tuple[int, int]) -> None:
    successes, trials = counts
    low, high = wilson_interval(successes, trials)
    mirrored_low, mirrored_high = wilson_interval(trials - successes, trials)
    assert 0.0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1.0
    assert low == pytest.approx(1 - mirrored_high)
    assert high == pytest.approx(1 - mirrored_low)


def test_percentile_lies_between_samples() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([0.0, 10.0], 99) == pytest.approx(9.9)


def test_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match='no values'):
        percentile([], 50)


def test_spread_is_median_and_range() -> None:
    measured = spread([3.0, 1.0, 2.0])
    assert (measured.median, measured.low, measured.high, measured.count) == (2.0, 1.0, 3.0, 3)


def test_constant_offset_is_the_tracking_error() -> None:
    times = TODAY_NS + np.arange(3, dtype=np.int64) * 1000
    reference = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
    error = tracking_error(times, reference + [0.3, 0.0], times, reference)
    # One of two joints is off by 0.3: rms = 0.3 / sqrt(2).
    assert error.rms_rad == pytest.approx(0.3 / math.sqrt(2))
    assert error.max_rad == pytest.approx(0.3)
    assert error.joint_rms == pytest.approx([0.3, 0.0])
    assert error.joint_max == pytest.approx([0.3, 0.0])
    assert error.samples == 3


def test_a_lag_is_not_aligned_away() -> None:
    times = np.arange(11, dtype=np.int64) * 100
    ramp = np.linspace(0.0, 1.0, 11)[:, None]
    lagging = np.maximum(ramp - 0.2, 0.0)
    assert tracking_error(times, lagging, times, ramp).max_rad == pytest.approx(0.2)


def test_samples_outside_the_reference_are_left_out() -> None:
    reference_times = np.array([100, 200], dtype=np.int64)
    times = np.array([0, 150, 300], dtype=np.int64)
    motion = np.array([[9.0], [0.5], [9.0]])
    error = tracking_error(times, motion, reference_times, np.array([[0.0], [1.0]]))
    assert (error.samples, error.max_rad) == (1, 0.0)


def test_no_common_time_is_an_error() -> None:
    with pytest.raises(ValueError, match='time span'):
        tracking_error(
            np.array([5]), np.zeros((1, 1)), np.array([10, 20]), np.zeros((2, 1)))


def test_unequal_widths_are_named() -> None:
    with pytest.raises(ShapeError, match=r'\(1, 2\) and \(2, 1\)'):
        tracking_error(np.array([5]), np.zeros((1, 2)), np.array([0, 9]), np.zeros((2, 1)))


def test_nanosecond_stamps_of_today_are_not_rounded() -> None:
    times = TODAY_NS + np.array([0, 10], dtype=np.int64)
    halfway = interpolate(times, np.array([[0.0], [1.0]]), times[:1] + 5)
    assert halfway[0, 0] == 0.5


@pytest.mark.parametrize(('only_first', 'only_second', 'p'), [
    (0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (3, 1, 2 * 5 / 16),
    (4, 4, 1.0), (10, 2, 2 * 79 / 4096)])
def test_mcnemar_counts_the_pairs_that_differ(
        only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_exact(only_first, only_second) == pytest.approx(p)


def test_mcnemar_of_thousands_is_still_a_number() -> None:
    assert mcnemar_exact(3000, 3000) == 1.0
    assert mcnemar_exact(0, 3000) == 0.0    # 2**-2999 is below every float
    with pytest.raises(ValueError, match='-1'):
        mcnemar_exact(-1, 2)
