"""
The policy that makes N chunks and does the one its critic likes best (Q-chunking's QC).

One network from observation to targets, so that a bundle is still asked once. Legend: N chunks, H
points of the policy's chunk, h of the critic's, J joints, K critics. Knows no training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.q_networks import ChunkCritic
from chunked_vla_ros.training.vla import Vla
from chunked_vla_ros.training.vla_observation import critic_chunk, critic_observation


class ChunkJudge(nn.Module):
    """
    What a critic makes of a policy's chunks.

    :ivar points: Of a chunk, the first h, that it judges.
    """

    def __init__(self, critic: ChunkCritic, points: int, kind: ValueKind) -> None:
        super().__init__()
        self.critic, self.points, self._kind = critic, points, kind

    def forward(self, observation: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        """Return the mean value (N,) over critics of ``chunks`` (N, h, J) at one (1, S)."""
        told = torch.cat(
            [observation.expand(len(chunks), -1), chunks.flatten(1)], dim=1)
        values: torch.Tensor = self._kind.values(self.critic.net(told)).mean(0)[:, 0]
        return values


class PrefixJudge(nn.Module):
    """
    What CO-RFT's critic makes of a policy's chunks: the mean over their prefixes (eq. 9).

    :ivar points: Of a chunk, the first h, that it judges.
    """

    def __init__(self, critic: PrefixCritic, kind: ValueKind) -> None:
        super().__init__()
        self.critic, self.points, self._kind = critic, critic.horizon, kind

    def forward(self, observation: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        """Return the mean value (N,) over critics of ``chunks`` (N, h, J) at one (1, S)."""
        outputs = self.critic(observation, chunks[None])[:, 0]
        values: torch.Tensor = self._kind.values(outputs).mean((0, 2))
        return values


class BestOfN(nn.Module):
    """
    A policy with a judge; it is asked one question at a time.

    :ivar shape: The policy's.
    :ivar noise: Share of the noise that all chunks but the first start from, 0..1; with 1 they are
        spread as the demonstrations are, their mistakes included.
    """

    def __init__(self, vla: Vla, judge: ChunkJudge | PrefixJudge, noise: float = 1.0) -> None:
        super().__init__()
        self.vla, self.judge, self.shape, self.noise = vla, judge, vla.shape, noise

    def sample(self, images: Sequence[torch.Tensor], state: torch.Tensor, tokens: torch.Tensor,
               tokens_mask: torch.Tensor, noise: torch.Tensor,
               prefix: torch.Tensor | None = None,
               prefix_mask: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return raw absolute joint targets (1, H, J), the best of N.

        All is as in `Vla.sample` for B = 1. The first chunk is the policy's answer without a
        judge, from as little noise as it acts with; the others must differ to be chosen among.

        :param noise: (N, H, J), standard normal.
        """
        known = self.vla.observe(images, state, tokens, tokens_mask)
        started = torch.cat([self.vla.config.noise_scale * noise[:1], self.noise * noise[1:]])
        chunks = self.vla.chunks(
            known, state, started[None], self.vla.config.flow_steps, prefix, prefix_mask)[0]
        values = self.judge(
            critic_observation(known, self.vla.scale.felt(state)),
            critic_chunk(self.vla.scale, chunks, state.expand(len(chunks), -1),
                         self.judge.points))
        best = chunks[values.argmax(dim=0, keepdim=True)]
        return self.vla.finished(best, state, prefix, prefix_mask)
