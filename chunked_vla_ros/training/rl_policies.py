"""
What the policy learns from, once the critic has learnt: its losses, method by method.

Legend: B batch, H points of the policy's chunk, h of the critic's, J joints. Knows no optimizer.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from chunked_vla_ros.training.advantage import draw_by_weight
from chunked_vla_ros.training.batches import Batch
from chunked_vla_ros.training.chunk_policies import (
    ChunkStart,
    imitation_loss,
    known_at,
    some_of,
)
from chunked_vla_ros.training.co_rft import actor_loss
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.q_chunking import distillation_loss
from chunked_vla_ros.training.rl_batches import CriticBatch, FlowBatch
from chunked_vla_ros.training.rl_config import CO_RFT, QC_FQL
from chunked_vla_ros.training.rl_critics import Loss, make_chunk_critic, MeanCritic, SlowCritic
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.rl_image_batches import of_critic, of_policy, SeenChunks
from chunked_vla_ros.training.rl_prefix import PrefixValues
from chunked_vla_ros.training.rl_selection import Selection
from chunked_vla_ros.training.vla import Vla
from chunked_vla_ros.training.vla_observation import critic_chunk


class Judge(Protocol):
    """A critic that a policy climbs."""

    def judge(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        """Return the values (B, 1) or (B, h) of ``chunk`` (B, h, J); no critic learns of it."""


class PolicyLoss(Protocol):
    """The loss of the policy."""

    def __call__(self, batch: Any, generator: torch.Generator) -> Loss:
        """Return the loss of a batch and numbers to look at; ``generator`` is a CPU one."""

    def choose(self, selection: Selection) -> None:
        """Learn from what was selected, where the batches are not of that alone."""


class Imitation:
    """Flow matching on the batch, of the action expert alone or of every weight."""

    def __init__(self, config: TrainConfig, vla: Vla) -> None:
        self._config, self._vla = config, vla

    def choose(self, selection: Selection) -> None:
        """Do nothing: only what was selected comes in batches."""

    def __call__(self, batch: FlowBatch | Batch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, and its parts."""
        return imitation_loss(self._config, self._vla, batch, generator)


class Climbing:
    """
    What critic and demonstrations, or the imitation policy, say of the policy's own chunks.

    The gradient goes back through all Euler steps of the policy, as many as the robot runs: what
    the critic judged is what is deployed. A policy that takes a prefix is given one here too.
    """

    def __init__(self, config: TrainConfig, vla: Vla, critic: Judge, ground: Ground) -> None:
        self._config, self._vla, self._critic, self._ground = config, vla, critic, ground
        self._weights: torch.Tensor | None = None
        self._alike = True

    def choose(self, selection: Selection) -> None:
        """Stay with the demonstrated chunks that were selected, each as much as it weighs."""
        self._alike = len(np.unique(selection.weights[selection.kept])) == 1
        self._weights = torch.zeros(len(self._ground.observations))
        self._weights[torch.tensor(selection.rows)] = torch.tensor(selection.weights)

    def __call__(self, batch: CriticBatch | SeenChunks, generator: torch.Generator) -> Loss:
        """Return the loss of a batch and its parts."""
        vla, window, config = self._vla, of_policy(batch), self._config
        judged = of_critic(batch)
        assert judged is not None
        start = ChunkStart.draw(generator, config, window)
        made = start.chunk(vla, known_at(vla, window), config.policy.flow_steps)
        values = self._critic.judge(self._ground.observations[judged.rows], critic_chunk(
            vla.scale, made, window.state, config.critic_horizon))
        if config.method == QC_FQL:
            assert isinstance(window, FlowBatch)
            with torch.no_grad():
                wanted = start.chunk(self._ground.frozen, window.known, config.rl.candidate_steps)
            # The critic judges what the robot does of it, in bounds of its own.
            return distillation_loss(made, wanted, lambda clipped: values, config.rl.alpha)
        missed = self._missed(window, judged.rows, generator)
        return actor_loss(values, missed, config.rl.bc_weight)

    def _missed(self, window: FlowBatch | Batch, rows: torch.Tensor,
                generator: torch.Generator) -> torch.Tensor:
        """Return what the policy misses of those demonstrated chunks that count."""
        if self._weights is not None:
            weights = self._weights[rows.cpu()]
            if not weights.any():
                return torch.zeros((), device=rows.device)
            counted = (weights.nonzero()[:, 0] if self._alike
                       else draw_by_weight(weights, len(weights), generator))
            window = some_of(window, counted.to(rows.device))
        return imitation_loss(self._config, self._vla, window, generator)[0]


def make_critic(config: TrainConfig, ground: Ground) -> MeanCritic | SlowCritic | PrefixValues:
    """Return the fresh critic of ``config``'s method."""
    if config.method == CO_RFT:
        return PrefixValues(config, ground)
    return make_chunk_critic(config, ground)


def make_policy_loss(config: TrainConfig, vla: Vla,
                     critic: MeanCritic | SlowCritic | PrefixValues, ground: Ground,
                     ) -> PolicyLoss:
    """Return the loss of ``config``'s method."""
    if isinstance(critic, MeanCritic):
        return Imitation(config, vla)
    return Climbing(config, vla, critic, ground)
