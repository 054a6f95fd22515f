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

CONTROL = 'CONTROL_BUNDLE'
TRAINING = 'chunked-vla train advantage --set rl.selection=all'
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
    Return a line for each of ``policies`` that RL made, if no control of theirs is among them.

    A control has learnt as long, from a choice of the demonstrations that asked no critic.

    :param policies: Those of ``options``, in the same order.
    """
    trained: list[Mapping[str, str]] = [
        policy.training if isinstance(policy, TrainedPolicy) else {} for policy in policies]
    if any(training.get('critic_steps') == NO_CRITIC for training in trained):
        return ()
    imitation = any(training.get('stage') == IMITATION for training in trained)
    return tuple(
        _line(replace(options, policies=(name, CONTROL)).command, policy.spec.policy_id, training,
              imitation)
        for name, policy, training in zip(options.policies, policies, trained, strict=True)
        # A bundle that does not tell its stage is none of ours.
        if training.get('stage', IMITATION) != IMITATION)


def _line(command: str, policy_id: str, training: Mapping[str, str], imitation: bool) -> str:
    method, start = training.get('method', training['stage']), training.get('from', '')
    beside = ('of imitation only what learnt for less long stands beside it' if imitation else
              'no imitation control was run on the same starts')
    words = (f'{policy_id} was trained by {method}{f", from {start}" if start else ""}, and '
             f'{beside}: what RL adds is not shown; train it as long without a critic, '
             f'{TRAINING}, and name that as the second bundle: {command}')
    return ' '.join(words.split())
