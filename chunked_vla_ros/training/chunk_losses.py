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
    UNIT: the logit of a value in 0..1, by cross-entropy. Right where whatever is earned lies in
    0..1 and ends the task, as a reward of 1 at success does. No bootstrap then leaves the range,
    and a wrong value near 0 or 1 keeps its gradient: with a few dozen episodes the better choice.
    """

    FREE = 'free'
    UNIT = 'unit'

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the values that ``outputs`` of any shape stand for."""
        return torch.sigmoid(outputs) if self is ValueKind.UNIT else outputs


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


def with_tail(actions: torch.Tensor, valid: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
    """
    Return ``actions`` (B, h, A) with ``tail`` (B, h, A) in place of those that are not valid.

    After a termination nothing counts, so a chunk is worth the same whatever follows. The tail
    must look like that of any other chunk, or it gives away how the episode ended.
    """
    return torch.where(valid[..., None], actions, tail)
