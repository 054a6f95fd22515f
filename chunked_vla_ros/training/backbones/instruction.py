"""A small encoder of instructions, for backbones without a language model of their own."""

from __future__ import annotations

import torch
from torch import nn

from chunked_vla_ros.training.layers import EncoderLayer


class InstructionEncoder(nn.Module):
    """Words with their places through one transformer layer; learnt from scratch."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(1, length, width) * 0.02)
        # Seen where nothing is said, so that attention always has something to look at.
        self.silence = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.layer = EncoderLayer(width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor,
                ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Return words (B, L + 1, width), where they are (B, L + 1), and their gist (B, width).

        :param tokens: (B, L) int64.
        :param mask: (B, L) bool, False for padding.
        """
        words = self.words(tokens) + self.places
        silence = self.silence.expand(len(tokens), -1, -1)
        present = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        told = self.norm(self.layer(torch.cat([silence, words], dim=1), present))
        weights = present[..., None].to(told.dtype)
        gist = (told * weights).sum(dim=1) / weights.sum(dim=1)
        return told, present, gist
