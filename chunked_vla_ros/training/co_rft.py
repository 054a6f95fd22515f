"""
CO-RFT, stage 2: TD3 over chunks with a critic of every prefix (Huang et al. 2025, 2508.02219).

The policy starts from stage 1, imitation (eq. 7). A prefix critic learns Q(s, a_1..a_i) for all i
at once (eq. 5, 6) with the calibrated conservatism of Cal-QL (eq. 8; Nakamoto et al. 2023); the
policy climbs the mean over the prefixes (eq. 9) and stays near the data. As in TD3 (Fujimoto et
al. 2018): twin critics of which the smaller counts in the target, target networks, noise on the
target's actions, a policy that moves every other update only.

Two readings of the paper: prefix i has the i-step target, which is consistent, by default, and
the whole chunk's, which is biased for i < h, with ``literal_targets``. Eq. 9 has no cloning term;
``bc_weight=0`` with ``scale_values=False`` is it, the default keeps one (TD3+BC, Fujimoto and Gu
2021). Discounts come with the data. B batch, h points, A action width, S features, K critics,
P prefixes that are learned from: h, or 1.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.chunk_losses import (
    cloning_loss,
    Metrics,
    value_regression,
    ValueKind,
    with_arbitrary_tail,
)
from chunked_vla_ros.training.chunk_policies import BoundPolicy
from chunked_vla_ros.training.co_rft_config import CoRftConfig, CoRftDraws
from chunked_vla_ros.training.q_chunking import aggregated
from chunked_vla_ros.training.q_networks import polyak

Loss = tuple[torch.Tensor, Metrics]
# Of the scale that values are brought to: below it they are noise around 0.
LEAST_SCALE = 1e-6


def prefix_targets(returns: torch.Tensor, bootstrap: torch.Tensor, next_values: torch.Tensor,
                   literal: bool = False) -> torch.Tensor:
    """
    Return what each prefix is to be worth (eq. 5), (B, P).

    :param returns: (B, P), discounted rewards of the steps of each prefix.
    :param bootstrap: (B, P), the discount of these steps, 0 after a termination.
    :param next_values: (B, P), of the state after each prefix; literal: the last column counts.
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

    :param outputs: (K, B, P) of the critic.
    :param targets: (B, P), of `prefix_targets`.
    :param counted: (B, P) bool.
    """
    loss = value_regression(outputs, targets, counted, kind)
    return loss, {'critic/loss': loss.detach(),
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


def actor_loss(values: torch.Tensor, said: torch.Tensor, wanted: torch.Tensor,
               valid: torch.Tensor, bc_weight: float, keep: torch.Tensor | None = None) -> Loss:
    """
    Return the policy's loss: eq. 9, and cloning.

    :param values: (B, h), of the prefixes of the policy's chunk.
    :param said: (B, h, A), that chunk, or the velocity of a flow (`chunk_policies.Cloned`).
    :param wanted: (B, h, A), the chunk of the data, or the velocity towards it.
    :param valid: (B, h) bool, where the data have an action.
    :param keep: (B,) bool, the chunks that are worth cloning; ``None``: all.
    """
    cloned = cloning_loss(said, wanted, valid, keep)
    climbed = values.mean()
    return bc_weight * cloned - climbed, {
        'actor/bc_loss': cloned.detach(), 'actor/q': climbed.detach()}


class CoRft(nn.Module):
    """
    Policy, prefix critic and their targets.

    Full-parameter: with the ``encoder`` of the policy, that learns with it. On cached features:
    without one, and with features in the batch in place of observations.

    :ivar policy: `chunk_policies.DeterministicPolicy` or ``FlowPolicy``, from stage 1.
    :ivar critic: As `prefix_critic.PrefixCritic`.
    """

    def __init__(self, policy: nn.Module, critic: nn.Module, config: CoRftConfig | None = None,
                 encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config or CoRftConfig()
        self.policy, self.critic, self.encoder = policy, critic, encoder
        self.target_policy = copy.deepcopy(policy).requires_grad_(False)
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)

    def losses(self, batch: ChunkBatch, draws: CoRftDraws,
               next_values: torch.Tensor | None = None,
               keep: torch.Tensor | None = None) -> Loss:
        """
        Return the loss of the critic and, at its turn, of the policy; and numbers to look at.

        :param next_values: (B, h), of the state after each prefix, looked up in a
            `candidate_cache.ValueTable` of `state_values`; ``None``: worked out here.
        :param keep: (B,) bool, the chunks that are worth cloning, say those of high advantage
            (`advantage.keep_fraction`); ``None``: all.
        :raises ValueError: The batch lacks what the configuration needs.
        """
        features = self._encode(batch.observation)
        shown = features.detach() if self.config.stop_features else features
        with torch.set_grad_enabled(draws.with_actor):
            policy: BoundPolicy = self.policy.given(features)
            chunk = policy.act(draws.noise)
        loss, metrics = self._critic_loss(batch, draws, shown, chunk.detach(), next_values)
        if draws.with_actor:
            # The critic judges and does not learn, nor do the features that it judges on.
            values = self.critic.given(features.detach(), learns=False)(chunk)
            values = self.config.kind.values(values).mean(dim=0)
            size = values.detach().abs().mean().clamp(min=LEAST_SCALE)
            climbed_values = values / size if self.config.scale_values else values
            cloned = policy.clone(chunk, batch.actions, draws.clone_noise, draws.clone_time)
            climbed, actor_metrics = actor_loss(
                climbed_values, cloned.said, cloned.wanted, batch.valid, self.config.bc_weight,
                keep)
            loss, metrics = loss + climbed, metrics | actor_metrics | {
                'actor/q': values.detach().mean()}
        return loss, {'loss': loss.detach(), **metrics}

    def act(self, observation: Any, noise: torch.Tensor) -> torch.Tensor:
        """Return the policy's chunk (B, h, A), without gradient; ``noise`` of that shape."""
        with torch.no_grad():
            policy: BoundPolicy = self.policy.given(self._encode(observation))
            return policy.act(noise)

    def state_values(self, observation: torch.Tensor, noise: torch.Tensor,
                     smoothing: torch.Tensor) -> torch.Tensor:
        """
        Return what the target critic expects of the target policy's smoothed chunk, (M,).

        :param observation: (M, S).
        :param noise: (M, h, A), standard normal, as is ``smoothing``.
        """
        limit = self.config.smoothing_limit
        with torch.no_grad():
            features = self._encode(observation)
            policy: BoundPolicy = self.target_policy.given(features)
            jitter = (self.config.smoothing * smoothing).clamp(-limit, limit)
            chunk = (policy.act(noise) + jitter).clamp(-1.0, 1.0)
            outputs = self.target_critic.given(features)(chunk)[..., -1]
        return aggregated(self.config.kind.values(outputs), self.config.aggregate)

    def follow(self) -> None:
        """Move the targets."""
        polyak(self.target_policy, self.policy, self.config.target_share)
        polyak(self.target_critic, self.critic, self.config.target_share)

    def _critic_loss(self, batch: ChunkBatch, draws: CoRftDraws, shown: torch.Tensor,
                     chunk: torch.Tensor, next_values: torch.Tensor | None) -> Loss:
        literal, counted = self.config.literal_targets, batch.counted
        targets = self._targets(batch, draws, next_values)
        if literal:
            counted = counted[:, -1:].expand_as(counted)
        data = with_arbitrary_tail(batch.actions, batch.valid, draws.tail)
        both = torch.stack([data, chunk], dim=1) if self.config.conservatism else data[:, None]
        outputs = self.critic.given(shown)(both)
        loss, metrics = critic_loss(_picked(outputs[:, :, 0], draws.prefix), targets,
                                    _picked(counted, draws.prefix), self.config.kind)
        if self.config.conservatism:
            if batch.return_to_go is None:
                raise ValueError('the batch has no return_to_go, which conservatism '
                                 f'{self.config.conservatism:g} needs; give it, or set 0')
            data_values, policy_values = self.config.kind.values(outputs).unbind(dim=2)
            # An arbitrary tail is no chunk of the data's: its value is not pushed up.
            term, more = cal_ql_term(policy_values, data_values, batch.return_to_go,
                                     batch.counted & batch.valid)
            loss, metrics = loss + self.config.conservatism * term, metrics | more
        return loss, metrics

    def _targets(self, batch: ChunkBatch, draws: CoRftDraws,
                 next_values: torch.Tensor | None) -> torch.Tensor:
        """Return the targets (B, P) of the prefixes that are learned from."""
        literal, prefix = self.config.literal_targets, draws.prefix
        if next_values is not None:
            known = prefix_targets(batch.returns, batch.bootstrap, next_values, literal)
            return _picked(known, prefix)
        if literal:
            values = self._next_values(batch.next_observation[:, None], draws)
            known = prefix_targets(batch.returns, batch.bootstrap, values, literal)
            return _picked(known, prefix)
        if batch.next_observations is None:
            raise ValueError('the batch has no next_observations, which consistent targets need; '
                             'ask the table for prefixes')
        ahead = batch.next_observations
        if prefix is not None:
            ahead = ahead[torch.arange(len(ahead), device=ahead.device), prefix][:, None]
        return prefix_targets(_picked(batch.returns, prefix), _picked(batch.bootstrap, prefix),
                              self._next_values(ahead, draws))

    def _next_values(self, observation: torch.Tensor, draws: CoRftDraws) -> torch.Tensor:
        """Return the values (B, P) of ``observation`` (B, P, S)."""
        flat = (x.flatten(0, 1) for x in (observation, draws.next_noise, draws.smoothing))
        return self.state_values(*flat).unflatten(0, observation.shape[:2])

    def _encode(self, observation: Any) -> torch.Tensor:
        return observation if self.encoder is None else self.encoder(observation)


def _picked(of_prefixes: torch.Tensor, prefix: torch.Tensor | None) -> torch.Tensor:
    """Return of (..., B, h) what is about ``prefix`` (B,), (..., B, 1); ``None``: all of it."""
    if prefix is None:
        return of_prefixes
    columns = prefix.view(-1, 1).expand(*of_prefixes.shape[:-1], 1)
    return of_prefixes.gather(-1, columns)
