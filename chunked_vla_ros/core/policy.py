"""
The one protocol behind which every policy stands.

A policy sees an `Observation` and answers with an `ActionPlan`: targets relative to the
observation's own time. The inference node turns plans into stamped chunks; a policy knows no
clock, no ROS and no session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from chunked_vla_ros.core.types import DimKind, FloatArray, frozen_array, Observation

# Of a policy that does not say: half of a chunk of 16 points 0.05 s apart.
REPLAN_PERIOD_S = 0.4


@dataclass(frozen=True)
class PolicySpec:
    """
    What a policy is and what it must be shown.

    :ivar policy_id: Name and, where there are weights, their hash.
    :ivar joint_names: Order of the columns of its actions.
    :ivar dim_kinds: How each column may be blended.
    :ivar step_s: Spacing of its points in [s].
    :ivar horizon: Points in a plan, H.
    :ivar cameras: Cameras it cannot do without.
    :ivar needs_instruction: Whether it must be told what to do.
    :ivar needs_scene: Whether it reads simulator state (no real robot has it).
    :ivar replan_period_s: Shortest time between two questions that it was made for, in [s].
    :ivar takes_committed: Whether it continues the targets that are decided already.
    """

    policy_id: str
    joint_names: tuple[str, ...]
    dim_kinds: tuple[DimKind, ...]
    step_s: float
    horizon: int
    cameras: tuple[str, ...] = ()
    needs_instruction: bool = False
    needs_scene: bool = False
    takes_committed: bool = False
    replan_period_s: float = REPLAN_PERIOD_S


@dataclass(frozen=True)
class ActionPlan:
    """
    A policy's answer to one observation.

    :ivar positions: Targets in [rad], shape (H, J); row k is due ``k * step_s`` after the
        observation's stamp.
    :ivar done: True when the policy has nothing to do after this plan.
    """

    positions: FloatArray
    done: bool = False
    note: str = field(default='')

    def __post_init__(self) -> None:
        object.__setattr__(
            self, 'positions', frozen_array(self.positions, (None, None), 'positions'))


class PolicyError(RuntimeError):
    """The policy cannot act on this observation; the message is one line for the operator."""


class Policy(Protocol):
    """A policy is called from one worker thread only."""

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is and needs."""

    def reset(self) -> None:
        """Forget the past: a new session begins."""

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the actions that follow ``observation``.

        :raises PolicyError: if it cannot act on it.
        """
