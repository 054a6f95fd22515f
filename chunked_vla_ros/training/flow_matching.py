"""
Flow matching on action chunks: the path from noise to action, its loss, its draws and its masks.

Time runs from 0 (noise) to 1 (action), x_u = (1 - u) noise + u action, and the velocity along
the path is action - noise (Lipman et al. 2023; Q-chunking, Li et al. 2025, behaviour flow). Points
past the end of an episode are masked. With a prefix (training-time real-time chunking, arXiv
2512.05964) the first points are given clean, at time 1, and the loss is taken on the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.imitation_config import ImitationConfig
from chunked_vla_ros.training.policy_shape import PolicyShape


@dataclass(frozen=True)
class FlowDraws:
    """
    Everything random of one training step but the augmentation, for B samples.

    Drawn at once for the whole batch of all processes and then cut: two processes see what one
    would.

    :ivar noise: (B, D, H, J), standard normal.
    :ivar time: (B, D) in 0..1.
    :ivar delay: (B, D) int64, committed points at the front; ``None``: the policy takes none.
    :ivar keep_instruction: (B,) bool.
    :ivar keep_camera: (B, C) bool.
    :ivar keep_state: (B,) bool.
    :ivar state_blur: (B, J) in [rad].
    :ivar state_error: (B, J) in [rad].
    """

    noise: torch.Tensor
    time: torch.Tensor
    delay: torch.Tensor | None
    keep_instruction: torch.Tensor
    keep_camera: torch.Tensor
    keep_state: torch.Tensor
    state_blur: torch.Tensor
    state_error: torch.Tensor

    @staticmethod
    def draw(generator: torch.Generator, count: int, shape: PolicyShape,
             config: ImitationConfig) -> FlowDraws:
        """Return draws for ``count`` samples from ``generator``, a CPU one."""
        draws, joints, cameras = config.flow_draws, len(shape.joint_names), len(shape.cameras)
        kept = torch.rand(count, cameras, generator=generator) >= config.camera_dropout
        if cameras:
            spared = torch.randint(cameras, (count,), generator=generator)
            kept[torch.arange(count), spared] = True
        return FlowDraws(
            noise=torch.randn(count, draws, shape.horizon, joints, generator=generator),
            time=torch.rand(count, draws, generator=generator),
            delay=torch.randint(
                config.max_delay_steps + 1, (count, draws), generator=generator)
            if config.max_delay_steps else None,
            keep_instruction=(
                torch.rand(count, generator=generator) >= config.instruction_dropout),
            keep_camera=kept,
            keep_state=torch.rand(count, generator=generator) >= config.state_dropout,
            state_blur=torch.where(
                torch.tensor([kind is DimKind.BINARY for kind in shape.dim_kinds]),
                config.gripper_blur, config.state_blur,
            ) * torch.randn(count, joints, generator=generator),
            state_error=config.state_noise * torch.randn(count, joints, generator=generator))

    def part(self, rows: slice) -> FlowDraws:
        """Return the draws of some of the samples."""
        return self._each(lambda drawn: drawn[rows])

    def to(self, device: torch.device | str) -> FlowDraws:
        """Return the draws on ``device``."""
        return self._each(lambda drawn: drawn.to(device))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> FlowDraws:
        drawn = {item.name: getattr(self, item.name) for item in fields(self)}
        return FlowDraws(**{name: None if values is None else change(values)
                            for name, values in drawn.items()})


def shown_cameras(present: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """
    Return which cameras are shown, (B, C) bool: kept ones of those ``present`` (B, C).

    The one that `FlowDraws` spares may be one that the episode lacks: then all of its own are.
    """
    shown = present & keep
    return torch.where(shown.any(dim=1, keepdim=True), shown, present)


def is_prefix(delay: torch.Tensor, horizon: int) -> torch.Tensor:
    """Return (B, D, H) bool, True for the first ``delay`` (B, D) points."""
    return torch.arange(horizon, device=delay.device) < delay[..., None]


def on_the_path(actions: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """
    Return the point of the straight path from ``noise`` to ``actions``, (B, D, H, J).

    :param time: (B, D, H); 1 gives the action itself.
    """
    share = time[..., None]
    return (1.0 - share) * noise + share * actions


def flow_loss(velocity: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor,
              counted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Return squared errors of ``velocity`` (B, D, H, J): their sum, their count, and sums by joint.

    :param counted: (B, D, H) bool, False for padding and prefix.
    """
    errors = (velocity - (actions - noise)).square() * counted[..., None]
    by_joint = errors.sum(dim=(0, 1, 2))
    return by_joint.sum(), counted.sum() * velocity.shape[-1], by_joint
