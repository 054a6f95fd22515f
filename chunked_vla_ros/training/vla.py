"""
The Vision-Language-Action policy: backbone, transformer, and a flow-matching action expert.

Images, instruction and joint positions become context tokens; the action expert turns noise into
an (H, J) chunk by Euler steps along the learnt flow (pi0, Black et al. 2024, in small). Raw values
in and out: normalisation is part of the network, so a checkpoint cannot be used with another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, NamedTuple

import torch
from torch import nn

from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.training.action_expert import ActionExpert
from chunked_vla_ros.training.backbones.backbone import Backbone, make_backbone
from chunked_vla_ros.training.batches import Batch
from chunked_vla_ros.training.flow_matching import (
    flow_loss,
    FlowDraws,
    is_prefix,
    on_the_path,
    shown_cameras,
)
from chunked_vla_ros.training.layers import EncoderLayer
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig
from chunked_vla_ros.training.waypoint_heads import make_waypoint_heads, WaypointHead

# A joint's position further out than so many standard deviations, and than demonstrated, is shown
# as this: a network answers what it has never seen with anything.
FARTHEST_FELT = 5.0
# A gripper is shut, to a head, from this share of what it was told in demonstrations: how far it
# gets beyond depends on what it holds and how.
SHUT_SHARE = 0.25
# Where to go is harder to see than how to go there is to learn.
WAYPOINT_WEIGHT = 2.0


class ActionScale(nn.Module):
    """Raw joint values to what a network likes to see, and back."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        for name in ('state_mean', 'state_std', 'action_mean', 'action_std', 'relative'):
            values = torch.as_tensor(getattr(normalisation, name).astype('float32'))
            self.register_buffer(name, values)
        for name in ('action_min', 'action_max'):
            values = torch.as_tensor(getattr(normalisation, name).astype('float32'))
            self.register_buffer(name, values, persistent=False)
        # As far as demonstrated in any case: a gripper that is seldom closed is far out there.
        lowest, highest = (
            (getattr(normalisation, name) - normalisation.state_mean) / normalisation.state_std
            for name in ('state_min', 'state_max'))
        for name, values in (('felt_min', lowest.clip(max=-FARTHEST_FELT)),
                             ('felt_max', highest.clip(min=FARTHEST_FELT))):
            self.register_buffer(
                name, torch.as_tensor(values.astype('float32')), persistent=False)

    def state(self, state: torch.Tensor) -> torch.Tensor:
        """Return normalised joint positions (B, J)."""
        return (state - self.state_mean) / self.state_std

    def felt(self, state: torch.Tensor) -> torch.Tensor:
        """Return normalised joint positions (B, J), no further out than a network knows."""
        return torch.minimum(torch.maximum(self.state(state), self.felt_min), self.felt_max)

    def shut(self, felt: torch.Tensor) -> torch.Tensor:
        """Return ``felt`` (B, J) with 1 where a binary joint is shut, and -1 where it is not."""
        edge = self.state(self.action_min + SHUT_SHARE * (self.action_max - self.action_min))
        return torch.where(self.relative.bool(), felt, torch.where(felt > edge, 1.0, -1.0))

    def actions(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return normalised targets (B, H, J) of raw absolute ones."""
        return (actions - self._origin(state) - self.action_mean) / self.action_std

    def raw(self, actions: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """
        Return raw absolute targets (B, H, J) of normalised ones.

        What is not relative, such as a gripper, stays in the range that was demonstrated.
        """
        raw = actions * self.action_std + self.action_mean + self._origin(state)
        inside = torch.minimum(torch.maximum(raw, self.action_min), self.action_max)
        return torch.where(self.relative.bool(), raw, inside)

    def goals(self, waypoints: Sequence[torch.Tensor], felt: torch.Tensor) -> torch.Tensor:
        """Return G normalised poses (B, J) in the scale of a chunk's last target, (B, G J)."""
        origin = self._origin(felt * self.state_std + self.state_mean)[:, 0]
        targets = [pose.detach() * self.state_std + self.state_mean for pose in waypoints]
        return torch.cat([(target - origin - self.action_mean[-1]) / self.action_std[-1]
                          for target in targets], dim=-1)

    def _origin(self, state: torch.Tensor) -> torch.Tensor:
        return (state * self.relative)[:, None]


class Context(NamedTuple):
    """
    All that is known when a chunk is to be made.

    :ivar tokens: (B, T, width), the first of them the summary.
    :ivar mask: (B, T) bool.
    :ivar waypoints: What each head says of where the motion is heading, (B, J) normalised.
    :ivar goals: The same as `ActionScale.goals`.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    waypoints: list[torch.Tensor]
    goals: torch.Tensor


class Vla(nn.Module):
    """
    A policy over action chunks.

    :ivar shape: What it sees and answers.
    :ivar config: Its sizes.
    """

    def __init__(self, config: VlaConfig, shape: PolicyShape,
                 normalisation: Normalisation) -> None:
        """:raises ValueError: one line, if its parts cannot be made."""
        super().__init__()
        self.config, self.shape = config, shape
        width, joints = config.width, len(shape.joint_names)
        self.scale = ActionScale(normalisation)
        self.backbone = make_backbone(config, shape)
        self.proprioception = nn.Sequential(
            nn.Linear(joints, width), nn.SiLU(), nn.Linear(width, width))
        self.summary = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.waypoints = make_waypoint_heads(
            config, shape, cast(Backbone, self.backbone).places)
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.expert = ActionExpert(
            joints, shape.horizon, width, config.heads, config.expert_layers,
            len(self.waypoints))

    def forward(self, batch: Batch, draws: FlowDraws, flow_share: float = 1.0,
                ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        Return the flow-matching loss of a batch of B samples, and numbers to look at.

        The flow's loss is the mean over all counted entries of normalised actions, the waypoint's
        the mean over samples.

        :param flow_share: How much the flow's loss counts: where processes share a batch, theirs
            of the counted entries in proportion to an equal share. The numbers are without it.
        """
        state = batch.state + draws.state_error
        images = [pixels.float() / 255.0 for pixels in batch.images.values()]
        heard = batch.tokens_mask.bool() & draws.keep_instruction[:, None]
        # What is read off a joint exactly would tell demonstrations apart, wherever it comes in;
        # of a binary one the heads are told no more than whether it is shut.
        felt, blurred = (
            self.scale.felt(state + blur) * draws.keep_state[:, None]
            for blur in (draws.state_blur * self.scale.relative, draws.state_blur))
        known = self._context(
            images, shown_cameras(batch.present, draws.keep_camera), felt, batch.tokens, heard,
            blurred)
        actions = self.scale.actions(batch.actions, state)
        velocity, counted = self.flow(known, actions, batch.valid, draws)
        total, count, by_joint = flow_loss(velocity, actions[:, None], draws.noise, counted)
        flow = total / count.clamp(min=1)
        aim = self.scale.state(batch.waypoint)
        heading = torch.stack([
            cast(WaypointHead, head).missed(pose, aim, batch.begun)
            for head, pose in zip(self.waypoints, known.waypoints, strict=True)]).sum()
        loss = flow * flow_share + WAYPOINT_WEIGHT * heading
        each = by_joint / (count / velocity.shape[-1]).clamp(min=1)
        numbers = {
            'loss': flow + WAYPOINT_WEIGHT * heading, 'loss_flow': flow, 'loss_waypoint': heading,
            **{f'loss/{name}': one for name, one in zip(
                self.shape.joint_names, each, strict=True)}}
        return loss, {name: number.detach() for name, number in numbers.items()}

    def flow(self, known: Context, actions: torch.Tensor, valid: torch.Tensor, draws: FlowDraws,
             ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return velocities (B, D, H, J) on the way from noise to ``actions``, and which count.

        :param actions: (B, H, J) normalised.
        :param valid: (B, H) bool, False past the end of the episode.
        :returns: The velocities, and (B, D, H) bool.
        """
        # One time for all points is cheaper: what depends on it is then made once for them all.
        time, counted = draws.time[..., None], valid[:, None].expand(draws.noise.shape[:3])
        if draws.delay is not None:
            committed = is_prefix(draws.delay, self.shape.horizon)
            time = torch.where(committed, 1.0, time)
            counted = counted & ~committed
        velocity = self.expert(
            on_the_path(actions[:, None], draws.noise, time), time, known.goals,
            known.tokens[:, 0], self.expert.look(known.tokens), known.mask, valid)
        return velocity, counted

    def observe(self, images: Sequence[torch.Tensor], state: torch.Tensor, tokens: torch.Tensor,
                tokens_mask: torch.Tensor, present: torch.Tensor | None = None) -> Context:
        """Return what is known of raw values, as of `sample`."""
        if present is None:
            present = torch.ones(
                len(state), len(self.shape.cameras), dtype=torch.bool, device=state.device)
        felt = self.scale.felt(state)
        return self._context(
            [pixels.float() / 255.0 for pixels in images], present, felt, tokens,
            tokens_mask.bool(), felt)

    def sample(self, images: Sequence[torch.Tensor], state: torch.Tensor, tokens: torch.Tensor,
               tokens_mask: torch.Tensor, noise: torch.Tensor,
               prefix: torch.Tensor | None = None, prefix_mask: torch.Tensor | None = None,
               present: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return raw absolute joint targets (B, H, J).

        :param images: (B, height, width, 3) uint8 RGB of each camera.
        :param state: (B, J) measured positions, raw.
        :param tokens: (B, L) int64.
        :param tokens_mask: (B, L), 0 for padding.
        :param noise: (B, H, J), standard normal.
        :param prefix: (B, H, J) raw absolute targets that are committed already.
        :param prefix_mask: (B, H), 1 where ``prefix`` holds.
        :param present: (B, C) bool, ``None``: every camera is there.
        """
        known = self.observe(images, state, tokens, tokens_mask, present)
        chunks = self.chunks(
            known, state, noise[:, None] * self.config.noise_scale, self.config.flow_steps,
            prefix, prefix_mask)
        return self.finished(chunks[:, 0], state, prefix, prefix_mask)

    def chunks(self, known: Context, state: torch.Tensor, noise: torch.Tensor, steps: int,
               prefix: torch.Tensor | None = None, prefix_mask: torch.Tensor | None = None,
               ) -> torch.Tensor:
        """
        Return the chunks that ``noise`` flows to, normalised: (B, N, H, J).

        :param noise: (B, N, H, J), standard normal, or a share of that.
        :param steps: Of Euler's, from noise to actions.
        :param prefix: As of `sample`, with ``prefix_mask``: for all N of them.
        """
        looked, summary = self.expert.look(known.tokens), known.tokens[:, 0]
        actions, start = noise, torch.zeros_like(noise[..., :1, 0])
        given = committed = None
        if prefix is not None and prefix_mask is not None:
            committed = prefix_mask[:, None, :, None].to(noise.dtype)
            given = self.scale.actions(prefix, state)[:, None]
        for step in range(steps):
            now = start + step / steps
            if given is not None and committed is not None:
                actions = actions * (1.0 - committed) + given * committed
                now = torch.maximum(now, committed[..., 0])
            velocity = self.expert(actions, now, known.goals, summary, looked, known.mask)
            actions = actions + velocity / steps
        # Of what is committed no velocity was ever learnt.
        if given is not None and committed is not None:
            actions = actions * (1.0 - committed) + given * committed
        return actions

    def finished(self, chunk: torch.Tensor, state: torch.Tensor,
                 prefix: torch.Tensor | None = None, prefix_mask: torch.Tensor | None = None,
                 ) -> torch.Tensor:
        """Return raw targets (B, H, J) of a normalised chunk, committed ones as they are."""
        raw = self.scale.raw(chunk, state)
        if prefix is None or prefix_mask is None:
            return raw
        committed = prefix_mask[..., None].to(raw.dtype)
        return raw * (1.0 - committed) + prefix * committed

    def _context(self, images: list[torch.Tensor], present: torch.Tensor, felt: torch.Tensor,
                 tokens: torch.Tensor, heard: torch.Tensor, blurred: torch.Tensor) -> Context:
        """Return what is known; ``felt`` and ``blurred`` (B, J) are normalised positions."""
        seen = cast(Backbone, self.backbone)(images, present, tokens, heard)
        stands = self.scale.shut(felt)
        answers = [head(seen, stands) for head in self.waypoints]
        joints = self.proprioception(blurred)[:, None]
        own = [self.summary.expand(len(felt), -1, -1), joints, *(told for _, told in answers)]
        there = torch.ones_like(seen.mask[:, :1]).expand(-1, len(own))
        context, mask = torch.cat([*own, seen.tokens], dim=1), torch.cat([there, seen.mask], dim=1)
        for layer in self.layers:
            context = layer(context, mask)
        waypoints = [pose for pose, _ in answers]
        return Context(
            self.norm(context), mask, waypoints, self.scale.goals(waypoints, felt))


def build_vla(config: VlaConfig, shape: PolicyShape, normalisation: Normalisation) -> Vla:
    """
    Return the policy with fresh weights, or published ones where the backbone has them.

    :raises ValueError: one line, if its parts cannot be made.
    """
    return Vla(config, shape, normalisation)
