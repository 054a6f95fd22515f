"""
CO-RFT, stage 2: TD3 over chunks with a critic of every prefix (Huang et al. 2025, 2508.02219).

The policy starts from stage 1, imitation (eq. 7). A prefix critic learns Q(s, a_1..a_i) for all i
at once (eq. 5, 6) with the calibrated conservatism of Cal-QL (eq. 8; Nakamoto et al. 2023); the
policy climbs the mean over the prefixes (eq. 9) and stays near the data. As in TD3 (Fujimoto et
al. 2018): twin critics of which the smaller counts in the target, a slow copy of them, noise on
the target's actions; who calls it moves the policy every other update only.

Two readings of the paper: prefix i has the i-step target, which is consistent, by default, and
the whole chunk's, which is biased for i < h, with ``literal_targets``. Eq. 9 has no cloning term;
``bc_weight=0`` is it, the default keeps one (TD3+BC, Fujimoto and Gu 2021). Discounts come with
the data, chunks of the policy and what it misses of the data from whoever knows the policy. B
batch, M states, N chunks of each, h points, A action width, S features, K critics.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.chunk_losses import (
    Metrics,
    value_regression,
    ValueKind,
    with_tail,
)
from chunked_vla_ros.training.q_chunking import aggregated
from chunked_vla_ros.training.q_chunking_methods import Aggregate
from chunked_vla_ros.training.q_networks import polyak
from chunked_vla_ros.training.rl_config import RlConfig

Loss = tuple[torch.Tensor, Metrics]
# Noise on a target's chunk is cut to so many of its standard deviations (TD3's 0.5 of 0.2).
SMOOTHING_LIMIT = 2.5
# Of the scale that values are brought to: below it they are noise around 0.
LEAST_SCALE = 1e-6


def prefix_targets(returns: torch.Tensor, bootstrap: torch.Tensor, next_values: torch.Tensor,
                   literal: bool = False) -> torch.Tensor:
    """
    Return what each prefix is to be worth (eq. 5), (B, h).

    :param returns: (B, h), discounted rewards of the steps of each prefix.
    :param bootstrap: (B, h), the discount of these steps, 0 after a termination.
    :param next_values: (B, h), of the state after each prefix; literal: the last column counts.
    :param literal: Every prefix has the target of the last, the whole chunk.
    """
    if literal:
        whole = torch.addcmul(returns[:, -1:], bootstrap[:, -1:], next_values[:, -1:])
        return whole.expand_as(returns)
    return torch.addcmul(returns, bootstrap, next_values)


def critic_loss(outputs: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor,
                kind: ValueKind = ValueKind.FREE) -> Loss:
    """
    Return the regression on all prefixes (eq. 6).

    :param outputs: (K, B, h) of the critic.
    :param targets: (B, h), of `prefix_targets`.
    :param counted: (B, h) bool.
    """
    loss = value_regression(outputs, targets, counted, kind)
    return loss, {'critic/loss': loss.detach(), 'critic/target': targets.mean(),
                  'critic/q_mean': kind.values(outputs.detach()).mean()}


def cal_ql_term(policy_values: torch.Tensor, data_values: torch.Tensor, reference: torch.Tensor,
                counted: torch.Tensor) -> Loss:
    """
    Return Cal-QL's term of eq. 8, without its weight.

    Values of the policy's chunks go down, but not below what the data achieved from there; those
    of the data's chunks go up.

    :param policy_values: (K, B, h).
    :param data_values: (K, B, h).
    :param reference: (B,), Monte-Carlo return of the data.
    :param counted: (B, h) bool.
    """
    least = torch.maximum(policy_values, reference[:, None])
    term = ((least - data_values) * counted).mean()
    return term, {'critic/cal_ql': term.detach()}


def actor_loss(values: torch.Tensor, missed: torch.Tensor, bc_weight: float) -> Loss:
    """
    Return the policy's loss: eq. 9, and cloning.

    The values count in units of their mean size, so that ``bc_weight`` means the same whatever
    the rewards: 1 / bc_weight is lambda of TD3+BC.

    :param values: (B, h), of the prefixes of the policy's chunk.
    :param missed: What the policy misses of the data's chunks, a scalar.
    """
    climbed = values.mean()
    size = values.detach().abs().mean().clamp(min=LEAST_SCALE)
    return bc_weight * missed - climbed / size, {
        'actor/bc_loss': missed.detach(), 'actor/q': climbed.detach()}


class CoRft(nn.Module):
    """
    The prefix critic and its slow copy; what an update of them, and of a policy, goes by.

    :ivar critic: As `prefix_critic.PrefixCritic`; ``target_critic`` follows it slowly.
    :ivar kind: UNIT for a reward of 1 at success and 0 before it, FREE for any other.
    """

    def __init__(self, critic: nn.Module, kind: ValueKind, config: RlConfig,
                 bound: float = 1.0) -> None:
        """
        Make one.

        :param bound: No action is larger; a target's noise is cut to it.
        """
        super().__init__()
        self.critic, self.kind, self._config, self._bound = critic, kind, config, bound
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)

    def critic_losses(self, batch: ChunkBatch, chunks: torch.Tensor, next_values: torch.Tensor,
                      tail: torch.Tensor) -> Loss:
        """
        Return the loss of the critic (eq. 8), and numbers to look at.

        :param chunks: (B, h, A) of the policy.
        :param next_values: (B, h), of the state after each prefix: `state_values`.
        :param tail: (B, h, A), what stands past the end of an episode.
        :raises ValueError: The batch lacks what the configuration needs.
        """
        config, counted = self._config, batch.counted
        targets = prefix_targets(
            batch.returns, batch.bootstrap, next_values, config.literal_targets)
        if config.literal_targets:
            counted = counted[:, -1:].expand_as(counted)
        data = with_tail(batch.actions, batch.valid, tail)
        shown = (torch.stack([data, chunks], dim=1) if config.conservative_weight
                 else data[:, None])
        outputs = self.critic.given(batch.observation)(shown)
        loss, metrics = critic_loss(outputs[:, :, 0], targets, counted, self.kind)
        if not config.conservative_weight:
            return loss, metrics
        if batch.return_to_go is None:
            raise ValueError('the batch has no return_to_go, which conservative_weight '
                             f'{config.conservative_weight:g} needs; give it, or set 0')
        data_values, policy_values = self.kind.values(outputs).unbind(dim=2)
        # With a tail it is no chunk of the data's: its value is not pushed up.
        term, more = cal_ql_term(
            policy_values, data_values, batch.return_to_go, batch.counted & batch.valid)
        return loss + config.conservative_weight * term, metrics | more

    def state_values(self, observation: torch.Tensor, chunks: torch.Tensor,
                     noise: torch.Tensor) -> torch.Tensor:
        """
        Return what the slow critics expect of the policy's blurred chunks, (M,).

        Of the twins the smaller counts, of the chunks of a state their mean.

        :param observation: (M, S).
        :param chunks: (M, N, h, A) of the policy.
        :param noise: Of that shape, standard normal.
        """
        blurred = chunks + self._config.target_noise * noise.clamp(
            -SMOOTHING_LIMIT, SMOOTHING_LIMIT)
        with torch.no_grad():
            outputs = self.target_critic.given(observation)(
                blurred.clamp(-self._bound, self._bound))[..., -1]
            return aggregated(self.kind.values(outputs), Aggregate.MIN).mean(dim=-1)

    def judge(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        """Return the values (B, h) of a policy's ``chunk`` (B, h, A); no critic learns of it."""
        outputs = self.critic.given(observation, learns=False)(chunk)
        return aggregated(self.kind.values(outputs), Aggregate.MEAN)

    def follow(self) -> None:
        """Move the slow critics towards the others."""
        polyak(self.target_critic, self.critic, self._config.target_rate)
