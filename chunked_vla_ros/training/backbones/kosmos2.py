"""
Kosmos-2 (Peng et al. 2023), the backbone of CO-RFT: pictures as words of a prompt.

``<s> <image> 64 tokens </image> ... instruction``, as its processor writes it, one such group for
each camera. Every hidden state of the text model is context for the action expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from chunked_vla_ros.training.backbones.model_folder import ModelFolder

# Around the tokens of each picture.
DELIMITERS = ('<image>', '</image>')


class Kosmos2Reader(nn.Module):
    """Pictures and tokens through Kosmos-2."""

    def __init__(self, model: Any, folder: ModelFolder, cameras: int, width: int) -> None:
        """Take the model; pictures have their order in the prompt, whatever ``cameras``."""
        super().__init__()
        self.model = model
        text = folder.config.text_config
        numbers = [int(text.bos_token_id), *folder.special_tokens(DELIMITERS)]
        self._delimited = len(numbers) > 1
        self.register_buffer('delimiters', torch.tensor(numbers), persistent=False)
        self.project = nn.Sequential(
            nn.LayerNorm(text.embed_dim), nn.Linear(text.embed_dim, width))

    def forward(self, pictures: Sequence[torch.Tensor], present: torch.Tensor,
                tokens: torch.Tensor, tokens_mask: torch.Tensor,
                ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return context (B, T, width) and mask (B, T).

        :param pictures: One (B, 3, S, S), normalised, for each camera.
        """
        batch = len(tokens)
        embed = self.model.get_input_embeddings()
        delimiters = embed(self.delimiters)[None].expand(batch, -1, -1)
        there = torch.ones_like(tokens_mask[:, :1])
        # The first token is always there: no row of the attention is empty.
        words, masks = [delimiters[:, :1]], [there]
        for index, seen in enumerate(self._see(torch.cat(list(pictures))).split(batch)):
            group = [delimiters[:, 1:2], seen, delimiters[:, 2:]] if self._delimited else [seen]
            words += group
            masks.append(present[:, index:index + 1].expand(
                -1, sum(part.shape[1] for part in group)))
        words.append(embed(tokens))
        mask = torch.cat([*masks, tokens_mask], dim=1)
        told = self.model.text_model(
            inputs_embeds=torch.cat(words, dim=1), attention_mask=mask.long(), use_cache=False)
        context: torch.Tensor = self.project(told.last_hidden_state)
        return context, mask

    def _see(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return (N, latent queries, text width) of N pictures, as the model's own method does."""
        seen = self.model.vision_model(pixel_values=pictures).last_hidden_state
        seen = nn.functional.normalize(self.model.vision_model.model.post_layernorm(seen), dim=-1)
        projected: torch.Tensor = self.model.image_to_text_projection(seen)[0]
        return projected
