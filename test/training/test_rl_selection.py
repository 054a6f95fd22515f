"""What a policy learns from: by a critic's advantages, or by how episodes ended."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.training_windows import make_windows
from chunked_vla_ros.training.rl_batches import windows_of
from chunked_vla_ros.training.rl_config import RlConfig
from chunked_vla_ros.training.rl_selection import (
    emphasised_order,
    order_of,
    select,
    select_demonstrations,
    selected_windows,
    Selection,
    WeighedOrder,
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
    chosen = selected_windows(selection, windows)
    assert windows.rows[chosen].tolist() == [1, 1, 3]
    order = order_of(selection, windows_of(windows, chosen), 3, 0)
    # All alike: each once, in another order every time.
    assert [sorted(order.indices(step)) for step in (0, 7)] == [[0, 1, 2]] * 2
    assert selection.numbers()['kept'] == 2.0


def test_weighed_windows_are_drawn_as_often_as_their_weight_says():
    windows = make_windows([0], [400], 2, 1)
    weights = np.ones(400, np.float32)
    weights[100:200], weights[300:] = 3.0, 0.0
    selection = Selection(np.arange(400), weights)
    chosen = windows_of(windows, selected_windows(selection, windows))
    assert chosen.rows.tolist() == [*range(300)]
    order = order_of(selection, chosen, 8, 0)
    drawn = np.concatenate([chosen.rows[order.indices(step)] for step in range(1000)])
    heavy = ((drawn >= 100) & (drawn < 200)).mean()
    # 300 of 500 parts; three standard deviations of 8000 draws are 0.0164.
    assert abs(heavy - 0.6) < 0.0164
    # 16 times on average even the light ones: each is drawn sooner or later.
    assert set(drawn) == set(range(300))


def test_what_is_drawn_at_a_step_depends_on_seed_and_step_alone():
    weights = np.array([1.0, 2.0, 3.0])
    order = WeighedOrder(weights, 64, 5)
    at_once = [order.indices(step).tolist() for step in range(4)]
    assert [WeighedOrder(weights, 64, 5).indices(step).tolist() for step in (3, 1)] == [
        at_once[3], at_once[1]]
    assert at_once[0] != at_once[1]
    assert WeighedOrder(weights, 64, 6).indices(0).tolist() != at_once[0]


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


def test_chunks_are_shown_as_often_as_imitation_shows_their_window():
    # Rows 0 to 2 are listed once, three times, once; a success at row 2 is repeated twice.
    windows = make_windows([0], [3], 1, 1).repeated([1, 3, 1])
    rows = np.array([0, 1, 2, 2])
    order = emphasised_order(windows, rows, 8, 0)
    drawn = rows[np.concatenate([order.indices(step) for step in range(1000)])]
    # 1, 3 and 2 of 6 parts; three standard deviations of 8000 draws are 0.0168 at most.
    assert np.bincount(drawn) / len(drawn) == pytest.approx([1 / 6, 1 / 2, 1 / 3], abs=0.0168)
    # No emphasis: each chunk once in a round.
    plain = emphasised_order(make_windows([0], [3], 1, 1), rows, 4, 0)
    assert [sorted(plain.indices(step)) for step in (0, 5)] == [[0, 1, 2, 3]] * 2
