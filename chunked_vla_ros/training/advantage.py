"""
Advantage-filtered and advantage-weighted chunked imitation.

In four steps: (1) imitate all data with a flow; (2) learn what chunks are worth under that flow,
with a bootstrap that is the mean over its own candidates, never a maximum (SARSA: with few data a
maximum finds errors of the critic before it finds better actions); (3) give every chunk of the
data its advantage A = R_h + discount^h V(s_{t+h}) - V(s_t); (4) imitate again, the best chunks
only (CRR, Wang et al. 2020) or each by exp(A / temperature) (AWR, Peng et al. 2019). At test time
the critic may also choose among a few candidates: `q_chunking.best_of` with a small N.

Discounts come with the data. Knows no dataset and no simulator. B batch, R rows of data, h points,
A action width, K critics, N candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
import torch
from torch import nn

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions
from chunked_vla_ros.training.candidate_cache import (
    AT_ONCE,
    CandidateCache,
    ValueTable,
)
from chunked_vla_ros.training.chunk_batch import ChunkBatch, CHUNKS_AT_ONCE
from chunked_vla_ros.training.chunk_losses import (
    Metrics,
    value_regression,
    ValueKind,
    with_tail,
)


def behaviour_value(candidate_values: torch.Tensor) -> torch.Tensor:
    """Return V (B,) of the policy that proposes: the mean of its candidates' Q (K, B, N)."""
    return candidate_values.mean(dim=(0, 2))


def sarsa_target(returns: torch.Tensor, bootstrap: torch.Tensor,
                 next_values: torch.Tensor) -> torch.Tensor:
    """
    Return what a chunk is worth when the behaviour policy goes on after it, (B,).

    :param returns: (B,), discounted rewards of the whole chunk.
    :param bootstrap: (B,), the discount of its steps, 0 after a termination.
    :param next_values: (B,), V after the chunk, `behaviour_value`.
    """
    return returns + bootstrap * next_values


def advantages(returns: torch.Tensor, bootstrap: torch.Tensor, values: torch.Tensor,
               next_values: torch.Tensor) -> torch.Tensor:
    """
    Return how much more than usual each chunk of the data achieved, (B,).

    Of the chunk's own rewards and where it led, not of Q(s, a): a critic never saw most chunks
    twice, while V averages its errors over N candidates.

    :param values: (B,), V before the chunk; the rest as for `sarsa_target`.
    """
    return sarsa_target(returns, bootstrap, next_values) - values


