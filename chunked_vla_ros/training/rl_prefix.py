"""
The prefix critic of CO-RFT (equations 5, 6 and 8) on cached features and tabulated values.

Values of all rows are made anew every so many steps, of the policy's chunks there as they are by
then; in between a step is a plain regression. Legend: B batch, R rows, N chunks of each, h points,
J joints, K critics. Knows no policy.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from chunked_vla_ros.training.advantage import advantages, WholeChunks
from chunked_vla_ros.training.candidate_cache import ValueTable
from chunked_vla_ros.training.chunk_losses import with_arbitrary_tail
from chunked_vla_ros.training.co_rft import cal_ql_term, critic_loss, prefix_targets
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.q_networks import polyak
from chunked_vla_ros.training.rl_batches import CriticBatch
from chunked_vla_ros.training.rl_critics import arbitrary, Loss
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.step_draws import step_generator, TABLE

# Noise on a target's chunk is cut to so many of its standard deviations (TD3's 0.5 of 0.2).
SMOOTHING_LIMIT = 2.5
ROWS_AT_ONCE = 256


class PrefixValues(nn.Module):
    """
    Values all prefixes of a chunk under the policy that learns.

    :ivar critic: The one that learns; ``target_critic`` follows it slowly.
    """

    def __init__(self, config: TrainConfig, ground: Ground) -> None:
        super().__init__()
        rl = config.rl
        self._config, self._seed, self._ground = rl, config.seed, ground
        self.critic = PrefixCritic(
            ground.width, ground.joints, config.critic_horizon, rl.critic_members,
            rl.critic_width, rl.critic_layers, rl.critic_heads)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.table = ValueTable(len(ground.observations), rl.tabulate_every, ROWS_AT_ONCE)
        # A step's own chunks come from it too: a training that goes on finds it as it was.
        self.register_buffer('chunks', ground.cache.chunks)

    def refresh(self, step: int) -> None:
        """Tabulate the values of all rows where it is time."""
        self._generator = step_generator(self._seed, step, TABLE)
        self.table.refresh(step, self._values)

    def loss(self, batch: CriticBatch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, and numbers to look at."""
        chunks, kind, rl = batch.chunks, self._ground.kind, self._config
        targets = prefix_targets(chunks.returns, chunks.bootstrap,
                                 self.table.at(batch.next_rows), rl.literal_targets)
        counted = chunks.counted
        if rl.literal_targets:
            counted = counted[:, -1:].expand_as(counted)
        data = with_arbitrary_tail(chunks.actions, chunks.valid, arbitrary(batch, generator))
        which = torch.randint(rl.candidates, (len(data),), generator=generator)
        here = self._ground.cache.at(batch.rows)
        policys = here[torch.arange(len(data)), which.to(here.device)]
        outputs = self.critic(chunks.observation, torch.stack([data, policys], dim=1))
        loss, metrics = critic_loss(outputs[:, :, 0], targets, counted, kind)
        data_values, policy_values = kind.values(outputs).unbind(dim=2)
        assert chunks.return_to_go is not None
        term, more = cal_ql_term(policy_values, data_values, chunks.return_to_go,
                                 chunks.counted & chunks.valid)
        return loss + rl.conservative_weight * term, {
            **metrics, **more, 'critic/target': targets.mean()}

    def follow(self) -> None:
        """Move the slow critic towards the other."""
        polyak(self.target_critic, self.critic, self._config.target_rate)

    def advantages(self, chunks: WholeChunks) -> torch.Tensor:
        """Return how much more than usual each chunk achieved, (N,)."""
        self._generator = step_generator(self._seed, 0, TABLE)
        now = ValueTable(len(self.table.values), 1, ROWS_AT_ONCE).to(chunks.rows.device)
        now.refresh(0, self._values)
        return advantages(chunks.returns, chunks.bootstrap, now.at(chunks.rows),
                          now.at(chunks.next_rows))

    def judge(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        """Return the values (B, h) of a policy's ``chunk`` (B, h, J); no critic learns of it."""
        outputs = self.critic.given(observation, learns=False)(chunk)
        return self._ground.kind.values(outputs).mean(dim=0)

    def _values(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the slow critic expects of the policy's smoothed chunks at ``rows``."""
        chunks = self._ground.cache.at(rows)
        noise = torch.randn(chunks.shape, generator=self._generator).to(chunks.device)
        smoothed = chunks + self._config.target_noise * noise.clamp(
            -SMOOTHING_LIMIT, SMOOTHING_LIMIT)
        outputs = self.target_critic(self._ground.observations[rows], smoothed)[..., -1]
        # Of the twins the smaller counts (TD3); of the policy's chunks their mean.
        return self._ground.kind.values(outputs).amin(dim=0).mean(dim=-1)
