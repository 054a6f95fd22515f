"""
The backbone for few demonstrations on a CPU: small convolutions that are told what to look for.

Each camera has its own convolutions. The instruction scales and shifts their features (FiLM, Perez
et al. 2018) and asks for places: its words are turned into weights of features, and where those
are found is a place in the image finer than a pixel (spatial soft-argmax, Finn et al. 2016). Other
places are looked for whatever is said, such as the gripper's. Tokens are these places and coarse
patches of each image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chunked_vla_ros.training.backbones.image_features import soft_places
from chunked_vla_ros.training.backbones.instruction import InstructionEncoder
from chunked_vla_ros.training.layers import FilmLayer
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig

CHANNELS = (24, 32, 64)
# Places of each image that are looked for whatever is said, and that words ask for.
KEYPOINTS, ASKED = 16, 16
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


class CameraEncoder(nn.Module):
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
        self.questions = nn.Linear(width, ASKED * middle)
        self.heat = nn.Parameter(torch.tensor(2.0))
        self.keypoints = nn.Sequential(
            nn.Linear(2 * (KEYPOINTS + ASKED), width), nn.SiLU(), nn.Linear(width, width))
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
        questions = self.questions(gist).unflatten(-1, (ASKED, -1))
        asked = (questions @ x.flatten(2)).unflatten(-1, x.shape[-2:])
        keypoints = self.keypoints(soft_places(
            torch.cat([self.maps(x) + around, asked], dim=1), self.heat))
        patches = self.patches(self.pool(y).flatten(2).transpose(1, 2))
        tokens: torch.Tensor = torch.cat([keypoints[:, None], patches], dim=1) + self.places
        return tokens


class CompactBackbone(nn.Module):
    """Images of every camera and the instruction to tokens; everything learnt from scratch."""

    def __init__(self, config: VlaConfig, shape: PolicyShape) -> None:
        super().__init__()
        self.instruction = InstructionEncoder(
            shape.vocabulary, shape.token_length, config.width, config.heads)
        self.cameras = nn.ModuleList(CameraEncoder(config.width) for _ in shape.cameras)

    def forward(self, images: Sequence[torch.Tensor], present: torch.Tensor,
                tokens: torch.Tensor, tokens_mask: torch.Tensor,
                ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return context and mask as `Backbone` says."""
        words, are_words, gist = self.instruction(tokens, tokens_mask)
        seen, masks = [words], [are_words]
        for index, (camera, image) in enumerate(zip(self.cameras, images, strict=True)):
            told = camera(image, gist)
            seen.append(told)
            masks.append(present[:, index:index + 1].expand(-1, told.shape[1]))
        return torch.cat(seen, dim=1), torch.cat(masks, dim=1)
