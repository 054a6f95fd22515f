"""
Which policy is in force, which one is to follow it, and which one could come back.

Bookkeeping of `policies.runner`, which decides when: a change is offered, adopted at a chunk
boundary and, if a run is under way, on probation until the first chunk. Knows no clock, no ROS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from chunked_vla_ros.core.policy import Policy, PolicySpec
from chunked_vla_ros.core.robot_spec import RobotSpec


class ExchangeRefused(ValueError):
    """A policy cannot be offered; the message is one line that says why."""


@dataclass(frozen=True)
class Exchanged:
    """
    How an offer ended.

    :ivar success: Whether the offered policy is in force.
    :ivar message: Why not, or when it came into force.
    """

    success: bool
    message: str


class PolicyExchange:
    """
    The policy in force and the one under way to its place.

    :ivar in_force: Answers the next question.
    :ivar candidate: Offered and waiting for a chunk boundary, or ``None``.
    :ivar offered_ns: When it was offered.
    """

    def __init__(self, policy: Policy, use: Callable[[Policy], None]) -> None:
        """Take the first policy; ``use`` makes every later question go to another one."""
        self.in_force = policy
        self.candidate: Policy | None = None
        self.offered_ns = 0
        self._use = use
        self._former: tuple[Policy, int] | None = None
        self._outcomes: deque[Exchanged] = deque()

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Return every policy that may be asked: in force, to follow, to come back."""
        former = (self._former[0],) if self._former else ()
        return (self.in_force, *((self.candidate,) if self.candidate else ()), *former)

    @property
    def on_probation(self) -> bool:
        """Return whether the policy in force has still to show its first chunk."""
        return self._former is not None

    def offer(self, policy: Policy, now_ns: int) -> None:
        """
        Let ``policy`` wait for the next chunk boundary.

        :raises ExchangeRefused: while another exchange is under way.
        """
        if self.candidate is not None or self.on_probation:
            raise ExchangeRefused('another policy is being put in force')
        self.candidate, self.offered_ns = policy, now_ns

    def adopt(self, epoch: int, *, proven: bool) -> Policy:
        """Put the candidate in force; unless ``proven``, the one of ``epoch`` may come back."""
        assert self.candidate is not None
        adopted, former = self.candidate, self.in_force
        self.candidate, self.in_force = None, adopted
        self._use(adopted)
        if proven:
            self._outcomes.append(Exchanged(True, 'in force'))
        else:
            self._former = former, epoch
        return adopted

    def confirm(self, message: str) -> None:
        """End the probation, if there is one."""
        if self._former is not None:
            self._former = None
            self._outcomes.append(Exchanged(True, message))

    def roll_back(self, reason: str) -> tuple[Policy, int]:
        """Put the former policy in force again; return it and the epoch it had."""
        assert self._former is not None
        (policy, epoch), self._former = self._former, None
        self.in_force = policy
        self._use(policy)
        self._outcomes.append(Exchanged(False, f'rolled back at its first chunk: {reason}'))
        return policy, epoch

    def withdraw(self, reason: str) -> None:
        """Give the candidate up, if there is one."""
        if self.candidate is not None:
            self.candidate = None
            self._outcomes.append(Exchanged(False, reason))

    def take_outcome(self) -> Exchanged | None:
        """Return how an offer has ended since the last call, once."""
        return self._outcomes.popleft() if self._outcomes else None


def check_cameras(spec: PolicySpec, robot: RobotSpec) -> None:
    """
    Do nothing if ``robot`` has the cameras that a policy needs.

    :raises ValueError: naming the policy, the camera and the robot.
    """
    for camera in spec.cameras:
        if camera not in [known.name for known in robot.cameras]:
            raise ValueError(f'{spec.policy_id} needs camera {camera!r}, which {robot.name} '
                             'does not have')
