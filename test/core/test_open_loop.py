"""Open-loop errors by hand: means over valid entries only, per point, joint and episode."""

import numpy as np
import pytest

from chunked_vla_ros.core.open_loop import (
    baselines,
    chunk_errors,
    compare,
    grouped,
    joint_scale,
    RecordedWindows,
)
from chunked_vla_ros.core.types import ShapeError


def windows(chunks, valid=None, episode=None, state=None, last=None):
    """Return windows of one joint from lists of targets; the state is the first target."""
    chunks = np.array(chunks, dtype=float)[:, :, None]
    count, horizon, _ = chunks.shape
    return RecordedWindows(
        chunks[:, 0] if state is None else np.array(state, dtype=float)[:, None],
        chunks[:, 0] if last is None else np.array(last, dtype=float)[:, None], chunks,
        np.ones((count, horizon), bool) if valid is None else np.array(valid, dtype=bool),
        np.zeros(count, np.int64) if episode is None else np.array(episode, np.int64))


def said(*chunks):
    return np.array(chunks, dtype=float)[:, :, None]


def test_errors_are_means_of_absolute_differences():
    errors = chunk_errors(said([1, 2, 5], [1, 1, 1]), windows([[0, 2, 3], [1, 1, 5]]))
    # |1| |0| |2|  and  |0| |0| |4|
    assert errors.mean == pytest.approx(7 / 6)
    assert errors.rms == pytest.approx(np.sqrt(21 / 6))
    assert errors.by_step == pytest.approx([0.5, 0.0, 3.0])
    assert errors.by_joint == pytest.approx([7 / 6])


def test_what_lies_beyond_an_episodes_end_does_not_count():
    recorded = windows([[0, 0], [0, 0]], valid=[[1, 1], [1, 0]])
    errors = chunk_errors(said([1, 1], [4, 1000]), recorded)
    assert errors.mean == pytest.approx(2.0)
    assert errors.by_step == pytest.approx([2.5, 1.0])


def test_a_point_that_no_window_has_is_not_a_number_and_not_zero():
    errors = chunk_errors(said([1, 1]), windows([[0, 0]], valid=[[1, 0]]))
    assert errors.by_step[0] == 1.0
    assert np.isnan(errors.by_step[1])


def test_an_episode_is_the_mean_of_its_entries_and_one_without_windows_not_a_number():
    recorded = windows([[0, 0], [0, 0], [0, 0]], valid=[[1, 1], [1, 0], [1, 1]],
                       episode=[0, 0, 2])
    errors = chunk_errors(said([1, 1], [4, 9], [3, 5]), recorded)
    assert errors.by_episode[[0, 2]] == pytest.approx([2.0, 4.0])
    assert np.isnan(errors.by_episode[1])


def test_joints_are_kept_apart_and_grouped_on_request():
    chunks = np.zeros((1, 2, 3))
    recorded = RecordedWindows(
        np.zeros((1, 3)), np.zeros((1, 3)), chunks, np.ones((1, 2), bool),
        np.zeros(1, np.int64))
    errors = chunk_errors(chunks + [1.0, 2.0, 6.0], recorded)
    assert errors.by_joint == pytest.approx([1, 2, 6])
    assert grouped({'policy': errors}, {'rad': [0, 2], '1': [1], 'm': []}) == {
        'rad': {'policy': 3.5}, '1': {'policy': 2.0}}


def test_divided_by_a_joints_spread_units_no_longer_matter():
    training = windows([[0], [4]])
    assert joint_scale(training) == pytest.approx([2.0])
    assert chunk_errors(said([1]), windows([[0]]), joint_scale(training)).mean == 0.5
    # A joint that stood still has no spread.
    assert joint_scale(windows([[3], [3]])) == pytest.approx([1.0])


def test_baselines_need_no_model():
    held_out = windows([[10, 11, 12]], state=[9], last=[9.5])
    training = windows([[0, 2, 4], [4, 6, 8]], state=[0, 2])
    said_without = baselines(held_out, training)
    assert said_without['hold state'][0, :, 0] == pytest.approx([9, 9, 9])
    assert said_without['hold action'][0, :, 0] == pytest.approx([9.5, 9.5, 9.5])
    assert said_without['mean chunk'][0, :, 0] == pytest.approx([2, 4, 6])
    # Moved by (0, 2, 4) and (2, 4, 6): on the mean (1, 3, 5), from where the arm is.
    assert said_without['mean relative chunk'][0, :, 0] == pytest.approx([10, 12, 14])


def test_the_mean_chunk_leaves_out_what_is_not_valid():
    training = windows([[0, 2, 7], [4, 99, 99]], valid=[[1, 1, 0], [1, 0, 0]])
    mean = baselines(windows([[0, 0, 0]]), training)['mean chunk'][0, :, 0]
    # No training chunk has a third point: the second stays.
    assert mean == pytest.approx([2, 2, 2])


def test_a_comparison_is_paired_by_episode_and_window():
    recorded = windows([[0], [0], [0], [0]], episode=[0, 0, 1, 1])
    against = compare(said([1], [1], [4], [0]), said([2], [2], [2], [2]), recorded)
    assert against.ratio == pytest.approx(6 / 8)
    assert against.by_episode == pytest.approx((0.5, 1.0))
    assert against.better_episodes == 1
    assert against.better_windows == pytest.approx(0.75)


def test_wrong_shapes_and_numbers_are_refused():
    recorded = windows([[0, 0]])
    with pytest.raises(ShapeError, match=r'\(1, 2, 1\)'):
        chunk_errors(said([0]), recorded)
    with pytest.raises(ValueError, match='not finite'):
        chunk_errors(said([0, np.nan]), recorded)
    with pytest.raises(ValueError, match='no window'):
        windows([[0, 0]], valid=[[0, 0]])
    with pytest.raises(ShapeError, match='training chunks'):
        baselines(recorded, windows([[0]]))
