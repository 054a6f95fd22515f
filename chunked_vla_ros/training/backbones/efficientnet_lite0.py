"""
The backbone of pretrained convolutions: EfficientNet-Lite0, told by the instruction what to see.

One image encoder for all cameras, as pictures are pictures; what is made of its features is each
camera's own. The instruction scales and shifts features between its stages, at first by nothing,
so that training starts from the published network (RT-1, Brohan et al. 2022, section 5.1). Images
keep the contract's size up to 447 pixels; the published network saw 224x224.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.training.backbones.backbone import Seen
from chunked_vla_ros.training.backbones.image_features import (
    channels_first,
    shrunk_size,
    soft_places,
)
from chunked_vla_ros.training.backbones.instruction import InstructionEncoder
from chunked_vla_ros.training.backbones.lite0 import Lite0, STAGES
from chunked_vla_ros.training.backbones.lite0_weights import published_weights
from chunked_vla_ros.training.layers import FilmLayer
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig

PUBLISHED_SIZE = 224
KEYPOINTS = 32
# Stages after which the instruction speaks, and whose maps are used: 8, 16 and 32 pixels a cell.
FINE, MIDDLE, COARSE = 2, 4, 6
CELL = 32


class CameraTokens(nn.Module):
    """One camera's feature maps to tokens: coarse patches, and where each feature is."""

    def __init__(self, camera: BundleCamera, width: int) -> None:
        super().__init__()
        across, down = (-(-side // CELL) for side in shrunk_size(
            camera.width, camera.height, PUBLISHED_SIZE))
        self.maps = nn.Conv2d(STAGES[FINE][3], KEYPOINTS, 1)
        self.context = nn.Conv2d(STAGES[MIDDLE][3], KEYPOINTS, 1)
        self.heat = nn.Parameter(torch.tensor(2.0))
        self.keypoints = nn.Sequential(
            nn.Linear(2 * KEYPOINTS, width), nn.SiLU(), nn.Linear(width, width))
        self.patches = nn.Linear(STAGES[COARSE][3], width)
        self.norm = nn.LayerNorm(width)
        self.places = nn.Parameter(torch.randn(1, across * down + 1, width) * 0.02)

    def forward(self, seen: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return tokens (B, patches + 1, width) of the maps that `Lite0` gives."""
        fine = self.maps(seen[FINE])
        # What is around decides which of two like spots is meant.
        around = nn.functional.interpolate(
            self.context(seen[MIDDLE]), size=fine.shape[-2:], mode='bilinear',
            align_corners=False)
        keypoints = self.keypoints(soft_places(fine + around, self.heat))
        patches = self.norm(self.patches(seen[COARSE].flatten(2).transpose(1, 2)))
        tokens: torch.Tensor = torch.cat([keypoints[:, None], patches], dim=1) + self.places
        return tokens


class EfficientNetBackbone(nn.Module):
    """
    Images of every camera and the instruction to tokens; the image encoder comes pretrained.

    With ``pretrained`` false it starts from chance, or is about to be filled from a checkpoint.

    :raises ValueError: one line, if the published weights are wanted and not there.
    """

    places = 0

    def __init__(self, config: VlaConfig, shape: PolicyShape) -> None:
        super().__init__()
        self.instruction = InstructionEncoder(
            shape.vocabulary, shape.token_length, config.width, config.heads)
        self.encoder = Lite0()
        if config.pretrained:
            self.encoder.load_state_dict(published_weights())
        self.told = nn.ModuleList(
            FilmLayer(config.width, STAGES[stage][3]) for stage in (FINE, MIDDLE, COARSE))
        self.cameras = nn.ModuleList(
            CameraTokens(camera, config.width) for camera in shape.cameras)

    def forward(self, images: Sequence[torch.Tensor], present: torch.Tensor,
                tokens: torch.Tensor, tokens_mask: torch.Tensor) -> Seen:
        """Return context and mask as `Backbone` says."""
        words, are_words, gist = self.instruction(tokens, tokens_mask)
        told = dict(zip((FINE, MIDDLE, COARSE), self.told, strict=True))
        seen, masks = [words], [are_words]
        for index, (camera, image) in enumerate(zip(self.cameras, images, strict=True)):
            features = camera(self.encoder(channels_first(image, PUBLISHED_SIZE), told, gist))
            seen.append(features)
            masks.append(present[:, index:index + 1].expand(-1, features.shape[1]))
        return Seen(torch.cat(seen, dim=1), torch.cat(masks, dim=1))
