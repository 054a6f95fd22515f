"""
RLPD (Ball et al. 2023, arXiv 2302.02948), RLPD-AC and QC-RLPD: Gaussian policies, no flow.

Soft actor-critic with ten critics under layer norm that learns from prior data and its own. RLPD
acts one step at a time, RLPD-AC in whole chunks, QC-RLPD in chunks that stay near the data's
(Q-chunking, arXiv 2507.07969, eq. 29). Each learns best from batches of which one half is prior
data: `ChunkBatch.joined`. Knows nothing of the discount, which is in the batch. Legend as in
`q_chunking`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
import math

import torch
from torch import nn

from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import critic_loss, critic_target, Loss
from chunked_vla_ros.training.q_chunking_methods import ChunkBackup
from chunked_vla_ros.training.q_networks import (
    ChunkCritic,
    GaussianActor,
    Layer,
    polyak,
    Values,
)

# The likelihood of an action at the very edge of tanh is nothing to learn from (published).
EDGE = 1.0 - 1e-5


@dataclass(frozen=True, kw_only=True)
class RlpdMethod(ChunkBackup):
    """
    One of the family.

    :ivar bc_weight: What the likelihood of the data's chunks counts.
    :ivar temperature: What entropy counts at the start; it is learnt.
    :ivar entropy_share: The entropy that is aimed at is minus this much for each action value.
    """

    members: int = 10
    bc_weight: float = 0.0
    temperature: float = 1.0
    entropy_share: float = 0.5

    def noise_shape(self, count: int, width: int) -> tuple[int, ...]:
        """Return the shape of the noise that the policy needs at ``count`` states."""
        return (count, self.points, width)


RLPD_METHODS = {
    'rlpd': RlpdMethod(chunked=False, horizon=1),
    'rlpd_ac': RlpdMethod(chunked=True),
    'qc_rlpd': RlpdMethod(chunked=True, bc_weight=0.01),
}


def squashed(mean: torch.Tensor, log_std: torch.Tensor,
             noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return chunks (B, h, A) of a tanh Gaussian and their log likelihood (B,)."""
    before = torch.addcmul(mean, log_std.exp(), noise)
    return before.tanh(), _log_likelihood(noise, log_std, before)


def log_likelihood(mean: torch.Tensor, log_std: torch.Tensor,
                   actions: torch.Tensor) -> torch.Tensor:
    """Return the log likelihood (B,) of chunks ``actions`` (B, h, A) under a tanh Gaussian."""
    before = actions.clamp(-EDGE, EDGE).atanh()
    return _log_likelihood((before - mean) * (-log_std).exp(), log_std, before)


def actor_loss(chunk: torch.Tensor, likelihood: torch.Tensor, values: Values,
               temperature: torch.Tensor) -> Loss:
    """
    Return the loss of soft actor-critic's policy: value and entropy.

    :param chunk: (B, h, A), drawn from the policy with gradient.
    :param likelihood: (B,), its log likelihood.
    :param values: The critic at the observation, which does not learn from this.
    :param temperature: What entropy counts, which does not learn from this.
    """
    value = values(chunk).mean(dim=0)
    loss = (temperature.detach() * likelihood - value).mean()
    return loss, {'actor/loss': loss.detach(), 'actor/q': value.detach().mean()}


def temperature_loss(temperature: torch.Tensor, likelihood: torch.Tensor,
                     wanted: float) -> Loss:
    """Return the loss that moves ``temperature`` until the entropy is as ``wanted``."""
    entropy = -likelihood.detach().mean()
    loss = temperature * (entropy - wanted)
    return loss, {'actor/entropy': entropy, 'actor/temperature': temperature.detach()}


@dataclass(frozen=True)
class RlpdDraws:
    """
    Everything random of one update of B chunks.

    :ivar next_noise: (B, h, A), standard normal, for the next state.
    :ivar actor_noise: (B, h, A), for the policy that learns.
    """

    next_noise: torch.Tensor
    actor_noise: torch.Tensor

    @staticmethod
    def draw(generator: torch.Generator, method: RlpdMethod, count: int,
             width: int) -> RlpdDraws:
        """Return draws for ``count`` chunks of actions of ``width``, on the generator's device."""
        noise = torch.randn((2, *method.noise_shape(count, width)), generator=generator,
                            device=generator.device)
        return RlpdDraws(noise[0], noise[1])


class Rlpd(nn.Module):
    """
    Critics, target critics, a Gaussian actor and its temperature.

    :ivar method: Which of the family it is.
    """

    def __init__(self, method: RlpdMethod, features: int, width: int) -> None:
        """Make fresh networks for observations (B, ``features``) and actions of ``width``."""
        super().__init__()
        sizes = (features, method.points, width)
        self.method = method
        self.critic = ChunkCritic(*sizes, method.members, method.hidden, Layer.NORM_RELU)
        self.actor = GaussianActor(*sizes, method.hidden)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(method.temperature)))
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self._wanted_entropy = -method.entropy_share * method.points * width

    def losses(self, batch: ChunkBatch, draws: RlpdDraws) -> Loss:
        """Return the loss of all networks together, and numbers to look at."""
        data = batch.actions[:, :self.method.points]
        with torch.no_grad():
            next_chunk, _ = self._sampled(batch.next_observation, draws.next_noise)
            target = critic_target(
                batch.returns[:, -1], batch.bootstrap[:, -1],
                self.target_critic(batch.next_observation, next_chunk), self.method.aggregate)
        loss, metrics = critic_loss(
            self.critic(batch.observation, data), target, batch.counted[:, -1])
        mean, log_std = self.actor(batch.observation)
        chunk, likelihood = squashed(mean, log_std, draws.actor_noise)
        temperature = self.log_temperature.exp()
        for part, numbers in (
                actor_loss(chunk, likelihood, self.critic.given(batch.observation, learns=False),
                           temperature),
                temperature_loss(temperature, likelihood, self._wanted_entropy)):
            loss, metrics = loss + part, metrics | numbers
        if self.method.bc_weight:
            # Over all points, those past the end of an episode included (published).
            imitation = -log_likelihood(mean, log_std, data).mean()
            loss = loss + self.method.bc_weight * imitation
            metrics['actor/bc_loss'] = imitation.detach()
        return loss, {'loss': loss.detach(), **metrics}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def act(self, observation: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return a chunk (B, h, A) drawn with ``noise`` (B, h, A)."""
        return self._sampled(observation, noise)[0]

    def follow(self) -> None:
        """Move the target critics towards the online ones."""
        polyak(self.target_critic, self.critic, self.method.target_share)

    def _sampled(self, observation: torch.Tensor, noise: torch.Tensor,
                 ) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_std = self.actor(observation)
        return squashed(mean, log_std, noise)


def _log_likelihood(standard: torch.Tensor, log_std: torch.Tensor,
                    before: torch.Tensor) -> torch.Tensor:
    """Return log likelihoods (B,): of the ``standard`` normal, scaled, and squashed by tanh."""
    normal = -0.5 * standard.square() - log_std - 0.5 * math.log(2.0 * math.pi)
    # log(1 - tanh^2), which has no digits left in that form where tanh is near 1.
    squashing = 2.0 * (math.log(2.0) - before - nn.functional.softplus(-2.0 * before))
    return (normal - squashing).sum(dim=(1, 2))
