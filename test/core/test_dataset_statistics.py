"""Statistics of a dataset's columns: by hand for a few numbers, and put together as if at once."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.dataset_statistics import (
    column_statistics,
    FrameStatistics,
    RunningStatistics,
    sampled_rows,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def test_of_a_column_of_vectors_each_dimension_has_its_own():
    found = column_statistics(np.array([[0.0, 10.0], [2.0, 10.0], [4.0, 10.0]]))
    assert found['min'] == [0.0, 10.0]
    assert found['max'] == [4.0, 10.0]
    assert found['mean'] == [2.0, 10.0]
    assert found['std'] == pytest.approx([np.sqrt(8 / 3), 0.0])
    assert found['q50'] == [2.0, 10.0]
    assert found['q10'] == pytest.approx([0.4, 10.0])
    assert found['count'] == [3]


def test_stamps_stay_exact_although_a_float_cannot_hold_them():
    first = 1_700_000_000_123_456_789
    found = column_statistics(np.array([first, first + 2]))
    assert found['min'] == [first]
    assert found['max'] == [first + 2]
    assert found['std'] == [1.0]


def test_yes_and_no_count_as_one_and_nought():
    found = column_statistics(np.array([True, False, False, False]))
    assert (found['min'], found['max'], found['mean']) == ([0.0], [1.0], [0.25])


def test_frames_are_shares_of_255_per_channel():
    statistics = FrameStatistics(2)
    dark, bright = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)
    bright[..., 0] = 255
    statistics.see(dark)
    statistics.see(bright)
    found = statistics.result()
    assert found['mean'] == [[[0.5]], [[0.0]], [[0.0]]]
    assert found['std'] == [[[0.5]], [[0.0]], [[0.0]]]
    assert found['max'] == [[[1.0]], [[0.0]], [[0.0]]]
    assert found['q01'] == [[[0.0]], [[0.0]], [[0.0]]]
    assert found['q99'] == [[[1.0]], [[0.0]], [[0.0]]]
    assert found['count'] == [2]


def test_of_many_frames_some_are_looked_at_and_of_large_ones_some_pixels():
    assert sampled_rows(50).tolist() == list(range(50))
    assert len(sampled_rows(1000)) == 177    # 1000 ** 0.75
    assert (sampled_rows(1000)[0], sampled_rows(1000)[-1]) == (0, 999)
    statistics = FrameStatistics(1)
    large = np.zeros((480, 640, 3), np.uint8)
    large[::4, ::4] = 255    # all that is looked at
    statistics.see(large)
    assert statistics.result()['mean'] == [[[1.0]]] * 3


@given(st.lists(numbers, min_size=1, max_size=6))
def test_episodes_put_together_are_as_if_they_had_been_one(episodes):
    running = RunningStatistics()
    for values in episodes:
        running.add(column_statistics(np.array(values)))
    found, whole = running.result(), np.concatenate([np.array(each) for each in episodes])
    assert found['count'] == [len(whole)]
    assert found['min'] == [whole.min()]
    assert found['max'] == [whole.max()]
    assert found['mean'] == pytest.approx([whole.mean()], abs=1e-6)
    assert found['std'] == pytest.approx([whole.std()], abs=1e-3)


def test_quantiles_of_a_dataset_are_means_weighted_by_length():
    running = RunningStatistics()
    running.add(column_statistics(np.zeros(3)))
    running.add(column_statistics(np.full(1, 8.0)))
    assert running.result()['q50'] == [2.0]
