"""
Losses over chunks that several methods share: values regressed on returns, chunks cloned.

Knows no network and no method. B batch, h points of a chunk, A action width, K critics.
"""

from __future__ import annotations

from enum import Enum

import torch

Metrics = dict[str, torch.Tensor]


class ValueKind(Enum):
    """
    What a critic's outputs mean.

    FREE: the value itself, by squared error: right for any reward, and the published choice.
    UNIT: the logit of a value in 0..1, by cross-entropy. Right where every return lies in 0..1,
    as with a reward of 1 at success and 0 before it. No bootstrap can then leave the range, and a
    wrong value near 0 or 1 keeps its gradient: with a few dozen episodes the better choice.
    """

    FREE = 'free'
    UNIT = 'unit'

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the values that ``outputs`` of any shape stand for."""
        return torch.sigmoid(outputs) if self is ValueKind.UNIT else outputs

    def refuse_unfit(self, returns: torch.Tensor) -> None:
        """
        Refuse returns that no value of this kind can equal.

        :raises ValueError: A return is not finite, or lies outside 0..1 for UNIT.
        """
        lowest, highest = (float(end) for end in torch.aminmax(returns.float()))
        if not torch.isfinite(returns).all():
            raise ValueError('a return is not finite; look for NaN in the rewards')
        if self is ValueKind.UNIT and (lowest < 0.0 or highest > 1.0):
            raise ValueError(f'returns reach from {lowest:g} to {highest:g}, expected 0..1 for '
                             'values of kind unit; take kind free')


def value_regression(outputs: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor,
                     kind: ValueKind = ValueKind.FREE) -> torch.Tensor:
    """
    Return the mean error of critics, a scalar; what is not counted is a zero in the mean.

    :param outputs: (K, ...).
    :param targets: (...), without gradient.
    :param counted: (...) bool.
    """
    aims = targets.expand_as(outputs)
    if kind is ValueKind.UNIT:
        errors = torch.nn.functional.binary_cross_entropy_with_logits(
            outputs, aims, reduction='none')
    else:
        errors = (outputs - aims).square()
    return (errors * counted).mean()


def cloning_loss(said: torch.Tensor, wanted: torch.Tensor, valid: torch.Tensor,
                 weights: torch.Tensor | None = None) -> torch.Tensor:
    """
    Return the mean squared error over the points that are cloned, a scalar.

    With chunks it is the cloning of a deterministic head, with velocities that of a flow. The
    mean is over points that are ``valid`` and of weight above 0: what is left out does not make
    the rest count less. None left: 0.

    :param said: (B, h, A), with gradient.
    :param wanted: (B, h, A).
    :param valid: (B, h) bool, False where the data have no action.
    :param weights: (B,) of each chunk, or a bool; ``None``: all alike.
    """
    shares = valid.to(said.dtype)
    if weights is not None:
        shares = shares * weights.to(said.dtype)[:, None]
    points = (shares > 0.0).sum().clamp(min=1)
    return ((said - wanted).square() * shares[..., None]).sum() / (points * said.shape[-1])


def with_arbitrary_tail(actions: torch.Tensor, valid: torch.Tensor,
                        tail: torch.Tensor) -> torch.Tensor:
    """
    Return ``actions`` (B, h, A) with ``tail`` (B, h, A) in place of those that are not valid.

    After a termination nothing counts, so a chunk is worth the same whatever follows: shown one
    filling only, a critic would know the value of that filling and guess that of all others.
    """
    return torch.where(valid[..., None], actions, tail)
