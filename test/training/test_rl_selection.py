"""What a policy learns from: by a critic's advantages, or by how episodes ended."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.training_windows import make_windows
from chunked_vla_ros.training.rl_config import RlConfig
from chunked_vla_ros.training.rl_selection import (
    select,
    select_demonstrations,
    selected_windows,
    Selection,
)


@pytest.fixture
def rewarded():
    """Return six episodes of 10 rows: two tasks, one failure, successes after 4 to 9 rows."""
    return SimpleNamespace(
        rows=SimpleNamespace(episode_starts=np.arange(6) * 10,
                             instruction_of=np.array([0, 0, 0, 1, 1, 1])),
        trajectories=SimpleNamespace(lengths=np.array([9, 4, 6, 5, 8, 3])),
        success=np.array([True, True, True, True, True, False]))


def test_the_best_chunks_are_kept_and_a_window_counts_as_often_as_it_is_listed():
    windows = make_windows([0], [6], 2, 1).repeated([1, 2, 1, 1, 1, 1])
    selection = select(RlConfig(keep_fraction=0.5), np.array([0, 1, 2, 3]),
                       torch.tensor([0.1, 0.9, -0.3, 0.2]))
    assert selection.kept.tolist() == [False, True, False, True]
    assert windows.rows[selected_windows(selection, windows, 0)].tolist() == [1, 1, 3]
    assert selection.numbers()['kept'] == 2.0


def test_weighed_windows_are_drawn_as_often_as_their_weight_says():
    windows = make_windows([0], [400], 2, 1)
    weights = np.ones(400, np.float32)
    weights[100:200], weights[300:] = 3.0, 0.0
    selection = Selection(np.arange(400), weights)
    drawn = windows.rows[selected_windows(selection, windows, 0)]
    assert len(drawn) == 400
    heavy = ((drawn >= 100) & (drawn < 200)).mean()
    # 300 of 500 parts; three standard deviations of 400 draws are 0.073.
    assert abs(heavy - 0.6) < 0.073
    assert drawn.max() < 300
    assert np.array_equal(drawn, windows.rows[selected_windows(selection, windows, 0)])


@pytest.mark.parametrize(('which', 'episodes'), [
    ('all', [0, 1, 2, 3, 4, 5]), ('successes', [0, 1, 2, 3, 4]),
    # Of task 0 the faster two of three, of task 1 one of two: its third failed.
    ('fastest', [1, 2, 3])])
def test_controls_take_whole_episodes_by_how_they_ended(rewarded, which, episodes):
    rows = np.arange(0, 60, 5)
    chosen = select_demonstrations(which, rewarded, np.arange(6), rows)
    assert sorted({row // 10 for row in rows[chosen.kept]}) == episodes
    assert chosen.numbers() == {'chunks': 12.0, 'kept': 2.0 * len(episodes)}


def test_what_is_not_learnt_from_is_not_among_the_fastest(rewarded):
    chosen = select_demonstrations('fastest', rewarded, np.array([0, 2, 4, 5]), np.arange(60))
    assert sorted({row // 10 for row in np.flatnonzero(chosen.kept)}) == [2, 4]


@pytest.mark.parametrize('which', ['successes', 'fastest'])
def test_without_a_success_there_is_nothing_to_take(rewarded, which):
    with pytest.raises(ValueError, match=f'rl.selection is {which} and none of 1 episodes'):
        select_demonstrations(which, rewarded, np.array([5]), np.arange(60))
