"""
QC made cheap where data stay as they are: first the flow learns, then the critic.

Once the flow stands still, its N chunks at each row can be drawn once. What the best of them is
worth is looked up in a table that is made anew every so many updates, where data are so few that
this is less work than valuing what those updates draw: what is left of one is a regression.
Critic and flow learn as often as in QC, though one after the other. Legend: B batch, R rows of
data, M some of them, h points, A action width, N candidates.
"""

from __future__ import annotations

import torch
from torch import nn

from chunked_vla_ros.training.candidate_cache import CandidateCache, ValueTable
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import (
    aggregated,
    best_of,
    critic_loss,
    critic_target,
    flow_loss,
    integrate,
    Loss,
    QChunking,
)

# Updates of the critic from one table to the next, in both benchmarks.
TABULATE_EVERY = 100
# Rows valued in one pass: what their candidates need in passing stays in the processor's cache.
ROWS_AT_ONCE = 16


class CachedQChunking(nn.Module):
    """
    Critic and flow of a best-of-N method on R rows of data.

    :ivar agent: The networks; what acts.
    :ivar table: The target critic's value of what the online critic likes best, by row; None
        where a batch is valued as it comes.
    """

    candidates: torch.Tensor

    def __init__(self, agent: QChunking, observations: torch.Tensor, width: int, batch: int,
                 every: int = TABULATE_EVERY) -> None:
        """
        Make one whose candidates are to be drawn.

        :param observations: (R, S), on the device of ``agent``.
        :param width: A.
        :param batch: B, rows behind which an update looks.
        :param every: Updates of the critic from one table to the next.
        """
        super().__init__()
        self.agent, self._observations = agent, observations
        self.table = (ValueTable(len(observations), every, ROWS_AT_ONCE)
                      if len(observations) <= every * batch else None)
        self.register_buffer('candidates', torch.zeros(
            len(observations), agent.method.candidates, agent.method.points, width))

    def draw(self, generator: torch.Generator) -> None:
        """Draw the flow's chunks at all rows, by a CPU generator."""
        flow, method = self.agent.flow, self.agent.method
        self.candidates.copy_(CandidateCache.draw(
            lambda seen, noise: integrate(flow.given(seen), noise, method.flow_steps),
            self._observations, tuple(self.candidates.shape[1:]), generator,
            ROWS_AT_ONCE * method.candidates).chunks)

    def refresh(self, updates: int) -> None:
        """Make the table, if there is one, anew where it is time after so many ``updates``."""
        if self.table is not None:
            self.table.refresh(updates, self.values)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def values(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the next chunk at ``rows`` (M,) is worth, (M,)."""
        agent, seen, chunks = self.agent, self._observations[rows], self.candidates[rows]
        aggregate = agent.method.aggregate
        best = best_of(chunks, aggregated(agent.critic.given(seen)(chunks), aggregate))
        return aggregated(agent.target_critic.given(seen)(best), aggregate)

    def judged(self, batch: ChunkBatch, next_rows: torch.Tensor) -> Loss:
        """
        Return the critic's loss, and numbers to look at.

        :param next_rows: (B,), of `ChunkBatch.next_observation`.
        """
        values = self.values(next_rows) if self.table is None else self.table.at(next_rows)
        target = critic_target(batch.returns[:, -1], batch.bootstrap[:, -1], values[None])
        chunk = batch.actions[:, :self.agent.method.points]
        return critic_loss(self.agent.critic(batch.observation, chunk), target,
                           batch.counted[:, -1])

    def imitated(self, batch: ChunkBatch, generator: torch.Generator) -> Loss:
        """Return the flow's loss, noise and times by ``generator``, and numbers to look at."""
        points, device = self.agent.method.points, batch.actions.device
        chunk = batch.actions[:, :points]
        noise = torch.randn(chunk.shape, generator=generator, device=generator.device)
        time = torch.rand(len(chunk), generator=generator, device=generator.device)
        return flow_loss(self.agent.flow.given(batch.observation), chunk, noise.to(device),
                         time.to(device), batch.valid[:, :points])
