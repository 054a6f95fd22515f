"""
Perceptrons of a stack on a processor, one by one, and packed for very many rows.

A GPU is best given all members at once. A processor multiplies their matrices one after another
in any case; one by one, what a layer makes still lies in the core's cache when the next operation
reads it. For very many rows, where no gradient is wanted, weights are laid out once as oneDNN
likes them, gelu is computed inside the matrix product, and rows go in blocks that stay in the
cache. Gives what `q_networks.GivenMlp` gives, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from chunked_vla_ros.training.tanh_gelu import tanh_gelu

# What a core's cache holds of 512 features and 4 bytes, with the weights beside it.
ROWS_AT_ONCE = 512
# For fewer, one after another, laying out the weights costs more than it gains.
FEWEST_ROWS = 4096


def is_by_member(x: torch.Tensor) -> bool:
    """Return whether members that see ``x`` are better computed one by one."""
    return x.device.type == 'cpu' and not torch.compiler.is_compiling()


def can_pack(x: torch.Tensor, rows: int) -> bool:
    """Return whether rows like ``x`` are better computed here, ``rows`` by now."""
    return (rows >= FEWEST_ROWS and x.device.type == 'cpu' and x.dtype == torch.float32
            and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
            and torch.backends.mkldnn.is_available())


@dataclass(frozen=True)
class MemberWeights:
    """
    The weights of one member, gelu (and layer norm) between its layers.

    :ivar parts: Of the first layer: (part, H) of each part of the input.
    :ivar weights: (before, after) of each layer after the first.
    :ivar biases: (after,) of each layer.
    :ivar norms: Scale and shift (H,) of the norm after each layer but the last; empty: no norm.
    """

    parts: Sequence[torch.Tensor]
    weights: Sequence[torch.Tensor]
    biases: Sequence[torch.Tensor]
    norms: Sequence[tuple[torch.Tensor, torch.Tensor]]
    epsilon: float


class MemberMlp:
    """
    A member at the first part of its input, which B states share with all their candidates.

    To be used until the weights change, and no longer.
    """

    def __init__(self, weights: MemberWeights, x: torch.Tensor) -> None:
        """:param x: (B, part)."""
        self._weights = weights
        self._seen = torch.addmm(weights.biases[0], x, weights.parts[0])
        self._packed: PackedMlp | None = None
        self._rows = 0

    def __call__(self, x: torch.Tensor, time: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the answer (B, ..., outputs).

        :param x: (B, part), or (B, N, part) of N candidates each.
        :param time: A third part of one feature, () or (B,).
        """
        seen = self._seen
        if time is not None:
            seen = seen + time.reshape(-1, 1) * self._weights.parts[2]
        self._rows += x.shape[:-1].numel()
        if can_pack(x, self._rows):
            return self._in_blocks(seen, x)
        return self._rest(self._first(seen, x)).unflatten(0, x.shape[:-1])

    def _first(self, seen: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the first layer's answer (rows, H)."""
        if x.dim() == 2:
            return torch.addmm(seen, x, self._weights.parts[1])
        added = torch.mm(x.flatten(0, 1), self._weights.parts[1])
        return added.unflatten(0, x.shape[:2]).add_(seen.unsqueeze(1)).flatten(0, 1)

    def _rest(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answer (rows, outputs) to the first layer's ``x`` (rows, H)."""
        own = self._weights
        for index, weight in enumerate(own.weights):
            x = tanh_gelu(x)
            if own.norms:
                x = nn.functional.layer_norm(x, x.shape[-1:], *own.norms[index], own.epsilon)
            x = torch.addmm(own.biases[index + 1], x, weight)
        return x

    def _in_blocks(self, seen: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        own = self._weights
        self._packed = self._packed or PackedMlp(
            own.weights, own.biases[1:], own.norms, own.epsilon)
        states = max(1, ROWS_AT_ONCE // x.shape[1:-1].numel())
        blocks = [self._packed(self._first(seen_part, part)) for seen_part, part in zip(
            seen.split(states), x.split(states), strict=True)]
        return torch.cat(blocks).unflatten(0, x.shape[:-1])


class PackedMlp:
    """The layers after the first, of one member, with gelu (and layer norm) before each."""

    def __init__(self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor],
                 norms: Sequence[tuple[torch.Tensor, torch.Tensor]], epsilon: float) -> None:
        """
        Lay out the weights as they are now.

        :param weights: (before, after) of each layer.
        :param biases: (after,) of each.
        :param norms: Scale and shift (before,) of the norm before each layer; empty: no norm.
        """
        self._epsilon = epsilon if norms else None
        if norms:
            # Scaling and shifting what goes into a layer is another layer's weights and bias.
            biases = [torch.addmv(bias, weight.t(), shift)
                      for weight, bias, (_, shift) in zip(weights, biases, norms, strict=True)]
            weights = [scale[:, None] * weight
                       for weight, (scale, _) in zip(weights, norms, strict=True)]
        self._layers = [(_laid_out(weight), bias)
                        for weight, bias in zip(weights, biases, strict=True)]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the answer (rows, after) to the first layer's ``x`` (rows, before)."""
        x = self._normed(tanh_gelu(x))
        for weight, bias in self._layers[:-1]:
            x = self._normed(_linear(x, weight, bias, 'gelu'))
        return _linear(x, *self._layers[-1], 'none')

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        if self._epsilon is None:
            return x
        return nn.functional.layer_norm(x, x.shape[-1:], eps=self._epsilon)


# What torch.compile makes of a linear layer on a processor; torch has no public name for them.
def _laid_out(weight: torch.Tensor) -> torch.Tensor:
    """Return ``weight`` (before, after) in oneDNN's order for blocks of rows."""
    return torch.ops.mkldnn._reorder_linear_weight(  # noqa: SLF001
        weight.t().contiguous(), ROWS_AT_ONCE)


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, then: str) -> torch.Tensor:
    """Return ``then`` (gelu by its tanh approximation, or none) of a linear layer."""
    return torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001
        x, weight, bias, then, [], 'tanh')
