"""
The action expert: which way a noisy chunk is to flow, given what the robot sees and is told.

A transformer over the H points of a chunk. They see each other and the context; how far each has
come from noise (0) to action (1) and a summary of the context scale and shift its features
(adaptive layer norm, Peebles and Xie 2023). Keys and values of the context are made once for all
flow steps. Knows nothing about robots and units.
"""

from __future__ import annotations

import torch
from torch import nn

from chunked_vla_ros.training.layers import Attention, mlp, waves

KeysValues = tuple[torch.Tensor, torch.Tensor]


class ExpertLayer(nn.Module):
    """Points see each other, then the context, then think; each step modulated."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.mixing, self.seeing = Attention(width, heads), Attention(width, heads)
        self.think = mlp(width)
        self.modulation = nn.Linear(width, 6 * width)
        # At the start every point is treated alike.
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor, context: KeysValues,
                mask: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return ``x`` (B, D, H, width) after the layer.

        :param condition: (B, D, H, width) of each point, or (B, D, 1, width) of all of them.
        :param context: Keys and values of the context, (B, heads, T, width / heads) each.
        :param mask: (B, T) bool.
        :param valid: (B * D, H) bool, which points may be seen; ``None``: all.
        """
        shape = x.shape
        shifts = self.modulation(condition).chunk(6, dim=-1)
        told = (self._modulated(0, x, shifts)).flatten(0, 1)
        x = x + self.mixing(told, self.mixing.keys_values(told), valid).reshape(shape)
        told = (self._modulated(1, x, shifts)).flatten(1, 2)
        x = x + self.seeing(told, context, mask).reshape(shape)
        result: torch.Tensor = x + self.think(self._modulated(2, x, shifts))
        return result

    def _modulated(self, index: int, x: torch.Tensor, shifts: tuple[torch.Tensor, ...],
                   ) -> torch.Tensor:
        scale, shift = shifts[2 * index:2 * index + 2]
        modulated: torch.Tensor = self.norms[index](x) * (1.0 + scale) + shift
        return modulated


class ActionExpert(nn.Module):
    """Velocities of the flow for chunks of H points of J joints."""

    def __init__(self, joints: int, horizon: int, width: int, heads: int, layers: int,
                 goals: int) -> None:
        super().__init__()
        self._width = width
        self.points = nn.Linear(joints * (1 + goals), width)
        self.places = nn.Parameter(torch.randn(1, 1, horizon, width) * 0.02)
        self.progress = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(ExpertLayer(width, heads) for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, joints)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def look(self, context: torch.Tensor) -> list[KeysValues]:
        """Return what each layer keeps of ``context`` (B, T, width) for all flow steps."""
        return [layer.seeing.keys_values(context) for layer in self.layers]

    def forward(self, noisy: torch.Tensor, time: torch.Tensor, goals: torch.Tensor,
                summary: torch.Tensor, looked: list[KeysValues], mask: torch.Tensor,
                valid: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the velocity (B, D, H, J) of ``noisy`` (B, D, H, J).

        :param time: (B, D, H), 0 where a point is noise, 1 where it is an action; (B, D, 1) where
            all points are as far.
        :param goals: (B, G J), where the motion is heading, in the scale of actions: what they are
            at the end of the way, to the millimetre that attention loses.
        :param summary: (B, width) of the context.
        :param looked: Of `look`.
        :param mask: (B, T) bool, where the context may be looked at.
        :param valid: (B, H) bool, False past the end of the episode: such a point repeats the
            last target, and what others saw of it would be an answer that no robot has.
            ``None``: all points count, as they do on a robot.
        """
        condition = nn.functional.silu(
            self.progress(waves(time, self._width).to(noisy.dtype)) + summary[:, None, None])
        ahead = goals[:, None, None].expand(*noisy.shape[:3], -1)
        x = self.points(torch.cat([noisy, ahead], dim=-1)) + self.places
        seen = None if valid is None else valid.repeat_interleave(noisy.shape[1], dim=0)
        for layer, context in zip(self.layers, looked, strict=True):
            x = layer(x, condition, context, mask, seen)
        velocity: torch.Tensor = self.out(self.norm(x))
        return velocity
