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
    """Keeps the gate, so that the derivative needs no exponential of its own."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        gate = _gate(x)
        context.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, gate = context.saved_tensors
        # gate + x gate (1 - gate) (A + 3 B x^2)
        slope = torch.addcmul(_a(x), x, x, value=3.0 * B).mul_(x)
        return slope.mul_(torch.addcmul(gate, gate, gate, value=-1.0)).add_(gate).mul_(gradient)


def _gate(x: torch.Tensor) -> torch.Tensor:
    """Return sigmoid(A x + B x^3), in passes that write where they read."""
    return torch.addcmul(_a(x), x, x, value=B).mul_(x).sigmoid_()


def _a(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(A, dtype=x.dtype)
