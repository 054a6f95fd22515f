"""
What moves the weights of a critic and of a policy, and the policy that is to be moved.

Knows no loss and no data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
import math

import torch
from torch import nn

from chunked_vla_ros.training.checkpoint import CRITIC, TrainedPolicy
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.learner import (
    BETAS,
    BrokenStepError,
    GradientWatch,
    optimizer_groups,
)
from chunked_vla_ros.training.rl_config import CACHED, QC
from chunked_vla_ros.training.vla import build_vla, Vla


class Mover:
    """
    An optimizer with the weights that it moves.

    :ivar names: Of its weights, in its order.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, names: Iterable[str],
                 clip_norm: float) -> None:
        self.optimizer, self.names = optimizer, list(names)
        self._clip_norm, self._gradients = clip_norm, GradientWatch(1)
        self._weights = [weight for group in optimizer.param_groups for weight in group['params']]

    @staticmethod
    def of_critic(critic: nn.Module, config: TrainConfig) -> Mover:
        """Return what moves ``critic``: Adam, without decay, gradients cut as the policy's."""
        named = [(name, weight) for name, weight in critic.named_parameters()
                 if weight.requires_grad]
        return Mover(torch.optim.Adam([weight for _, weight in named]),
                     [f'{CRITIC}.{name}' for name, _ in named], config.clip_norm)

    @staticmethod
    def of_policy(vla: Vla, config: TrainConfig) -> Mover:
        """Return what moves those weights of ``vla`` that learn, as imitation does."""
        groups = optimizer_groups(vla, config.weight_decay)
        names = [name for group in groups for name in group.pop('names')]
        # Torch takes no optimizer without weights; QC's policy has none that learn.
        groups = groups or [{'params': [nn.Parameter(torch.zeros(1))], 'pace': 1.0}]
        return Mover(torch.optim.AdamW(groups, betas=BETAS), names, config.clip_norm)

    def take(self, loss: torch.Tensor, rate: float) -> float:
        """
        Move the weights against the gradient of ``loss``; return its length before it was cut.

        :raises BrokenStepError: loss or gradient is no number; the weights are as before.
        """
        if not math.isfinite(float(loss.detach())):
            raise BrokenStepError(f'loss is {float(loss.detach())}')
        self.optimizer.zero_grad()
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self._weights, self._clip_norm))
        self._gradients.check(norm)
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group.get('pace', 1.0)
        self.optimizer.step()
        return norm


def policy_to_learn(policy: TrainedPolicy, config: TrainConfig) -> Vla:
    """
    Return a copy of ``policy`` of which those weights learn that ``config`` says.

    :raises ValueError: one line, if its parts cannot be made.
    """
    vla = build_vla(replace(config.policy, pretrained=False), policy.shape, policy.normalisation)
    vla.load_state_dict(policy.vla.state_dict())
    learning = vla.expert if config.method != QC and config.rl.features == CACHED else None
    if config.method == QC or learning is not None:
        vla.requires_grad_(False)
    if learning is not None:
        learning.requires_grad_(True)
    return vla
