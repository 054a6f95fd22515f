"""
The prefix critic of CO-RFT on cached features and tabulated values.

Values of all rows are made anew every so many steps, of the policy's chunks there as they are by
then; in between a step is a plain regression. Legend: B batch, R rows, N chunks of each, h points,
J joints. Knows no policy.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from chunked_vla_ros.training.advantage import advantages, WholeChunks
from chunked_vla_ros.training.candidate_cache import ValueTable
from chunked_vla_ros.training.co_rft import CoRft, Loss
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.rl_batches import CriticBatch
from chunked_vla_ros.training.rl_config import STOPPED
from chunked_vla_ros.training.rl_critics import continuation
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.step_draws import step_generator, TABLE
from chunked_vla_ros.training.vla_observation import FARTHEST_ACTION

ROWS_AT_ONCE = 256


class PrefixValues(CoRft):
    """Values all prefixes of a chunk under the policy that learns."""

    def __init__(self, config: TrainConfig, ground: Ground) -> None:
        rl = config.rl
        super().__init__(
            PrefixCritic(ground.width, ground.joints, config.critic_horizon, rl.critic_members,
                         rl.critic_width, rl.critic_layers, rl.critic_heads),
            ground.kind, rl, FARTHEST_ACTION)
        self._seed, self._ground = config.seed, ground
        self.table = ValueTable(len(ground.observations), rl.tabulate_every, ROWS_AT_ONCE)
        # A step's own chunks come from it too: a training that goes on finds it as it was.
        self.register_buffer('chunks', ground.cache.chunks)
        if rl.features == STOPPED:
            self.register_buffer('observations', ground.observations)

    def refresh(self, step: int) -> None:
        """Tabulate the values of all rows where it is time."""
        self._generator = step_generator(self._seed, step, TABLE)
        self.table.refresh(step, self._values)

    def loss(self, batch: CriticBatch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, and numbers to look at."""
        tail = continuation(batch, self._ground.cache, generator)
        chunks = self._ground.cache.one_at(batch.rows, generator)
        # As the policy knows them by now, whatever was read ahead.
        seen = replace(batch.chunks, observation=self._ground.observations[batch.rows])
        return self.critic_losses(seen, chunks, self.table.at(batch.next_rows), tail)

    def advantages(self, chunks: WholeChunks) -> torch.Tensor:
        """Return how much more than usual each chunk achieved, (N,)."""
        self._generator = step_generator(self._seed, 0, TABLE)
        now = ValueTable.of(
            self._values, len(self.table.values), ROWS_AT_ONCE, chunks.rows.device)
        return advantages(chunks.returns, chunks.bootstrap, now.at(chunks.rows),
                          now.at(chunks.next_rows))

    def _values(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the slow critics expect of the policy's blurred chunks at ``rows``."""
        chunks = self._ground.cache.at(rows)
        noise = torch.randn(chunks.shape, generator=self._generator).to(chunks.device)
        return self.state_values(self._ground.observations[rows], chunks, noise)
