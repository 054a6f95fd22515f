"""
What backbones share of images: shrinking large ones, and where in a map something is.

Knows no network and no camera.
"""

from __future__ import annotations

import torch
from torch import nn

# A map that is the same everywhere stays so.
SMALLEST_SPREAD = 1e-3


def channels_first(image: torch.Tensor, longest: int) -> torch.Tensor:
    """
    Return ``image`` (B, height, width, 3) as (B, 3, h, w), shrunk if it is too large.

    Shrunk by the mean of whole squares of pixels, which loses no thin edge as sampling does.

    :param longest: Pixels; a side of twice as many or more is shrunk.
    """
    x = image.permute(0, 3, 1, 2)
    factor = max(image.shape[1], image.shape[2]) // longest
    return nn.functional.avg_pool2d(x, factor, ceil_mode=True) if factor > 1 else x


def shrunk_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Return width and height of what `channels_first` makes of an image."""
    factor = max(1, max(width, height) // longest)
    return -(-width // factor), -(-height // factor)


def soft_places(maps: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """
    Return x and y in -1..1, (B, 2 K), of the soft maximum of each of K ``maps`` (B, K, h, w).

    The spatial soft-argmax of Finn et al. 2016 (Deep Spatial Autoencoders): finer than a pixel.
    Each map is standardised first: a small object stands out from the start, where the plain one
    answers the middle of the image and learns slowly.

    :param heat: Scalar; the larger, the harder the maximum.
    """
    height, width = maps.shape[-2:]
    flat = maps.flatten(2).float()
    spread = flat.std(dim=-1, keepdim=True) + SMALLEST_SPREAD
    share = torch.softmax((flat - flat.mean(dim=-1, keepdim=True)) / spread * heat, dim=-1)
    across = torch.linspace(-1.0, 1.0, width, device=maps.device).repeat(height)
    down = torch.linspace(-1.0, 1.0, height, device=maps.device).repeat_interleave(width)
    return torch.cat([share @ across, share @ down], dim=-1).to(maps.dtype)