def keep_fraction(advantages: torch.Tensor, fraction: float) -> torch.Tensor:
    """
    Return which chunks are among the best ``fraction``, (N,) bool; of equal ones the earlier.

    :param advantages: (N,).
    :raises ValueError: The fraction is not in (0, 1], or an advantage is not finite.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f'fraction is {fraction:g}, expected more than 0 and at most 1')
    _refuse_unfinished(advantages)
    # A millionth: 0.3 of 10 is 3 chunks, not 4.
    count = max(1, math.ceil(fraction * len(advantages) - 1e-6))
    best = torch.argsort(advantages, descending=True, stable=True)[:count]
    kept = torch.zeros(len(advantages), dtype=torch.bool, device=advantages.device)
    kept[best] = True
    return kept


def soft_weights(advantages: torch.Tensor, temperature: float = 1.0,
                 highest: float = 20.0) -> torch.Tensor:
    """
    Return exp(A / (temperature * deviation of A)) for each chunk, scaled to mean 1, (N,).

    :param temperature: In standard deviations, so that it means the same for any reward.
    :param highest: What a weight is cut to before scaling (20 in AWR): one lucky chunk must not
        be the whole data.
    :raises ValueError: The temperature is not positive, or an advantage is not finite.
    """
    if not temperature > 0.0:
        raise ValueError(f'temperature is {temperature:g}, expected more than 0')
    _refuse_unfinished(advantages)
    spread = float(advantages.std(correction=0))
    if spread == 0.0:
        return torch.ones_like(advantages)
    weights = torch.exp((advantages / (temperature * spread)).clamp(max=math.log(highest)))
    return weights / weights.mean()


def draw_by_weight(weights: torch.Tensor, count: int,
                   generator: torch.Generator) -> torch.Tensor:
    """
    Return ``count`` numbers of chunks, int64, each as often as its weight says.

    Cloning what is drawn so is, on average, weighted cloning, with any imitation loss unchanged.

    :param weights: (N,), of `soft_weights` or `keep_fraction`.
    :param generator: A CPU one.
    """
    shares = weights.detach().cpu().double()
    # Not multinomial: that takes 2^24 chunks at most.
    edges = shares.cumsum(0)
    points = torch.rand(count, generator=generator, dtype=torch.float64) * edges[-1]
    return torch.searchsorted(edges, points, right=True).clamp(max=len(edges) - 1)


@dataclass(frozen=True)
class WholeChunks:
    """
    Where the N chunks of the data begin and end, and what they earned.

    :ivar rows: (N,) int64.
    :ivar next_rows: (N,) int64, the row after the whole chunk.
    :ivar returns: (N,) float32, discounted rewards.
    :ivar bootstrap: (N,) float32, the discount of its steps, 0 after a termination.
    """

    rows: torch.Tensor
    next_rows: torch.Tensor
    returns: torch.Tensor
    bootstrap: torch.Tensor

    @staticmethod
    def of(transitions: ChunkTransitions, device: torch.device | str = 'cpu') -> WholeChunks:
        """Return those of ``transitions``, in its order, on ``device``."""
        # In portions: of all h columns only the last is kept.
        parts = [transitions.at(np.arange(first, min(first + CHUNKS_AT_ONCE, len(transitions))))
                 for first in range(0, len(transitions), CHUNKS_AT_ONCE)]
        columns = ([part.rows for part in parts], [part.next_rows[:, -1] for part in parts],
                   [part.returns[:, -1] for part in parts],
                   [part.bootstrap[:, -1] for part in parts])
        return WholeChunks(*(torch.from_numpy(np.concatenate(one)).to(device) for one in columns))


@dataclass(frozen=True)
class SarsaConfig:
    """
    Numbers of step 2.

    :ivar kind: UNIT for a reward of 1 at success and 0 before it, FREE for any other.
    :ivar tabulate_every: Updates from one table of values to the next.
    :ivar rows_at_once: Rows for which candidates are valued in one pass.
    """

    kind: ValueKind = ValueKind.FREE
    tabulate_every: int = 100
    rows_at_once: int = AT_ONCE // 8


class SarsaCritic(nn.Module):
    """
    Learns what chunks are worth under the policy that proposed the cached candidates.

    :ivar critic: As `q_networks.ChunkCritic`: ``given(observation)`` values chunks (B, ..., h, A)
        as (K, B, ...). With few data, K = 2 with layer norm.
    :ivar table: V of every row.
    """

    def __init__(self, critic: nn.Module, observations: torch.Tensor, cache: CandidateCache,
                 config: SarsaConfig | None = None) -> None:
        """
        Make one.

        :param observations: (R, S).
        :param cache: For the same rows.
        :raises ValueError: The cache is of other rows.
        """
        super().__init__()
        if len(observations) != len(cache.chunks):
            raise ValueError(f'candidates are for {len(cache.chunks)} rows and there are '
                             f'{len(observations)} observations; draw them from these data')
        self.critic, self.config = critic, config or SarsaConfig()
        self._observations, self._cache = observations, cache
        self.table = ValueTable(len(observations), self.config.tabulate_every,
                                self.config.rows_at_once).to(observations.device)

    def losses(self, batch: ChunkBatch, next_rows: torch.Tensor, tail: torch.Tensor,
               ) -> tuple[torch.Tensor, Metrics]:
        """
        Return the loss of one batch and what to tell.

        :param next_rows: (B,), the row after each whole chunk: some of ``WholeChunks.next_rows``.
        :param tail: (B, h, A), what stands past the end of an episode, as likely as anything else.
        """
        target = sarsa_target(batch.returns[:, -1], batch.bootstrap[:, -1],
                              self.table.at(next_rows))
        chunk = with_tail(batch.actions, batch.valid, tail)
        outputs = self.critic.given(batch.observation)(chunk)
        loss = value_regression(outputs, target, batch.counted[:, -1], self.config.kind)
        values = self.config.kind.values(outputs.detach())
        return loss, {'critic/loss': loss.detach(), 'critic/value': values.mean(),
                      'critic/target': target.mean()}

    def refresh(self, updates: int) -> bool:
        """Tabulate V anew where it is time, and say whether it was; call before each update."""
        made: bool = self.table.refresh(updates, self.values)
        return made

    def values(self, rows: torch.Tensor) -> torch.Tensor:
        """Return V (M,) of ``rows`` (M,) by the critic as it is now."""
        outputs = self.critic.given(self._observations[rows])(self._cache.at(rows))
        return behaviour_value(self.config.kind.values(outputs))

    def advantages(self, returns: torch.Tensor, bootstrap: torch.Tensor, rows: torch.Tensor,
                   next_rows: torch.Tensor) -> torch.Tensor:
        """
        Return the advantage of each chunk by the critic as it is now, (N,).

        :param returns: (N,), as are the rest: the columns of `WholeChunks`.
        """
        now = ValueTable.of(
            self.values, len(self._observations), self.config.rows_at_once, rows.device)
        return advantages(returns, bootstrap, now.at(rows), now.at(next_rows))


def _refuse_unfinished(advantages: torch.Tensor) -> None:
    bad = (~torch.isfinite(advantages)).nonzero()
    if len(bad):
        raise ValueError(f'the advantage of chunk {int(bad[0])} is '
                         f'{float(advantages[bad[0]]):g}: the critic diverged')
