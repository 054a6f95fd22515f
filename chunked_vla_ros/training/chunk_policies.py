"""
What a policy does at the rows of a batch, and what it misses of what was demonstrated there.

On cached features, where the action expert alone learns, or from pictures, where every weight
does; with a flow for a head or a deterministic one. The deterministic head is the flow without
its noise: one Euler step from 0, of which the flow-matching loss at time 0 is the squared error
of the chunk, the L_BC of CO-RFT (Huang et al. 2025, eq. 7). A flow that was learnt from all noise
answers there with the mean of what was demonstrated, so any imitation policy is a beginning. Knows
no critic. Legend: B batch, D draws, H points of a chunk, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

from chunked_vla_ros.training.augmentation import augment, AugmentationDraws
from chunked_vla_ros.training.batches import Batch
from chunked_vla_ros.training.chunk_losses import Metrics
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.flow_matching import flow_loss, FlowDraws, is_prefix
from chunked_vla_ros.training.rl_batches import FlowBatch
from chunked_vla_ros.training.rl_config import DETERMINISTIC
from chunked_vla_ros.training.vla import Context, Vla


@dataclass(frozen=True)
class ChunkStart:
    """
    What a chunk is made of, besides what is known.

    :ivar state: (B, J) raw.
    :ivar noise: (B, 1, H, J), as the robot starts.
    :ivar prefix: (B, H, J), the demonstrated targets; ``committed`` (B, H), 1 where they are
        given as committed already: ``None`` of a policy that takes no prefix.
    """

    state: torch.Tensor
    noise: torch.Tensor
    prefix: torch.Tensor
    committed: torch.Tensor | None

    @staticmethod
    def draw(generator: torch.Generator, config: TrainConfig,
             batch: FlowBatch | Batch) -> ChunkStart:
        """Return a start for each window of ``batch``; ``generator`` is a CPU one."""
        actions, longest = batch.actions, config.imitation.max_delay_steps
        noise = config.policy.noise_scale * torch.randn(actions.shape, generator=generator)
        committed = None
        if longest:
            # As many as in imitation: what the robot mostly asks for is to get better.
            delay = torch.randint(longest + 1, (len(actions), 1), generator=generator)
            committed = is_prefix(delay, actions.shape[1])[:, 0].float().to(actions.device)
        return ChunkStart(batch.state, noise[:, None].to(actions.device), actions, committed)

    def chunk(self, vla: Vla, known: Context, steps: int) -> torch.Tensor:
        """Return the chunk of ``vla``, normalised (B, H, J), after so many Euler steps."""
        return vla.chunks(known, self.state, self.noise, steps,
                          None if self.committed is None else self.prefix, self.committed)[:, 0]


def known_at(vla: Vla, batch: FlowBatch | Batch) -> Context:
    """Return what ``vla`` knows where the windows begin: as cached, or seen with a gradient."""
    if isinstance(batch, FlowBatch):
        return batch.known
    return vla.observe(list(batch.images.values()), batch.state, batch.tokens,
                       batch.tokens_mask, batch.present)


def imitation_loss(config: TrainConfig, vla: Vla, batch: FlowBatch | Batch,
                   generator: torch.Generator) -> tuple[torch.Tensor, Metrics]:
    """
    Return what imitation says of a batch, by the policy's head, and its parts.

    From pictures it is all of imitation's loss: augmented, and with that of the waypoint heads.
    """
    draws = draws_of_head(FlowDraws.draw(
        generator, len(batch.state), vla.shape, config.imitation), config.rl.head)
    draws = draws.to(batch.state.device)
    if isinstance(batch, FlowBatch):
        return _expert_loss(vla, batch, draws)
    changes = AugmentationDraws.draw(
        generator, len(batch), config.augmentation, len(vla.shape.cameras))
    loss, parts = vla(augment(batch, changes), draws)
    return loss, {name: number for name, number in parts.items() if name != 'loss'}


def draws_of_head(draws: FlowDraws, head: str) -> FlowDraws:
    """Return ``draws``; of a deterministic head one, at time 0 and without noise."""
    if head != DETERMINISTIC:
        return draws
    return replace(
        draws, noise=torch.zeros_like(draws.noise[:, :1]),
        time=torch.zeros_like(draws.time[:, :1]),
        delay=None if draws.delay is None else draws.delay[:, :1])


def some_of(batch: FlowBatch | Batch, which: torch.Tensor) -> FlowBatch | Batch:
    """Return the windows of numbers ``which`` (M,) of ``batch``, in that order."""
    if isinstance(batch, FlowBatch):
        known = batch.known
        some = Context(known.tokens[which], known.mask[which],
                       [pose[which] for pose in known.waypoints], known.goals[which])
        return FlowBatch(batch.rows[which], some, batch.state[which], batch.actions[which],
                         batch.valid[which])
    rest = {spec.name: getattr(batch, spec.name)[which] for spec in fields(batch)
            if spec.name != 'images'}
    return Batch({name: image[which] for name, image in batch.images.items()}, **rest)


def _expert_loss(vla: Vla, batch: FlowBatch, draws: FlowDraws) -> tuple[torch.Tensor, Metrics]:
    """Return the flow-matching loss of the expert on cached features, and of each joint."""
    actions = vla.scale.actions(batch.actions, batch.state)
    velocity, counted = vla.flow(batch.known, actions, batch.valid, draws)
    total, count, by_joint = flow_loss(velocity, actions[:, None], draws.noise, counted)
    loss = total / count.clamp(min=1)
    each = by_joint / (count / velocity.shape[-1]).clamp(min=1)
    return loss, {'loss_flow': loss.detach(), **{
        f'loss/{name}': one.detach() for name, one in zip(
            vla.shape.joint_names, each, strict=True)}}
