"""Batches are drawn from the data and from own episodes, each as often as the method says."""

import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed (extra train)')
pytest.importorskip(
    'chunked_vla_ros.sim.ogbench_task', reason='mujoco or ogbench is not installed',
    exc_type=ImportError)

import torch

from chunked_vla_ros.bench.rl_play import PlayData
from chunked_vla_ros.bench.rl_replay import OwnEpisode, play_labels, Replay, Windows
from chunked_vla_ros.core.chunk_transitions import EndRule, Trajectories

WINDOWS = Windows(horizon=2, discount=0.5, rule=EndRule.PUBLISHED)
CPU = torch.device('cpu')


def own(first: float, steps: int, terminated: bool) -> OwnEpisode:
    """Return an episode whose observations count up from ``first``, of rewards of -1."""
    return OwnEpisode(
        np.arange(first, first + steps + 1, dtype=np.float32)[:, None],
        np.full((steps, 1), 0.5, np.float32), np.full(steps, -1.0, np.float32), terminated)


def replay(half: bool) -> Replay:
    """Return one of ten rows from before, with observations 0 to 9."""
    rows = np.arange(10, dtype=np.float32)[:, None]
    labels = Trajectories(np.zeros(10, np.float32), np.zeros(10, np.bool_),
                          np.array([0]), np.array([10]))
    return Replay(WINDOWS.table(rows, np.zeros((10, 1), np.float32), labels, CPU), WINDOWS, half)


def drawn(of: Replay, count: int = 2000):
    return of.batch(torch.Generator().manual_seed(0), count)


def test_play_of_a_task_begins_no_step_at_the_last_row_of_an_episode():
    data = PlayData(*np.zeros((3, 6, 1), np.float32), rows=3)
    labels = play_labels(data, np.array([-1, 0, 0, -1, -1, 0], np.float32),
                         np.array([False, True, True, False, False, True]))
    assert labels.terminated.tolist() == [False, True, False, False, False, False]
    assert labels.starts.tolist() == [0, 3]
    assert labels.steps.tolist() == [2, 2]


def test_actions_are_clipped_as_published():
    labels = Trajectories(np.zeros(3, np.float32), np.zeros(3, np.bool_),
                          np.array([0]), np.array([3]))
    table = WINDOWS.table(np.zeros((3, 1), np.float32), np.array([[1], [-1], [0]], np.float32),
                          labels, CPU)
    batch = table.batch(torch.zeros(1, dtype=torch.int64))
    assert batch.actions.flatten().tolist() == pytest.approx([1.0 - 1e-5, -1.0 + 1e-5])


def test_all_windows_are_drawn_alike():
    data = replay(half=False)
    assert data.ready
    assert drawn(data).observation.max() < 10
    data.add(own(100, 8, terminated=False))
    # Windows of two steps: eight from before, and seven of the own eight steps.
    share = float((drawn(data).observation >= 100).float().mean())
    assert share == pytest.approx(7 / 15, abs=0.04)


def test_half_of_a_batch_is_own():
    data = replay(half=True)
    assert not data.ready
    data.add(own(100, 30, terminated=True))
    assert data.ready
    seen = drawn(data, 7).observation.flatten()
    assert int((seen >= 100).sum()) == 3
    assert int((seen < 100).sum()) == 4


def test_the_last_observation_belongs_to_an_episode_that_was_cut_off():
    data = replay(half=True)
    data.add(own(100, 2, terminated=False))
    batch = drawn(data, 2)
    assert batch.next_observation[1].tolist() == [102.0]
    assert batch.bootstrap[1].tolist() == [0.5, 0.25]
    assert batch.returns[1].tolist() == [-1.0, -1.5]


def test_an_end_leaves_nothing_to_bootstrap():
    data = replay(half=True)
    data.add(own(100, 2, terminated=True))
    data.add(own(200, 2, terminated=True))
    batch = drawn(data, 200)
    ends = batch.counted[:, -1] & (batch.observation.flatten() >= 100)
    assert ends.any()
    assert not batch.bootstrap[ends][:, -1].any()


def test_an_episode_that_is_too_short_for_a_window_waits_for_others():
    data = replay(half=True)
    data.add(own(100, 1, terminated=True))
    assert not data.ready
    data.add(own(200, 3, terminated=True))
    assert data.ready
    assert data.in_table == 2


def test_few_new_rows_wait_until_they_are_a_hundredth():
    data = replay(half=False)
    data.add(own(0, 999, terminated=False))    # 1000 rows
    assert data.in_table == 1
    data.add(own(5000, 4, terminated=False))
    assert data.in_table == 1
    data.add(own(6000, 4, terminated=False))
    assert data.in_table == 3


def test_it_goes_on_from_a_checkpoint_with_the_same_batches():
    data = replay(half=False)
    for first, steps, terminated in ((100, 300, True), (500, 20, False), (600, 2, True)):
        data.add(own(first, steps, terminated))
    assert data.in_table == 2
    again = replay(half=False)
    again.load(data.tensors(), data.in_table)
    assert torch.equal(drawn(again).observation, drawn(data).observation)
    assert torch.equal(drawn(again).returns, drawn(data).returns)
    for each in (data, again):    # the third is not lost: it comes in with the next
        each.add(own(700, 40, terminated=False))
        assert each.in_table == 4
    assert torch.equal(drawn(again).next_observation, drawn(data).next_observation)
