"""
The backbone for few demonstrations on a CPU: places of colours that words ask for, and shapes.

The instruction asks each camera for places: its words are turned into weights of colours, and
where those are found is a place in the image, finer than a pixel (spatial soft-argmax, Finn et
al. 2016). A colour alone says little, so that fifty scenes cannot be learnt by heart with it, and
a new one is seen as well. Shapes are small convolutions that the instruction scales and shifts
(FiLM, Perez et al. 2018): places whatever is said, such as the gripper's, and coarse patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chunked_vla_ros.training.backbones.backbone import Seen
from chunked_vla_ros.training.backbones.image_features import channels_first, soft_places
from chunked_vla_ros.training.backbones.instruction import InstructionEncoder
from chunked_vla_ros.training.layers import FilmLayer, PLACES_PACE
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig

CHANNELS = (24, 32, 64)
# Places of each image that are looked for whatever is said, and that words ask for.
KEYPOINTS, ASKED = 16, 4
# Colours are looked for in the mean of squares of pixels, at most twice as many each way.
COLOUR_MAP = 56
# Shades of red, of green and of blue that colours are told apart by.
SHADES = 4
# The table is a part of the image: places on it differ by a part of -1..1.
PLACE_GAIN = 4.0
GROUPS = 8
# Patches seen of each image, each way.
PATCHES = 4


class ConditionedConvolution(nn.Module):
    """A convolution, normalised, told what matters, with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, condition: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.film = FilmLayer(condition, outputs)
        self._shortcut = inputs == outputs and stride == 1

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return features (B, outputs, h, w) of ``x``, conditioned on (B, condition)."""
        y = nn.functional.silu(self.film(self.norm(self.convolution(x)), condition))
        return x + y if self._shortcut else y


def shades_of(image: torch.Tensor) -> torch.Tensor:
    """
    Return how much of each colour of a lattice there is, (B, SHADES^3, h, w).

    The weights by which a table of colours is interpolated (trilinear, as a 3D lookup table of
    film is): linear in what is to be learnt, where colours mixed by layers are found by luck.

    :param image: (B, 3, h, w) in 0..1.
    """
    lattice = torch.linspace(0.0, 1.0, SHADES, device=image.device, dtype=image.dtype)
    # Colours last, as images come, makes what is four times slower: products and a copy of them.
    image = image.contiguous()
    away = (image[:, :, None] - lattice[:, None, None]).abs() * (SHADES - 1)
    red, green, blue = (1.0 - away).clamp(min=0.0).unbind(dim=1)
    mixed = red[:, :, None, None] * green[:, None, :, None] * blue[:, None, None]
    return mixed.flatten(1, 3)


class ColourPlaces(nn.Module):
    """Where one camera sees the colours that are asked for."""

    pace = PLACES_PACE

    def __init__(self, width: int) -> None:
        super().__init__()
        self.questions = nn.Linear(width, ASKED * SHADES ** 3)
        self.heat = nn.Parameter(torch.tensor(1.0))

    def forward(self, image: torch.Tensor, gist: torch.Tensor) -> torch.Tensor:
        """
        Return across and down (B, 2 ASKED) of each, about -1..1.

        :param image: (B, height, width, 3) in 0..1.
        :param gist: (B, width), what the instruction is about.
        """
        # Of one point each, not of what is around it.
        x = shades_of(channels_first(image, COLOUR_MAP))
        questions = self.questions(gist).unflatten(-1, (ASKED, -1))
        asked = (questions @ x.flatten(2)).unflatten(-1, x.shape[-2:])
        return soft_places(asked, self.heat) * PLACE_GAIN


class ShapeEncoder(nn.Module):
    """One camera's image to patch tokens and one token of keypoints."""

    def __init__(self, width: int) -> None:
        super().__init__()
        small, middle, large = CHANNELS
        self.stem = nn.Sequential(
            nn.Conv2d(3, small, 5, 4, padding=2, bias=False), nn.GroupNorm(GROUPS, small),
            nn.SiLU())
        self.fine = nn.ModuleList([
            ConditionedConvolution(small, middle, 2, width),
            ConditionedConvolution(middle, middle, 1, width)])
        self.coarse = nn.ModuleList([
            ConditionedConvolution(middle, large, 2, width),
            ConditionedConvolution(large, large, 1, width)])
        self.maps = nn.Conv2d(middle, KEYPOINTS, 1)
        self.context = nn.Conv2d(large, KEYPOINTS, 1)
        self.heat = nn.Parameter(torch.tensor(2.0))
        self.keypoints = nn.Sequential(
            nn.Linear(2 * KEYPOINTS, width), nn.SiLU(), nn.Linear(width, width))
        self.pool = nn.AdaptiveAvgPool2d(PATCHES)
        self.patches = nn.Linear(large, width)
        self.places = nn.Parameter(torch.randn(1, PATCHES * PATCHES + 1, width) * 0.02)

    def forward(self, image: torch.Tensor, gist: torch.Tensor) -> torch.Tensor:
        """
        Return tokens (B, PATCHES^2 + 1, width).

        :param image: (B, height, width, 3) in 0..1.
        :param gist: (B, width), what the instruction is about.
        """
        x = self.stem(image.permute(0, 3, 1, 2) * 4.0 - 2.0)
        for layer in self.fine:
            x = layer(x, gist)
        y = x
        for layer in self.coarse:
            y = layer(y, gist)
        # What is around decides which of two like spots is meant.
        around = nn.functional.interpolate(
            self.context(y), size=x.shape[-2:], mode='bilinear', align_corners=False)
        keypoints = self.keypoints(soft_places(self.maps(x) + around, self.heat))
        patches = self.patches(self.pool(y).flatten(2).transpose(1, 2))
        tokens: torch.Tensor = torch.cat([keypoints[:, None], patches], dim=1) + self.places
        return tokens


