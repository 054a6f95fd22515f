"""
What the policy learns from, once the critic has learnt: its losses, method by method.

Legend: B batch, H points of the policy's chunk, h of the critic's, J joints. Knows no optimizer.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from chunked_vla_ros.training.augmentation import augment, AugmentationDraws
from chunked_vla_ros.training.co_rft import actor_loss
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.flow_matching import flow_loss, FlowDraws
from chunked_vla_ros.training.rl_batches import CriticBatch, FlowBatch
from chunked_vla_ros.training.rl_config import CO_RFT, QC_FQL
from chunked_vla_ros.training.rl_critics import Loss, make_chunk_critic, MeanCritic, SlowCritic
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.rl_prefix import PrefixValues
from chunked_vla_ros.training.rl_selection import Selection
from chunked_vla_ros.training.vla import Vla
from chunked_vla_ros.training.vla_observation import critic_chunk

# Of the scale that values are brought to: below it they are noise around 0.
LEAST_SCALE = 1e-6


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

    def __call__(self, batch: Any, generator: torch.Generator) -> Loss:
        """Return the loss of a batch, a `FlowBatch` or one with images, and its parts."""
        config, device = self._config, batch.state.device
        draws = FlowDraws.draw(
            generator, len(batch.state), self._vla.shape, config.imitation).to(device)
        if isinstance(batch, FlowBatch):
            return expert_loss(self._vla, batch, draws)
        changes = AugmentationDraws.draw(
            generator, len(batch), config.augmentation, len(self._vla.shape.cameras))
        loss, parts = self._vla(augment(batch, changes), draws)
        return loss, {name: number for name, number in parts.items() if name != 'loss'}


def expert_loss(vla: Vla, batch: FlowBatch, draws: FlowDraws) -> Loss:
    """Return the flow-matching loss of the expert on cached features, and of each joint."""
    actions = vla.scale.actions(batch.actions, batch.state)
    velocity, counted = vla.flow(batch.known, actions, batch.valid, draws)
    total, count, by_joint = flow_loss(velocity, actions[:, None], draws.noise, counted)
    loss = total / count.clamp(min=1)
    each = by_joint / (count / velocity.shape[-1]).clamp(min=1)
    return loss, {'loss_flow': loss.detach(), **{
        f'loss/{name}': one.detach() for name, one in zip(
            vla.shape.joint_names, each, strict=True)}}


class Climbing:
    """
    What critic and demonstrations, or the imitation policy, say of the policy's own chunks.

    The gradient goes back through all Euler steps of the policy, as many as the robot runs: what
    the critic judged is what is deployed.
    """

    def __init__(self, config: TrainConfig, vla: Vla, critic: Judge, ground: Ground) -> None:
        self._config, self._vla, self._critic, self._ground = config, vla, critic, ground
        self._counts: torch.Tensor | None = None

    def choose(self, selection: Selection) -> None:
        """Stay with the demonstrated chunks that were selected, and with no others."""
        counts = torch.zeros(len(self._ground.observations), dtype=torch.bool)
        counts[torch.tensor(selection.rows)] = torch.tensor(selection.kept)
        self._counts = counts.to(self._ground.device)

    def __call__(self, batch: CriticBatch, generator: torch.Generator) -> Loss:
        """Return the loss of a batch and its parts."""
        vla, window, config = self._vla, batch.window, self._config
        assert window is not None
        device = window.state.device
        # As the robot starts: what is judged is what is done.
        noise = config.policy.noise_scale * torch.randn(
            len(window.state), 1, vla.shape.horizon, len(vla.shape.joint_names),
            generator=generator).to(device)
        made = vla.chunks(window.known, window.state, noise, config.policy.flow_steps)[:, 0]
        done = critic_chunk(vla.scale, made, window.state, config.critic_horizon)
        values = self._critic.judge(batch.chunks.observation, done)
        if config.method == QC_FQL:
            with torch.no_grad():
                wanted = self._ground.frozen.chunks(
                    window.known, window.state, noise, config.rl.candidate_steps)[:, 0]
            missed = (made - wanted).square().mean()
            return config.rl.alpha * missed - values.mean(), {
                'actor/distillation_loss': missed.detach(), 'actor/q': values.detach().mean()}
        draws = FlowDraws.draw(
            generator, len(window.state), vla.shape, config.imitation).to(device)
        return self._beside_demonstrations(window, draws, values)

    def _beside_demonstrations(self, window: FlowBatch, draws: FlowDraws,
                               values: torch.Tensor) -> Loss:
        vla = self._vla
        actions = vla.scale.actions(window.actions, window.state)
        velocity, counted = vla.flow(window.known, actions, window.valid, draws)
        wanted = actions[:, None] - draws.noise
        kept = None if self._counts is None else self._counts[window.rows]
        keep = None if kept is None else kept.repeat_interleave(velocity.shape[1])
        # So that bc_weight means the same whatever the rewards (TD3+BC).
        scaled = values / values.detach().abs().mean().clamp(min=LEAST_SCALE)
        loss, numbers = actor_loss(scaled, velocity.flatten(0, 1), wanted.flatten(0, 1),
                                   counted.flatten(0, 1), self._config.rl.bc_weight, keep)
        return loss, {**numbers, 'actor/q': values.detach().mean()}


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
