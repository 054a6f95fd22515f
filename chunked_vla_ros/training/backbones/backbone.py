"""
The one small interface behind which every backbone stands, and the choice among them.

A backbone's own module is imported when it is chosen: transformers takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn

from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import COMPACT, EFFICIENTNET, VlaConfig


class Seen(NamedTuple):
    """
    What a robot sees and is told.

    :ivar tokens: (B, T, width).
    :ivar mask: (B, T) bool, where they may be looked at.
    :ivar places: (B, C, P), where what is spoken of is in each camera's image; ``None``: not told.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    places: torch.Tensor | None = None


class Backbone(Protocol):
    """
    A network from what a robot sees and is told to context tokens.

    :ivar places: How many numbers `Seen.places` has of each camera; 0: none.
    """

    places: int

    def __call__(self, images: Sequence[torch.Tensor], present: torch.Tensor,
                 tokens: torch.Tensor, tokens_mask: torch.Tensor) -> Seen:
        """
        Return what is seen and said.

        :param images: One (B, height, width, 3) float in 0..1, RGB, for each camera.
        :param present: (B, C) bool, False where a camera's image is not there.
        :param tokens: (B, L) int64.
        :param tokens_mask: (B, L) bool, False for padding; all False: no instruction.
        """
        ...


def make_backbone(config: VlaConfig, shape: PolicyShape) -> nn.Module:
    """
    Return the backbone that ``config`` names, a `Backbone`.

    :raises ValueError: one line, if it cannot be made.
    """
    if config.backbone == COMPACT:
        from chunked_vla_ros.training.backbones.compact import CompactBackbone
        return CompactBackbone(config, shape)
    if config.backbone == EFFICIENTNET:
        from chunked_vla_ros.training.backbones.efficientnet_lite0 import EfficientNetBackbone
        made: nn.Module = EfficientNetBackbone(config, shape)
        return made
    from chunked_vla_ros.training.backbones.transformers_model import TransformersBackbone
    chosen: nn.Module = TransformersBackbone(config, shape)
    return chosen
