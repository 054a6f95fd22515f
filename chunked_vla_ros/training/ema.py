"""
A running mean of the weights: smoother than the last ones, and what is exported.

Knows nothing about what the network computes.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

# So early the mean would hardly leave the random weights of the beginning.
EARLY = 10


class RunningMean:
    """
    The exponential moving average of a network's weights, itself a network.

    Weights that are not trained are shared with the original; buffers are copied.

    :ivar network: In evaluation mode, without gradients.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        frozen = {id(one): one for one in network.parameters() if not one.requires_grad}
        self._decay = decay
        self.network = copy.deepcopy(network, memo=dict(frozen)).eval()
        self._pairs: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for mean, weight in zip(self.network.parameters(), network.parameters(), strict=True):
            if weight.requires_grad:
                mean.requires_grad_(False)
                self._pairs[0].append(mean)
                self._pairs[1].append(weight)
        self._buffers = list(zip(self.network.buffers(), network.buffers(), strict=True))

    def share_kept(self, updates: int) -> float:
        """Return which share of the mean the update number ``updates``, from 1, keeps."""
        return min(self._decay, updates / (updates + EARLY))

    def update(self, updates: int) -> None:
        """Move the mean towards the weights after update number ``updates``, counted from 1."""
        means, weights = self._pairs
        with torch.no_grad():
            if means:
                torch._foreach_lerp_(means, weights, 1.0 - self.share_kept(updates))
            for mean, value in self._buffers:
                mean.copy_(value)
