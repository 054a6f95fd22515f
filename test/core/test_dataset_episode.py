"""An episode of a dataset is whole and never from the future, or it is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from chunked_vla_ros.core.dataset_episode import ActionSource, DatasetEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.types import ShapeError

T0 = 1_700_000_000_000_000_000
MS = 1_000_000
NONE = np.zeros(3, np.bool_)


@pytest.fixture
def episode():
    """Return three rows at 10 Hz of a robot with two joints and a camera."""
    times_ns = T0 + np.arange(3) * 100 * MS
    return DatasetEpisode(
        source='bag', fps=10.0, times_ns=times_ns, state=np.zeros((3, 2)),
        action=np.ones((3, 2)), joint_names=('a', 'b'),
        action_source=ActionSource.STAMPED_COMMAND, tasks=('go',) * 3, reward=np.zeros(3),
        success=NONE, done=NONE, intervention=NONE,
        stamps_ns={'state': times_ns, 'front': times_ns - 25 * MS}, outcome=Outcome.UNLABELED,
        frame_shapes={'front': (3, 4, 3)}, open_frames=lambda camera: iter(()))


def test_the_age_of_each_stream_is_the_rows_time_less_the_samples(episode):
    assert episode.ages_s['state'].tolist() == [0.0, 0.0, 0.0]
    assert episode.ages_s['front'].tolist() == [0.025] * 3


def test_arrays_are_read_only_copies(episode):
    with pytest.raises(ValueError, match='read-only'):
        episode.state[0, 0] = 1.0


@pytest.mark.parametrize(('change', 'error', 'reason'), [
    ({'times_ns': np.empty(0, np.int64)}, ShapeError, 'bag: has no rows'),
    ({'state': np.zeros((3, 3))}, ShapeError, r'state must have shape \(3, 2\), got \(3, 3\)'),
    ({'action': np.zeros((3, 1))}, ShapeError, r'action must have shape \(3, 2\)'),
    ({'action': np.full((3, 2), np.nan)}, ValueError, 'bag: action is not finite'),
    ({'reward': np.zeros(2)}, ShapeError, r'reward must have shape \(3,\)'),
    ({'success': np.zeros(3)}, ShapeError, r'success must be \(3,\) bool'),
    ({'done': NONE[:2]}, ShapeError, r'done must be \(3,\) bool'),
    ({'tasks': ('go',)}, ShapeError, 'tasks must have 3 entries'),
    ({'fps': 12.0}, ValueError, 'rows are not 1/12 s apart'),
    ({'stamps_ns': {'front': np.zeros(2, np.int64)}}, ShapeError, 'stamps of front must be'),
    ({'stamps_ns': {'front': T0 + np.array([0, 100 * MS, 200 * MS + 1])}}, ValueError,
     'front has a sample from the future')])
def test_what_does_not_fit_is_refused_by_name(episode, change, error, reason):
    with pytest.raises(error, match=reason):
        replace(episode, **change)


def test_rows_may_be_a_hundredth_of_a_step_off_the_grid_and_no_more(episode):
    stamps = {'stamps_ns': {}}
    near = np.array([0, 101 * MS, 199 * MS])
    assert replace(episode, times_ns=T0 + near, **stamps).times_ns[1] == T0 + 101 * MS
    with pytest.raises(ValueError, match='not 1/10 s apart'):
        replace(episode, times_ns=T0 + np.array([0, 103 * MS, 200 * MS]), **stamps)


def test_a_grid_of_thirds_of_nanoseconds_is_even(episode):
    count = 9000
    times_ns = T0 + np.round(np.arange(count) * 1e9 / 30).astype(np.int64)
    flags = np.zeros(count, np.bool_)
    whole = replace(
        episode, fps=30.0, times_ns=times_ns, state=np.zeros((count, 2)),
        action=np.zeros((count, 2)), tasks=('go',) * count, reward=np.zeros(count),
        success=flags, done=flags, intervention=flags, stamps_ns={})
    assert len(whole.times_ns) == count
