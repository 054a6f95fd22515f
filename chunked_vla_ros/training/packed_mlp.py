"""
Perceptrons on a processor for very many rows, where no gradient is wanted.

Weights are laid out once as oneDNN likes them, gelu is computed inside the matrix product, and
rows go in blocks that stay in a core's cache: with all candidates of a batch in one go, adding a
bias takes as long as multiplying. Gives what `q_networks.StackedMlp` gives, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chunked_vla_ros.training.tanh_gelu import tanh_gelu

# What a core's cache holds of 512 features and 4 bytes, with the weights beside it.
ROWS_AT_ONCE = 512
# For fewer, one after another, laying out the weights costs more than it gains.
FEWEST_ROWS = 512


def can_pack(x: torch.Tensor, rows: int) -> bool:
    """Return whether rows like ``x`` are better computed here, ``rows`` by now."""
    return (rows >= FEWEST_ROWS and x.device.type == 'cpu' and x.dtype == torch.float32
            and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
            and torch.backends.mkldnn.is_available())


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