class CompactBackbone(nn.Module):
    """Images of every camera and the instruction to tokens; everything learnt from scratch."""

    def __init__(self, config: VlaConfig, shape: PolicyShape) -> None:
        super().__init__()
        self.places = 2 * ASKED if shape.cameras else 0
        self.instruction = InstructionEncoder(
            shape.vocabulary, shape.token_length, config.width, config.heads)
        self.colours = nn.ModuleList(ColourPlaces(config.width) for _ in shape.cameras)
        self.tell = nn.ModuleList(nn.Sequential(
            nn.Linear(2 * ASKED, config.width), nn.SiLU(),
            nn.Linear(config.width, config.width)) for _ in shape.cameras)
        self.shapes = nn.ModuleList(
            ShapeEncoder(config.width) for _ in shape.cameras if config.shapes)

    def forward(self, images: Sequence[torch.Tensor], present: torch.Tensor,
                tokens: torch.Tensor, tokens_mask: torch.Tensor) -> Seen:
        """Return what is seen as `Backbone` says."""
        words, are_words, gist = self.instruction(tokens, tokens_mask)
        places = [colours(image, gist) * present[:, index:index + 1] for index, (colours, image)
                  in enumerate(zip(self.colours, images, strict=True))]
        # Found for the waypoint's sake: what actions would like to see is the arm's own motion.
        seen = [tell(found.detach())[:, None]
                for tell, found in zip(self.tell, places, strict=True)]
        if self.shapes:
            seen = [torch.cat([told, shapes(image, gist)], dim=1) for told, shapes, image
                    in zip(seen, self.shapes, images, strict=True)]
        masks = [present[:, index:index + 1].expand(-1, told.shape[1])
                 for index, told in enumerate(seen)]
        return Seen(torch.cat([words, *seen], dim=1), torch.cat([are_words, *masks], dim=1),
                    torch.stack(places, dim=1) if places else None)
