"""
The transformer layers that every network here is made of.

Plain attention in batch-first order, exportable to ONNX. Knows nothing about robots.
"""

from __future__ import annotations

import math

import torch
from torch import nn

MLP_RATIO = 4
# What finds places, and what reads them, is small and learns so many times as fast as attention.
PLACES_PACE = 10.0


class Attention(nn.Module):
    """Multi-head attention of queries on a context (Vaswani et al. 2017, eq. 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f'width is {width}, expected a multiple of heads {heads}')
        self._heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def keys_values(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values (B, heads, T, width / heads) of ``context`` (B, T, width)."""
        keys, values = self.key_value(context).chunk(2, dim=-1)
        return self._split(keys), self._split(values)

    def forward(self, x: torch.Tensor, context: tuple[torch.Tensor, torch.Tensor],
                mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return what ``x`` (B, N, width) sees.

        :param context: Of `keys_values`.
        :param mask: (B, T) bool, True where the context may be seen; ``None``: everywhere.
        """
        seen = nn.functional.scaled_dot_product_attention(
            self._split(self.query(x)), *context,
            attn_mask=None if mask is None else mask[:, None, None, :])
        out: torch.Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self._heads, -1)).transpose(1, 2)


def mlp(width: int) -> nn.Sequential:
    """Return the two linear layers that follow attention."""
    return nn.Sequential(
        nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))


class EncoderLayer(nn.Module):
    """A pre-norm transformer layer: every token sees every token that is there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.think = Attention(width, heads), mlp(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (B, N, width) after the layer; ``mask`` (B, N) True where a token is."""
        told = self.before(x)
        x = x + self.attention(told, self.attention.keys_values(told), mask)
        result: torch.Tensor = x + self.think(self.after(x))
        return result


class FilmLayer(nn.Module):
    """Scale and shift features by what a condition says (Perez et al. 2018, FiLM)."""

    def __init__(self, condition: int, features: int) -> None:
        super().__init__()
        self.affine = nn.Linear(condition, 2 * features)
        # At the start it changes nothing.
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (B, features, height, width), conditioned on (B, condition)."""
        scale, shift = self.affine(condition)[..., None, None].chunk(2, dim=1)
        return x * (1.0 + scale) + shift


def waves(x: torch.Tensor, width: int) -> torch.Tensor:
    """Return sines and cosines (..., width) of ``x`` in 0..1, from slow to fast."""
    half = width // 2
    # From a quarter turn over the whole range to 250 turns.
    steps = torch.linspace(0.0, 1.0, half, device=x.device, dtype=torch.float32)
    angle = x.float()[..., None] * (0.5 * math.pi * torch.pow(1000.0, steps))
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)
