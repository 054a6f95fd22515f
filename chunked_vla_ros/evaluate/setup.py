"""
What episodes are run with: robot, policies, and what is assumed of time.

Imports no simulator: whoever shows help or reads results has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.policies.runner_records import RunnerSettings


class RosFailure(RuntimeError):
    """The ROS graph did not do what it should; the message is one line naming the node."""


@dataclass(frozen=True)
class RunTiming:
    """
    What a run is made of, beside robot and policy.

    :ivar latency_s: From a question to its chunk's arrival at the executor [s]; ``None``: what the
        call takes on this machine, so that no run is like the other.
    :ivar camera_delay_s: From a picture's exposure to its arrival [s].
    """

    latency_s: float | None = 0.05
    camera_delay_s: float = 0.03
    replan_period_s: float = RunnerSettings.replan_period_s
    timeout_s: float = 30.0


@dataclass(frozen=True)
class StationSetup:
    """
    What a station is made from.

    :ivar robot: Robot contract, a name or a path.
    :ivar policies: ``expert`` or a bundle's directory each.
    """

    robot: str
    policies: tuple[str, ...]
    timing: RunTiming
    execution_provider: str = 'auto'
