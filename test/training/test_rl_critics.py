"""What stands past the end of an episode tells a critic nothing of how the episode ended."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, Trajectories
from chunked_vla_ros.training.candidate_cache import CandidateCache
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.q_networks import ChunkCritic
from chunked_vla_ros.training.rl_batches import CriticBatch
from chunked_vla_ros.training.rl_config import RlConfig
from chunked_vla_ros.training.rl_critics import continuation, MeanCritic, SlowCritic

EPISODES, ROWS, POINTS, DISCOUNT = 30, 16, 6, 0.9


def batch_of(transitions: ChunkTransitions, actions: torch.Tensor, seen: torch.Tensor,
             which: np.ndarray) -> CriticBatch:
    found = transitions.at(which)
    return CriticBatch(ChunkBatch(
        observation=seen[found.rows], actions=actions[found.action_rows],
        valid=torch.from_numpy(found.valid), returns=torch.from_numpy(found.returns),
        bootstrap=torch.from_numpy(found.bootstrap), counted=torch.from_numpy(found.counted),
        next_observation=seen[found.next_rows[:, -1]]),
        torch.from_numpy(found.rows), torch.from_numpy(found.next_rows))


def test_a_chunk_goes_on_as_the_policy_would_from_the_last_action_that_counts() -> None:
    actions = torch.tensor([[1.0], [2.0], [2.0]])
    valid = torch.tensor([[True, True, False]])
    cache = CandidateCache(torch.tensor([[[[5.0], [6.0], [8.0]]]]))
    batch = SimpleNamespace(rows=torch.tensor([0]), chunks=SimpleNamespace(
        actions=actions[None], valid=valid))
    tail = continuation(batch, cache, torch.Generator())
    # From 6 to 8 the policy moves by 2: after an action of 2 that is 4.
    assert tail[0, 2].tolist() == [4.0]


def motion(count: int, steps: int, drawn: torch.Generator) -> torch.Tensor:
    """Return smooth motion from anywhere, (count, steps, 1)."""
    begin, speed = torch.randn(2, count, 1, 1, generator=drawn)
    return begin + 0.1 * speed * torch.arange(steps)[:, None]


@pytest.mark.parametrize('seed', [0, 1])
def test_a_critic_expects_of_the_policy_what_was_earned_whatever_it_does(seed) -> None:
    """
    Here no action matters, and where in the episode it is can hardly be seen: V must be right.

    Filled with noise after a success the mean of V was 0.16 in place of 0.51: noise had become
    what a success looks like.
    """
    drawn = torch.Generator().manual_seed(seed)
    ended = np.tile(np.arange(ROWS) == ROWS - 1, EPISODES)
    steps = ChunkTransitions(Trajectories(
        ended.astype(np.float32), ended, ROWS * np.arange(EPISODES),
        np.full(EPISODES, ROWS)), POINTS, DISCOUNT)
    where = torch.arange(ROWS).repeat(EPISODES)[:, None] / ROWS
    seen = where + torch.randn(len(where), 1, generator=drawn)
    actions = motion(EPISODES, ROWS, drawn).flatten(0, 1)
    chunks = motion(len(seen) * 2, POINTS, drawn).unflatten(0, (len(seen), 2))
    torch.manual_seed(seed)
    critic = MeanCritic(
        RlConfig(tabulate_every=20), ChunkCritic(1, POINTS, 1, 2, (64, 64)),
        SimpleNamespace(observations=seen, cache=CandidateCache(chunks), kind=ValueKind.UNIT))
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for step in range(300):
        critic.refresh(step)
        which = torch.randint(len(steps), (128,), generator=drawn).numpy()
        loss, _ = critic.loss(batch_of(steps, actions, seen, which), drawn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = critic.sarsa.values(torch.arange(len(seen))).detach().numpy()
    expected = DISCOUNT ** np.arange(ROWS - 1, -1, -1)
    assert abs(found.mean() - expected.mean()) < 0.1


class SumOfChunk(nn.Module):
    """Values a chunk by the sum of its actions, times ``scale``."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def given(self, observation: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda chunk: self.scale * chunk.sum((-1, -2))[None]

    def forward(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        return self.given(observation)(chunk)


@pytest.mark.parametrize(('best', 'expected'), [(True, -18.0), (False, -14.0)])
def test_a_slow_critic_bootstraps_at_the_row_behind_with_the_best_or_the_mean(
        best, expected) -> None:
    # Two rows with two candidates each of one point; only row 1 lies behind the chunk.
    cache = CandidateCache(torch.tensor([[[[100.0]], [[200.0]]], [[[5.0]], [[9.0]]]]))
    critic = SlowCritic(RlConfig(), SumOfChunk(1.0), SimpleNamespace(
        cache=cache, kind=ValueKind.FREE), best=best)
    critic.target_critic.scale.data.fill_(-2.0)
    one = torch.ones(1, 1)
    batch = CriticBatch(ChunkBatch(
        observation=torch.zeros(1, 1), actions=torch.full((1, 1, 1), 3.0), valid=one.bool(),
        returns=0.5 * one, bootstrap=one, counted=one.bool(), next_observation=torch.zeros(1, 1)),
        torch.tensor([0]), torch.tensor([[1]]))
    loss, numbers = critic.loss(batch, torch.Generator())
    # The slow critic says -2 times the sum, of 9, which the other likes best, or of 5 and 9.
    assert float(numbers['critic/target']) == 0.5 + expected
    assert loss.item() == pytest.approx((3.0 - 0.5 - expected) ** 2)
