"""
Is a policy that offline RL made shown beside imitation? If not, the evaluation says so.

What a success rate owes to RL only shows against imitation of the same data on the same starts.
Reads what bundles say of their training; runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.evaluate.options import EvaluateOptions

CONTROL = 'IMITATION_BUNDLE'
# What the exporter writes: the stage, and of offline RL the method and how long a critic learnt.
IMITATION, NO_CRITIC = 'imitation', '0'


@runtime_checkable
class TrainedPolicy(Protocol):
    """A policy that says where it comes from."""

    @property
    def training(self) -> Mapping[str, str]:
        """Return what its bundle says of its training, in free words."""


def missing_controls(options: EvaluateOptions, policies: Sequence[Policy]) -> tuple[str, ...]:
    """
    Return a line for each of ``policies`` that RL made, if none of them is imitation.

    :param policies: Those of ``options``, in the same order.
    """
    trained: list[Mapping[str, str]] = [
        policy.training if isinstance(policy, TrainedPolicy) else {} for policy in policies]
    if any(map(_is_control, trained)):
        return ()
    return tuple(
        _line(replace(options, policies=(name, CONTROL)).command, policy.spec.policy_id, training)
        for name, policy, training in zip(options.policies, policies, trained, strict=True)
        # A bundle that does not tell its stage is none of ours.
        if training.get('stage'))


def _is_control(training: Mapping[str, str]) -> bool:
    return training.get('stage') == IMITATION or training.get('critic_steps') == NO_CRITIC


def _line(command: str, policy_id: str, training: Mapping[str, str]) -> str:
    method, start = training.get('method', training['stage']), training.get('from', '')
    words = (f'{policy_id} was trained by {method}{f", from {start}" if start else ""}, and no '
             'imitation control was run on the same starts: what RL adds is not shown; name one '
             f'as the second bundle: {command}')
    return ' '.join(words.split())
