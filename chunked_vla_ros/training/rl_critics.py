"""
What each method's critic learns from a batch, on cached features and cached candidates.

One class a method, of the losses of `advantage`, `q_chunking` and `co_rft`; the discount is in
the batch. Legend: B batch, R rows, N candidates, h points, J joints, K critics. Knows no policy.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from chunked_vla_ros.training.advantage import SarsaConfig, SarsaCritic, WholeChunks
from chunked_vla_ros.training.candidate_cache import CandidateCache
from chunked_vla_ros.training.chunk_losses import (
    Metrics,
    value_regression,
    with_tail,
)
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.q_chunking import aggregated, best_of, critic_target
from chunked_vla_ros.training.q_chunking_methods import Aggregate
from chunked_vla_ros.training.q_networks import ChunkCritic, polyak
from chunked_vla_ros.training.rl_batches import CriticBatch
from chunked_vla_ros.training.rl_config import ADVANTAGE, QC, RlConfig
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.vla_observation import FARTHEST_ACTION

Loss = tuple[torch.Tensor, Metrics]


class MeanCritic(nn.Module):
    """Values chunks under the imitation policy: bootstraps with the mean over its candidates."""

    def __init__(self, config: RlConfig, critic: ChunkCritic, ground: Ground) -> None:
        super().__init__()
        self._cache = ground.cache
        self.sarsa = SarsaCritic(critic, ground.observations, ground.cache, SarsaConfig(
            ground.kind, config.tabulate_every))

    def refresh(self, step: int) -> None:
        """Tabulate the values of all rows where it is time."""
        self.sarsa.refresh(step)

    def loss(self, batch: CriticBatch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, and numbers to look at."""
        tail = continuation(batch, self._cache, generator)
        return self.sarsa.losses(batch.chunks, batch.next_rows[:, -1], tail)

    def follow(self) -> None:
        """Do nothing: the table is the slow copy."""

    def advantages(self, chunks: WholeChunks) -> torch.Tensor:
        """Return how much more than usual each chunk achieved, (N,)."""
        return self.sarsa.advantages(
            chunks.returns, chunks.bootstrap, chunks.rows, chunks.next_rows)


class SlowCritic(nn.Module):
    """
    Values chunks by a slow copy of itself, at the policy's cached chunks (Q-chunking, eq. 4).

    With ``best`` under the best of N of the imitation policy's: QC. The online critic chooses, the
    slow one values. Else under their mean: QC-FQL, whose policy's chunks are drawn anew now and
    then.
    """

    def __init__(self, config: RlConfig, critic: ChunkCritic, ground: Ground,
                 best: bool) -> None:
        super().__init__()
        self.critic, self._kind, self._rate = critic, ground.kind, config.target_rate
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)
        self._ground, self._best = ground, best
        if not best:
            # The policy's by now: a training that goes on finds them as they were.
            self.register_buffer('chunks', ground.cache.chunks)

    def refresh(self, step: int) -> None:
        """Do nothing."""

    def loss(self, batch: CriticBatch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, and numbers to look at."""
        chunks, kind = batch.chunks, self._kind
        with torch.no_grad():
            candidates = self._ground.cache.at(batch.next_rows[:, -1])
            # Which of them is liked is asked of the critic that chooses, if one does.
            asked = self.critic if self._best else self.target_critic
            values = kind.values(asked.given(chunks.next_observation)(candidates))
            liked = aggregated(values, Aggregate.MEAN)
            if self._best:
                candidates = best_of(candidates, liked)[:, None]
                values = kind.values(self.target_critic.given(chunks.next_observation)(candidates))
            target = critic_target(
                chunks.returns[:, -1], chunks.bootstrap[:, -1], values.mean(dim=-1))
        tail = continuation(batch, self._ground.cache, generator)
        chunk = with_tail(chunks.actions, chunks.valid, tail)
        outputs = self.critic(chunks.observation, chunk)
        loss = value_regression(outputs, target, chunks.counted[:, -1], kind)
        return loss, {'critic/loss': loss.detach(),
                      'critic/value': kind.values(outputs.detach()).mean(),
                      'critic/target': target.mean(),
                      'critic/candidate_spread': liked.std(dim=1, correction=0).mean()}

    def follow(self) -> None:
        """Move the slow critic towards the other."""
        polyak(self.target_critic, self.critic, self._rate)

    def judge(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        """Return the values (B, 1) of a policy's ``chunk`` (B, h, J); no critic learns of it."""
        outputs = self.critic.given(observation, learns=False)(chunk)
        return aggregated(self._kind.values(outputs), Aggregate.MEAN)[:, None]


def continuation(batch: CriticBatch, cache: CandidateCache,
                 generator: torch.Generator) -> torch.Tensor:
    """
    Return actions (B, h, J) that stand past the end of an episode: as the policy might go on.

    One of its chunks there, moved to where the last action that counts was. A chunk that meets an
    end then looks like any other: filled with noise, or held, it would tell the critic how its
    episode ended, and the critic would value the filling.
    """
    actions, other = batch.chunks.actions, cache.one_at(batch.rows, generator)
    last = (batch.chunks.valid.sum(dim=1) - 1).clamp(min=0)
    at_last = last[:, None, None].expand(-1, 1, actions.shape[-1])
    moved = other + actions.gather(1, at_last) - other.gather(1, at_last)
    return moved.clamp(-FARTHEST_ACTION, FARTHEST_ACTION)


def make_chunk_critic(config: TrainConfig, ground: Ground) -> MeanCritic | SlowCritic:
    """Return the fresh critic of whole chunks of ``config``'s method."""
    rl = config.rl
    critic = ChunkCritic(ground.width, config.critic_horizon, ground.joints, rl.critic_members,
                         (rl.critic_width,) * rl.critic_layers)
    if config.method == ADVANTAGE:
        return MeanCritic(rl, critic, ground)
    return SlowCritic(rl, critic, ground, best=config.method == QC)
