"""
A critic that values every prefix of a chunk at once: one Q(s, a_1..a_i) for each i = 1..h.

A causal transformer over [state token, a_1 .. a_h] (CO-RFT, Huang et al. 2025, arXiv 2508.02219,
eq. 6; the idea of T-SAC, arXiv 2503.03660): the token of action i sees the state and the actions
up to i, so that one pass gives h values. K critics run side by side as one, each with its own
weights. Knows nothing about rewards, targets and where the features come from.

B batch, h points of a chunk, A action width, S features, K critics, W width.
"""

from __future__ import annotations

from collections.abc import Callable
import math

import torch
from torch import nn

from chunked_vla_ros.training.layers import MLP_RATIO

PrefixValues = Callable[[torch.Tensor], torch.Tensor]


class StackedLinear(nn.Module):
    """K linear layers at once, each on its own rows."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / (inputs + outputs))
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (K, N, outputs) of ``x`` (K, N, inputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


class StackedNorm(nn.Module):
    """K layer norms at once."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.shift = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (K, N, W), each row normalised, then scaled and shifted."""
        normal: torch.Tensor = nn.functional.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.shift, normal, self.scale)


class CausalLayer(nn.Module):
    """A pre-norm transformer layer of K members: a token sees itself and those before it."""

    def __init__(self, members: int, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.before, self.after = StackedNorm(members, width), StackedNorm(members, width)
        self.look = StackedLinear(members, width, 3 * width)
        self.out = StackedLinear(members, width, width)
        self.widen = StackedLinear(members, width, MLP_RATIO * width)
        self.narrow = StackedLinear(members, MLP_RATIO * width, width)

    def forward(self, x: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return ``x`` (K, B * tokens, W) after the layer."""
        looked = self.look(self.before(x)).unflatten(-1, (3, self._heads, -1))
        # Members and samples are alike to attention: (K B, heads, tokens, W / heads) each.
        query, key, value = looked.flatten(0, 1).unflatten(0, (-1, tokens)).permute(
            2, 0, 3, 1, 4).unbind(0)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        thought = nn.functional.gelu(self.widen(self.after(x)), approximate='tanh')
        result: torch.Tensor = x + self.narrow(thought)
        return result


class PrefixCritic(nn.Module):
    """
    K critics of all prefixes of a chunk.

    :ivar members: K.
    :ivar horizon: h.
    """

    def __init__(self, observation: int, action: int, horizon: int, members: int = 2,
                 width: int = 64, layers: int = 2, heads: int = 2) -> None:
        """
        Make one.

        :param observation: S, width of the features that stand for the state.
        :param action: A.
        :param horizon: h, points of a chunk.
        :raises ValueError: If the width cannot be divided among the heads.
        """
        super().__init__()
        if width % heads:
            raise ValueError(f'width is {width}, expected a multiple of heads {heads}')
        self.members, self.horizon, self._width = members, horizon, width
        self.state = StackedLinear(members, observation, width)
        self.point = StackedLinear(members, action, width)
        self.places = nn.Parameter(torch.randn(members, 1, horizon + 1, width) * 0.02)
        self.layers = nn.ModuleList(CausalLayer(members, width, heads) for _ in range(layers))
        self.norm, self.value = StackedNorm(members, width), StackedLinear(members, width, 1)

    def forward(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        """
        Return the values (K, B, h): element i is of the first i + 1 points of the chunk.

        :param observation: (B, S).
        :param chunk: (B, h, A); or (B, N, h, A), N chunks for each state: then (K, B, N, h).
        """
        tokens, shape = self.horizon + 1, chunk.shape[:-1]
        state = self.state(observation.expand(self.members, -1, -1))
        chunk = chunk.reshape(-1, *chunk.shape[-2:])
        # One state token for all chunks of a state.
        state = state.repeat_interleave(len(chunk) // len(observation), dim=1)
        points = self.point(chunk.flatten(0, 1).expand(self.members, -1, -1)).unflatten(
            1, (-1, self.horizon))
        x = (torch.cat([state[:, :, None], points], dim=2) + self.places).flatten(1, 2)
        for layer in self.layers:
            x = layer(x, tokens)
        # The state's own token has no action to value.
        ends = x.unflatten(1, (-1, tokens))[:, :, 1:].flatten(1, 2)
        values: torch.Tensor = self.value(self.norm(ends)).view(self.members, *shape)
        return values

    def given(self, observation: torch.Tensor, learns: bool = True) -> PrefixValues:
        """
        Return the critic at ``observation`` (B, S): chunks (B, ..., h, A) to (K, B, ..., h).

        :param learns: False: gradients reach the chunk and not the critic.
        """
        if learns:
            return lambda chunk: self.forward(observation, chunk)
        held = {name: weight.detach() for name, weight in self.named_parameters()}
        return lambda chunk: torch.func.functional_call(self, held, (observation, chunk))
