"""
One run of a policy: when to plan again, and when and how the run has ended.

How it ended is kept apart from whether the task succeeded. Knows no clock, no policy, no ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from chunked_vla_ros.core.types import NS_PER_S

# So many plans in a row that cannot be sent are no accident any more.
BLOCKED_LIMIT = 10
# Who drives for longer has taken the run over for good, or has left without a word.
LONGEST_INTERVENTION_NS = 600 * NS_PER_S


class Termination(IntEnum):
    """Why a run ended; the values are those of RunPolicy.action."""

    POLICY_DONE = 0
    SUCCESS = 1
    FAILURE = 2
    CANCELED = 3
    TIMEOUT = 4
    POLICY_ERROR = 5
    DEACTIVATED = 6


class Outcome(IntEnum):
    """Whether the task succeeded; the values are those of RunPolicy.action."""

    UNLABELED = 0
    SUCCESS = 1
    FAILURE = 2


OUTCOMES = {Termination.SUCCESS: Outcome.SUCCESS, Termination.FAILURE: Outcome.FAILURE}


@dataclass(frozen=True)
class RunResult:
    """
    How a run ended.

    :ivar chunks: Chunks published.
    :ivar duration_ns: From its start to its end in [ns].
    """

    session_id: str
    termination: Termination
    chunks: int
    duration_ns: int
    message: str

    @property
    def outcome(self) -> Outcome:
        """Return what is known of the task's success."""
        return OUTCOMES.get(self.termination, Outcome.UNLABELED)


@dataclass(frozen=True)
class RunOptions:
    """
    What a run is asked to do.

    :ivar instruction: The task in words; empty: the newest on the topic, also if it changes.
    :ivar timeout_ns: Longest duration in [ns], without the time in which a person drives.
    """

    instruction: str
    timeout_ns: int


class PolicyRun:
    """
    A run from its start to its result; the first reason to end is the one that counts.

    :ivar next_chunk_id: Id of the next chunk, which is also how many were published.
    :ivar policy_epoch: Increases with every change of the task.
    :ivar result: ``None`` while the run goes on.
    """

    def __init__(self, session_id: str, options: RunOptions, task: str, policy_epoch: int,
                 started_ns: int) -> None:
        self.session_id, self.options = session_id, options
        self.task, self.policy_epoch = task, policy_epoch
        self.started_ns = started_ns
        self.next_chunk_id = 0
        self.result: RunResult | None = None
        self._planning = False
        self._intervened_ns: int | None = None    # when a person took the policy's place
        self._not_its_own_ns = 0    # interventions that are over
        self._next_plan_ns = started_ns
        self._ends_ns: int | None = None
        self._blocked = 0

    @property
    def planning(self) -> bool:
        """Return whether a question to the policy is open."""
        return self._planning

    @property
    def intervening(self) -> bool:
        """Return whether a person drives in the policy's place."""
        return self._intervened_ns is not None

    @property
    def winding_down(self) -> bool:
        """Return whether the policy has said that there is nothing to do after its last plan."""
        return self._ends_ns is not None

    def wants_plan(self, now_ns: int) -> bool:
        """Return whether the policy should be asked now: one question at a time, not too often."""
        return (self.result is None and not self._planning and self._ends_ns is None
                and now_ns >= self._next_plan_ns)

    def intervene(self, begins: bool, now_ns: int) -> None:
        """Note that a person takes the policy's place, or no longer does."""
        if begins and self._intervened_ns is None:
            self._intervened_ns = now_ns
        elif not begins:
            self._not_its_own_ns, self._intervened_ns = self._others_ns(now_ns), None

    def plan_requested(self, now_ns: int, again_after_ns: int) -> None:
        """Note that the policy works on an observation of now, and when the next may be."""
        self._planning = True
        self._next_plan_ns = now_ns + again_after_ns

    def plan_published(self, last_due_ns: int, done: bool) -> None:
        """Note a chunk; after a ``done`` one the run ends when its last point is due."""
        self._planning, self._blocked = False, 0
        self.next_chunk_id += 1
        if done:
            self._ends_ns = last_due_ns

    def plan_failed(self, error: str, now_ns: int) -> None:
        """Note that the policy cannot plan: the run's end, unless a person drives."""
        self._planning = False
        if not self.intervening:
            self.end(Termination.POLICY_ERROR, error, now_ns)

    def plan_blocked(self, reason: str, now_ns: int) -> None:
        """Note a plan that cannot be sent."""
        self._planning = False
        self._blocked += 1
        if self._blocked >= BLOCKED_LIMIT:
            self.end(Termination.POLICY_ERROR,
                     f'{BLOCKED_LIMIT} plans in a row were blocked, the last: {reason}', now_ns)

    def change_task(self, task: str, policy_epoch: int) -> None:
        """Serve another task from now on; a plan under way belongs to the old one."""
        self.task, self.policy_epoch = task, policy_epoch
        self._planning, self._ends_ns = False, None
        self._next_plan_ns = self.started_ns

    def change_policy(self, policy_epoch: int) -> None:
        """Ask another policy from now on, without delay: the present chunk is running out."""
        self.policy_epoch = policy_epoch
        self._planning, self._blocked = False, 0
        self._next_plan_ns = self.started_ns

    def episode_ended(self, success: bool, stamp_ns: int, message: str, now_ns: int) -> None:
        """Note the task's success or failure, unless it is that of an earlier episode."""
        if stamp_ns >= self.started_ns:
            self.end(Termination.SUCCESS if success else Termination.FAILURE, message, now_ns)

    def tick(self, now_ns: int, waiting: str) -> None:
        """End the run if its time has come; ``waiting`` says what is missing, if anything."""
        if self._ends_ns is not None and now_ns >= self._ends_ns:
            self.end(Termination.POLICY_DONE, 'the policy has nothing more to do', now_ns)
        elif now_ns - self.started_ns - self._others_ns(now_ns) >= self.options.timeout_ns:
            limit = f'timed out after {self.options.timeout_ns / NS_PER_S:.1f} s'
            self.end(Termination.TIMEOUT, f'{limit}; {waiting}' if waiting else limit, now_ns)

    def _others_ns(self, now_ns: int) -> int:
        """Return for how long a person has driven in the policy's place in [ns]."""
        if self._intervened_ns is None:
            return self._not_its_own_ns
        lasted_ns = max(now_ns - self._intervened_ns, 0)
        return self._not_its_own_ns + min(lasted_ns, LONGEST_INTERVENTION_NS)

    def end(self, termination: Termination, message: str, now_ns: int) -> None:
        """End the run, unless it has ended already."""
        if self.result is None:
            self.result = RunResult(
                self.session_id, termination, self.next_chunk_id,
                max(now_ns - self.started_ns, 0), message)
