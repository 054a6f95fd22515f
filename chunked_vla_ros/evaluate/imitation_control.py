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
# What the exporter writes: the stage, and of offline RL the method, where it began, and how long
# critic and policy learnt.
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

    A control began at the same imitation and has learnt as long, from a choice of the
    demonstrations that asked no critic.

    :param policies: Those of ``options``, in the same order.
    """
    trained: list[Mapping[str, str]] = [
        policy.training if isinstance(policy, TrainedPolicy) else {} for policy in policies]
    return tuple(
        _line(replace(options, policies=(name, CONTROL)).command, policy.spec.policy_id, training,
              trained)
        for name, policy, training in zip(options.policies, policies, trained, strict=True)
        # A bundle that does not tell its stage is none of ours.
        if training.get('stage', IMITATION) != IMITATION and not _is_control(training)
        and not any(_controls(other, training) for other in trained))


def _is_control(training: Mapping[str, str]) -> bool:
    return training.get('critic_steps') == NO_CRITIC


def _controls(one: Mapping[str, str], training: Mapping[str, str]) -> bool:
    """Return whether ``one`` is a control of the policy that was trained by ``training``."""
    return (_is_control(one) and one.get('from') == training.get('from')
            and _updates(one) >= _updates(training))


def _updates(training: Mapping[str, str]) -> int:
    said = training.get('policy_updates', '')
    return int(said) if said.isdecimal() else 0


def _line(command: str, policy_id: str, training: Mapping[str, str],
          shown: Sequence[Mapping[str, str]]) -> str:
    method, start = training.get('method', training['stage']), training.get('from', '')
    if any(map(_is_control, shown)):
        beside = ('the control beside it began elsewhere, learnt for less long or does not tell '
                  'how long')
    elif any(each.get('stage') == IMITATION for each in shown):
        beside = 'of imitation only what learnt for less long stands beside it'
    else:
        beside = 'no imitation control was run on the same starts'
    steps = f' steps={_updates(training)}' if _updates(training) else ''
    words = (f'{policy_id} was trained by {method}{f", from {start}" if start else ""}, and '
             f'{beside}: what RL adds is not shown; train it as long without a critic, '
             f'{TRAINING}{steps}, and name that as the second bundle: {command}')
    return ' '.join(words.split())
