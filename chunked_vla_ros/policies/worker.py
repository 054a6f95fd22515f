"""
Ask a policy, in the caller's thread or in one of its own: newest question in, answers out.

A plan is checked before it leaves, so that nothing malformed reaches the arm. Knows nothing about
sessions' rules or ROS; durations are measured on the steady clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
import threading
import time
from weakref import WeakKeyDictionary

import numpy as np

from chunked_vla_ros.core.latest import LatestSlot
from chunked_vla_ros.core.policy import ActionPlan, Policy, PolicySpec
from chunked_vla_ros.core.types import NS_PER_S, Observation

STOP_LIMIT_S = 5.0


@dataclass(frozen=True)
class PlanRequest:
    """A question: what to do after ``observation``, in which session and epoch."""

    session_id: str
    policy_epoch: int
    observation: Observation


@dataclass(frozen=True)
class PlanAnswer:
    """
    What the policy said to ``request``.

    :ivar plan: Checked plan, or ``None``.
    :ivar blocked: Why a plan may not be sent: a short reason to count by; empty if it may.
    :ivar error: Why the policy cannot go on; empty if it can.
    :ivar latency_ns: From the question to the answer in [ns], delay included.
    """

    request: PlanRequest
    plan: ActionPlan | None
    blocked: str
    error: str
    latency_ns: int


class PolicyCaller:
    """
    Ask a policy and check what it says, in the caller's own thread.

    A policy is told to forget the past whenever a session or an epoch begins.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        # Per policy: one that comes back goes on where it was.
        self._told: WeakKeyDictionary[Policy, tuple[str, int]] = WeakKeyDictionary()

    def use(self, policy: Policy) -> None:
        """Send later questions to ``policy``; one under way is still answered by the former."""
        self._policy = policy

    def answer(self, request: PlanRequest) -> PlanAnswer:
        """Return what the policy says to ``request``, and how long it took."""
        started_ns = time.monotonic_ns()
        plan, blocked, error = self._consult(request)
        return PlanAnswer(request, plan, blocked, error, time.monotonic_ns() - started_ns)

    def _consult(self, request: PlanRequest) -> tuple[ActionPlan | None, str, str]:
        policy, place = self._policy, (request.session_id, request.policy_epoch)
        try:
            if self._told.get(policy) != place:
                policy.reset()
                self._told[policy] = place
            plan = policy.plan(request.observation)
        except Exception as error:  # noqa: BLE001 - foreign code: its failure is the run's end
            text = ' '.join(str(error).split())
            return None, '', f'{type(error).__name__}: {text}' if text else type(error).__name__
        blocked = why_blocked(plan, policy.spec)
        return (None if blocked else plan), blocked, ''


class PolicyWorker:
    """Own the only thread that asks policies."""

    def __init__(self, policy: Policy, notify: Callable[[], None], delay_s: float = 0.0) -> None:
        """
        Start the thread; ``notify`` is called from it after every answer.

        ``delay_s`` holds every answer back that long, as a slower model would: for measurements.
        """
        self._caller, self._notify, self._delay_s = PolicyCaller(policy), notify, delay_s
        self._questions: LatestSlot[PlanRequest] = LatestSlot()
        self._answers: deque[PlanAnswer] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='policy', daemon=True)
        self._thread.start()

    def use(self, policy: Policy) -> None:
        """Send later questions to ``policy``; one under way is still answered by the former."""
        self._caller.use(policy)

    def ask(self, request: PlanRequest) -> None:
        """Replace the question that waits, if any; never blocks."""
        self._questions.put(request)

    def answers(self) -> list[PlanAnswer]:
        """Return the answers since the last call, oldest first."""
        taken = []
        while self._answers:
            taken.append(self._answers.popleft())
        return taken

    def stop(self) -> bool:
        """End the thread; return whether it did within the limit, as a policy may hang."""
        self._stopping.set()
        self._questions.close()
        self._thread.join(STOP_LIMIT_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (request := self._questions.take()) is not None:
            answer = self._caller.answer(request)
            if self._delay_s > 0.0:
                begun_ns = time.monotonic_ns()
                self._stopping.wait(self._delay_s)
                answer = replace(
                    answer, latency_ns=answer.latency_ns + time.monotonic_ns() - begun_ns)
            self._answers.append(answer)
            self._notify()


def why_blocked(plan: ActionPlan, spec: PolicySpec) -> str:
    """Return why ``plan`` may not be sent, or the empty string."""
    rows, columns = plan.positions.shape
    if columns != len(spec.joint_names):
        return f'wrong width {columns}, expected {len(spec.joint_names)}'
    if rows == 0:
        return 'no points'
    if not np.isfinite(plan.positions).all():
        return 'not finite'
    return ''


def latest_due_ns(plan: ActionPlan, spec: PolicySpec, observation: Observation) -> int:
    """Return when the plan's last point is due in [ns]."""
    return observation.stamp_ns + (len(plan.positions) - 1) * round(spec.step_s * NS_PER_S)
