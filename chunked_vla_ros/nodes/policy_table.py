"""
Every policy by its name: a plain table of functions that make one.

What a policy needs is imported when that policy is asked for, so that a robot without a simulator
or without a learning framework runs the others.
"""

from __future__ import annotations

from collections.abc import Callable

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.core.retarget import retarget
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.demonstrations import load_demonstration
from chunked_vla_ros.policies.replay import ReplayPolicy


class PolicyUnavailable(ValueError):
    """A policy cannot be made; the message is one line that says what is missing."""


def _replay(robot: RobotSpec, demonstration: str) -> Policy:
    if not demonstration:
        raise PolicyUnavailable(
            "policy 'replay' needs the parameter demonstration: a .npy recording or a directory")
    return ReplayPolicy(robot, retarget(load_demonstration(demonstration), robot).motion)


def _expert(robot: RobotSpec, demonstration: str) -> Policy:
    if demonstration:
        raise PolicyUnavailable("policy 'expert' takes no demonstration; use policy 'replay'")
    try:
        from chunked_vla_ros.sim.expert import ScriptedExpert
    except ImportError as error:
        raise PolicyUnavailable(
            f"policy 'expert' plans with the simulator's kinematics: {error}; install the "
            "extra 'sim'") from error
    expert: Policy = ScriptedExpert(robot)
    return expert


POLICIES: dict[str, Callable[[RobotSpec, str], Policy]] = {'replay': _replay, 'expert': _expert}


def make_policy(name: str, robot: RobotSpec, demonstration: str = '') -> Policy:
    """
    Return the policy called ``name`` for ``robot``.

    :raises PolicyUnavailable: unknown name, or something it needs is missing.
    :raises ValueError: from reading or retargeting the demonstration, one line.
    """
    if name not in POLICIES:
        raise PolicyUnavailable(f'policy {name!r}, expected one of {", ".join(POLICIES)}')
    return POLICIES[name](robot, demonstration)
