"""
EfficientNet-Lite0 as an image encoder: the layers before its classifier.

Tan and Le 2019 (EfficientNet), in the Lite variant of TensorFlow's TPU models (2020): no squeeze
and excitation, ReLU6, stem not scaled. The file is the shape of the network and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
import math
from types import MappingProxyType

import torch
from torch import nn

# Kernel, stride, expansion, output channels, repeats of each stage (EfficientNet-B0, table 1).
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
          (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))
STEM = 32
# Of the batch norms of TensorFlow's implementation.
EPSILON = 1e-3
NOTHING: Mapping[int, nn.Module] = MappingProxyType({})


class FixedNorm(nn.Module):
    """
    Batch norm with statistics that stay as published; scale and bias learn.

    Frames of a few demonstrations are nearly alike: statistics of such batches say what this batch
    shows, differ from those of a single image at inference, and depend on how many processes share
    a batch. The published ones are of 1.3 million pictures. At export they become part of the
    convolution before.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer('running_mean', torch.zeros(features))
        self.register_buffer('running_var', torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` (B, features, h, w), normalised."""
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPSILON)


class SameConvolution(nn.Conv2d):
    """A convolution that pads as TensorFlow's ``SAME`` does: an odd pixel at right and bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1,
                 groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, outputs, ceil(h / stride), ceil(w / stride))."""
        amounts = []
        for side in (x.shape[-1], x.shape[-2]):
            kernel, stride = self.kernel_size[0], self.stride[0]
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            amounts += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(x, amounts) if any(amounts) else x)


class InvertedBottleneck(nn.Module):
    """Widen, convolve each channel by itself, narrow (Sandler et al. 2018, MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int,
                 expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self._widens = expansion > 1
        if self._widens:
            self.expand, self.expand_norm = SameConvolution(inputs, inner, 1), FixedNorm(inner)
        self.depthwise = SameConvolution(inner, inner, kernel, stride, groups=inner)
        self.depthwise_norm = FixedNorm(inner)
        self.project, self.project_norm = SameConvolution(inner, outputs, 1), FixedNorm(outputs)
        self._shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (B, outputs, h / stride, w / stride) of ``x``."""
        y = x
        if self._widens:
            y = nn.functional.relu6(self.expand_norm(self.expand(y)))
        y = nn.functional.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self._shortcut else y


class Lite0(nn.Module):
    """Images to feature maps; 2.96 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = SameConvolution(3, STEM, 3, 2), FixedNorm(STEM)
        self.blocks = nn.ModuleList()
        self._ends: dict[int, int] = {}
        inputs = STEM
        for stage, (kernel, stride, expansion, outputs, repeats) in enumerate(STAGES):
            for repeat in range(repeats):
                self.blocks.append(InvertedBottleneck(
                    inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
                inputs = outputs
            self._ends[len(self.blocks) - 1] = stage
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Each output sums up so many products: without it signals would fade away.
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / module.weight[0].numel()))

    def forward(self, x: torch.Tensor, conditions: Mapping[int, nn.Module] = NOTHING,
                gist: torch.Tensor | None = None) -> list[torch.Tensor]:
        """
        Return the feature map after each stage, finest first.

        :param x: (B, 3, h, w), in 0..1.
        :param conditions: By number of a stage: what its map goes through, together with ``gist``.
        """
        # MEAN_RGB 127 and STDDEV_RGB 128 of efficientnet_lite_builder.py in TensorFlow's TPU
        # models, for values in 0..255.
        x = nn.functional.relu6(self.stem_norm(self.stem((x * 255.0 - 127.0) / 128.0)))
        maps: list[torch.Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self._ends:
                condition = conditions.get(self._ends[index])
                x = x if condition is None else condition(x, gist)
                maps.append(x)
        return maps
