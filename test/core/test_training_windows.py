"""Training examples: a chunk never leaves its episode, and what is past its end is marked."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.training_windows import episode_of, make_windows, stride_of, Windows

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def test_every_row_begins_a_window_and_point_0_is_the_row_itself():
    windows = make_windows([0, 3], [3, 2], horizon=2, stride=1)
    assert len(windows) == 5
    assert windows.action_rows(np.arange(5)).tolist() == [[0, 1], [1, 2], [2, 2], [3, 4], [4, 4]]
    assert windows.valid(np.arange(5)).tolist() == [
        [True, True], [True, True], [True, False], [True, True], [True, False]]


def test_points_are_stride_rows_apart():
    windows = make_windows([10], [6], horizon=3, stride=2)
    assert windows.action_rows([0, 1, 3]).tolist() == [[10, 12, 14], [11, 13, 15], [13, 15, 15]]
    assert windows.valid([0, 1, 3]).tolist() == [[True] * 3, [True] * 3, [True, True, False]]


def test_windows_may_be_shown_more_often_than_others():
    windows = make_windows([0, 2], [2, 2], 3, 1).repeated([1, 3, 0, 2])
    assert windows.rows.tolist() == [0, 1, 1, 1, 3, 3]
    assert windows.ends.tolist() == [2, 2, 2, 2, 4, 4]


def test_windows_of_some_episodes_are_asked_for_by_their_starts():
    windows = make_windows([4], [2], horizon=1, stride=1)
    assert windows.rows.tolist() == [4, 5]
    assert windows.ends.tolist() == [6, 6]


@given(LENGTHS, st.integers(1, 8), st.integers(1, 4))
def test_a_window_never_crosses_an_episode_and_valid_is_exact(lengths, horizon, stride):
    starts = np.cumsum(lengths) - lengths
    windows = make_windows(starts, lengths, horizon, stride)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    every = np.arange(len(windows))
    assert windows.rows.tolist() == list(range(sum(lengths)))
    rows, valid = windows.action_rows(every), windows.valid(every)
    assert (episode[rows] == episode[windows.rows][:, None]).all()
    wanted = windows.rows[:, None] + stride * np.arange(horizon)
    same = (wanted < len(episode)) & (
        episode[np.minimum(wanted, len(episode) - 1)] == episode[windows.rows][:, None])
    assert (valid == same).all()
    assert (rows[valid] == wanted[valid]).all()
    last = (starts + lengths - 1)[episode]
    assert (rows == np.where(valid, wanted, last[:, None])).all()
    assert (episode_of(windows.rows, starts) == episode).all()


@pytest.mark.parametrize(('fps', 'step_s', 'stride'), [
    (20.0, 0.05, 1), (30.0, 0.1, 3), (29.97, 0.1, 3), (940.0, 0.05, 47), (0.0, 0.05, 1)])
def test_a_step_is_a_whole_number_of_rows(fps, step_s, stride):
    assert stride_of(fps, step_s) == stride


@pytest.mark.parametrize(('fps', 'step_s', 'remedy'), [
    (30.0, 0.05, 'step_s to 0.0666667'), (10.0, 0.02, 'step_s to 0.1'), (20.0, 0.06, '0.05')])
def test_other_rates_are_refused_with_both_numbers_and_what_would_do(fps, step_s, remedy):
    with pytest.raises(ValueError, match='rows per second') as refused:
        stride_of(fps, step_s)
    assert f'{fps:g} rows per second and step_s {step_s:g} s' in str(refused.value)
    assert remedy in str(refused.value)


@pytest.mark.parametrize(('rows', 'ends', 'stride', 'horizon'), [
    ([0, 3], [3, 3], 1, 1), ([-1], [3], 1, 1), ([0], [3, 4], 1, 1), ([0], [3], 0, 1),
    ([0], [3], 1, 0)])
def test_windows_that_cannot_be_are_refused(rows, ends, stride, horizon):
    with pytest.raises(ValueError, match=r'expected|outside'):
        Windows(np.array(rows), np.array(ends), stride, horizon)


def test_an_episode_without_rows_is_refused():
    with pytest.raises(ValueError, match='1 row or more'):
        make_windows([0, 2], [2, 0], 1, 1)
