"""
CLIP and its like (Radford et al. 2021; SigLIP, Zhai et al. 2023): one tower sees, one reads.

Neither tower knows of the other; the layers after this backbone bring them together. What the
models compare pictures and texts with is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from chunked_vla_ros.training.backbones.model_folder import ModelFolder

# Parts of the towers behind the last hidden state: they would never get a gradient.
BEHIND = {'clip': ('vision.post_layernorm.',), 'siglip': ('vision.head.', 'text.head.')}


class DualEncoderReader(nn.Module):
    """Pictures through the one tower, tokens through the other, side by side."""

    def __init__(self, model: Any, folder: ModelFolder, cameras: int, width: int) -> None:
        """Take the towers of the model."""
        super().__init__()
        self.model = nn.ModuleDict({'vision': model.vision_model, 'text': model.text_model})
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(not name.startswith(BEHIND[folder.kind]))
        seen = folder.config.vision_config.hidden_size
        read = folder.config.text_config.hidden_size
        self.project_seen = nn.Sequential(nn.LayerNorm(seen), nn.Linear(seen, width))
        self.project_read = nn.Sequential(nn.LayerNorm(read), nn.Linear(read, width))
        # Which camera a token is of: the tower is the same for all.
        self.cameras = nn.Parameter(torch.randn(cameras, width) * 0.02)

    def forward(self, pictures: Sequence[torch.Tensor], present: torch.Tensor,
                tokens: torch.Tensor, tokens_mask: torch.Tensor,
                ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return context (B, T, width) and mask (B, T).

        :param pictures: One (B, 3, S, S), normalised, for each camera.
        """
        # Something has to be read for the attention not to be empty; the context stays masked.
        read = torch.cat([torch.ones_like(tokens_mask[:, :1]), tokens_mask[:, 1:]], dim=1)
        told = self.model['text'](input_ids=tokens, attention_mask=read.long()).last_hidden_state
        words, masks = [self.project_read(told)], [tokens_mask]
        seen = self.model['vision'](pixel_values=torch.cat(list(pictures))).last_hidden_state
        for index, one in enumerate(self.project_seen(seen).split(len(tokens))):
            words.append(one + self.cameras[index])
            masks.append(present[:, index:index + 1].expand(-1, one.shape[1]))
        return torch.cat(words, dim=1), torch.cat(masks, dim=1)
