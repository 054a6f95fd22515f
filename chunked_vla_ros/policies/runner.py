"""
Everything the inference node decides: runs, questions to the policy, chunks from its answers.

Joint samples go to `add_joints`, which asks the policy when a plan is due, so that it sees the
newest one; the rest goes into `assembler`. `tick` is called regularly and `accept` with every
answer; chunks and results come back as values. Knows no clock and no ROS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import math

from chunked_vla_ros.core.policy import Policy, PolicySpec
from chunked_vla_ros.core.policy_run import PolicyRun, RunOptions, RunResult, Termination
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.sync import ObservationAssembler, ObservationNeeds, Waiting
from chunked_vla_ros.core.types import ActionChunk, JointSample, NS_PER_S, Observation
from chunked_vla_ros.policies.chunk_making import make_chunk
from chunked_vla_ros.policies.committed_motion import CommittedMotion
from chunked_vla_ros.policies.exchange import check_cameras, PolicyExchange
from chunked_vla_ros.policies.runner_records import RunnerSettings, RunnerStatistics
from chunked_vla_ros.policies.worker import latest_due_ns, PlanAnswer, PlanRequest

# So long a new policy may wait for the streams it needs before it is given up.
EXCHANGE_PATIENCE_NS = 3 * NS_PER_S
PROBATION_NS = 30 * NS_PER_S


class RunRefused(ValueError):
    """A run cannot be started; the message is one line that says why."""


class PolicyRunner:
    """
    Run one policy on one robot, one run at a time; the policy may be exchanged.

    :ivar assembler: Where samples other than the joints go.
    :ivar committed: What the arm follows; is told what the executor says of that.
    :ivar exchange: The policy in force, and the one that is to follow it.
    :ivar run: The run that goes on, or ``None``.
    :ivar policy_epoch: Increases with every change of the task or the policy.
    :ivar waiting: What the run, or the wish to start one, waits for; empty if for nothing.
    """

    def __init__(self, robot: RobotSpec, exchange: PolicyExchange, settings: RunnerSettings,
                 ask: Callable[[PlanRequest], None], new_session: Callable[[], str]) -> None:
        """
        Take what it needs.

        :raises ValueError: if the policy wants a camera that the robot does not have.
        """
        check_cameras(exchange.in_force.spec, robot)
        self.exchange, self.settings, self._robot = exchange, settings, robot
        self.assembler, self.committed = ObservationAssembler(robot), CommittedMotion()
        self.statistics = RunnerStatistics()
        self.run: PolicyRun | None = None
        self.waiting = ''
        self._ask, self._new_session = ask, new_session
        self._active = self._start_pending = False
        self.policy_epoch, self._task, self._clock_resets = 0, '', 0
        self._results: deque[RunResult] = deque()

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy in force is."""
        return self.exchange.in_force.spec

    @property
    def cameras(self) -> frozenset[str]:
        """Return the cameras that any policy which may be asked looks at."""
        return frozenset(
            name for policy in self.exchange.policies for name in policy.spec.cameras)

    @property
    def needs_scene(self) -> bool:
        """Return whether any policy which may be asked reads the scene."""
        return any(policy.spec.needs_scene for policy in self.exchange.policies)

    @property
    def takes_committed(self) -> bool:
        """Return whether any policy which may be asked continues what the arm follows."""
        return any(policy.spec.takes_committed for policy in self.exchange.policies)

    def activate(self, now_ns: int) -> None:
        """Allow runs, and start one as soon as it is possible if that is wished for."""
        self._active, self._start_pending = True, self.settings.run_on_activate
        self.assembler.since_ns = now_ns

    def deactivate(self, now_ns: int) -> None:
        """End the run, if any, and allow no other."""
        self._active = self._start_pending = False
        self._end(Termination.DEACTIVATED, 'the node was deactivated', now_ns)

    def check_start(self, timeout_s: float) -> None:
        """
        Do nothing if a run could be started.

        :raises RunRefused: if not.
        """
        if not self._active:
            raise RunRefused('inference is not active')
        if self.run is not None:
            raise RunRefused(f'run {self.run.session_id} is under way; cancel it first')
        if not math.isfinite(timeout_s) or timeout_s < 0.0:
            raise RunRefused(f'timeout is {timeout_s} s, expected 0 (the default) or more')

    def start(self, instruction: str, timeout_s: float, now_ns: int) -> PolicyRun:
        """
        Start a run; ``timeout_s`` 0 means the default.

        :raises RunRefused: if it cannot be.
        """
        self.check_start(timeout_s)
        options = RunOptions(
            instruction, round((timeout_s or self.settings.default_timeout_s) * NS_PER_S))
        task = instruction or self.assembler.instruction
        self._note_task(task)
        self.run = PolicyRun(self._new_session(), options, task, self.policy_epoch, now_ns)
        self._start_pending = False
        self.assembler.since_ns = now_ns
        self.committed.forget()
        self.statistics.runs += 1
        return self.run

    def cancel(self, message: str, now_ns: int) -> bool:
        """End the run on somebody's wish; return whether there was one."""
        return self._end(Termination.CANCELED, message, now_ns)

    def instruct(self, instruction: str, now_ns: int) -> None:
        """Take the topic's instruction: may start a run, or change one that follows the topic."""
        repeated = self._start_pending and instruction == self.assembler.instruction
        self.assembler.instruction = instruction
        if self.run is None:
            self._start_pending = self._active and self.settings.run_on_activate
            if not repeated:    # who says it again and again does not put the start off
                self.assembler.since_ns = now_ns
        elif (self.spec.needs_instruction and not self.run.options.instruction
              and instruction != self.run.task):
            self._note_task(instruction)
            self.run.change_task(instruction, self.policy_epoch)

    def episode_ended(self, success: bool, stamp_ns: int, message: str, now_ns: int) -> None:
        """Take news of the task's success or failure."""
        if self.run is not None:
            self.run.episode_ended(success, stamp_ns, message, now_ns)
            self._collect()

    def offer(self, policy: Policy, now_ns: int) -> None:
        """
        Let ``policy`` follow the one in force at the next chunk boundary.

        How it ended is told by `PolicyExchange.take_outcome`.

        :raises ExchangeRefused: while another exchange is under way.
        :raises ValueError: if it wants a camera that the robot does not have.
        """
        check_cameras(policy.spec, self._robot)
        self.exchange.offer(policy, now_ns)
        self._exchange(now_ns)

    def add_joints(self, sample: JointSample, now_ns: int) -> None:
        """Take a joint sample and ask the policy with it if a plan is due."""
        self.assembler.add_joints(sample, now_ns)
        self._follow_clock(now_ns)
        self._exchange(now_ns)
        if not self.wants_plan(now_ns):
            return
        observation = self._observe(now_ns, self.spec)
        # A refused sample asks nothing: the next one is fresher than what is held.
        if isinstance(observation, Observation) and observation.stamp_ns == sample.stamp_ns:
            run = self.run or self.start('', 0.0, now_ns)
            period_s = self.settings.replan_period_s or self.spec.replan_period_s
            run.plan_requested(now_ns, round(period_s * NS_PER_S))
            self._ask(PlanRequest(
                run.session_id, run.policy_epoch, self._with_committed(run, observation)))

    def tick(self, now_ns: int) -> None:
        """End what is due and note what is missing; questions wait for the next joint sample."""
        self._follow_clock(now_ns)
        self._exchange(now_ns)
        self.waiting = ''
        missing = self._observe(now_ns, self.spec) if self.wants_plan(now_ns) else None
        if isinstance(missing, Waiting) and not missing.ordinary:
            self.statistics.waits[missing.stream] += 1
            self.waiting = missing.reason
        if self.run is not None:
            if self.exchange.on_probation and now_ns - self.exchange.offered_ns > PROBATION_NS:
                self._roll_back(self.run, f'no answer within {PROBATION_NS // NS_PER_S} s')
            self.run.tick(now_ns, self.waiting)
            self._collect()

    def accept(self, answer: PlanAnswer, now_ns: int) -> ActionChunk | None:
        """Return the chunk to publish, unless the answer is none or comes too late."""
        run, request, counts = self.run, answer.request, self.statistics
        counts.latencies_ns.append(answer.latency_ns)
        counts.over_budget = (
            answer.latency_ns > round(self.spec.horizon * self.spec.step_s * NS_PER_S))
        counts.budget_misses += counts.over_budget
        if run is None or (run.session_id, run.policy_epoch) != (
                request.session_id, request.policy_epoch):
            counts.late_answers += 1
            return None
        if answer.plan is not None:
            chunk = make_chunk(run, self.spec, answer.plan, answer, self.settings)
            self.committed.published(chunk, now_ns)
            run.plan_published(
                latest_due_ns(answer.plan, self.spec, request.observation), answer.plan.done)
            counts.chunks += 1
            self.exchange.confirm('in force, first chunk published')
            self._exchange(now_ns)
            return chunk
        if answer.blocked:
            counts.blocked[answer.blocked] += 1
        else:
            counts.last_error = answer.error
        if self.exchange.on_probation:
            self._roll_back(run, answer.error or f'plan blocked: {answer.blocked}')
        else:
            note = run.plan_failed if answer.error else run.plan_blocked
            note(answer.error or answer.blocked, now_ns)
            self._collect()
        return None

    def wants_plan(self, now_ns: int) -> bool:
        """Return whether the policy would be asked at ``now_ns``, as things are."""
        return self._start_pending or (self.run is not None and self.run.wants_plan(now_ns))

    def take_result(self) -> RunResult | None:
        """Return the result of a run that has ended since the last call, once."""
        return self._results.popleft() if self._results else None

    def _observe(self, now_ns: int, spec: PolicySpec) -> Observation | Waiting:
        return self.assembler.assemble(
            now_ns, ObservationNeeds(spec.cameras, spec.needs_instruction, spec.needs_scene),
            self.run.options.instruction if self.run is not None else '')

    def _exchange(self, now_ns: int) -> None:
        """Adopt the candidate if nothing is asked of the present policy and it would see all."""
        candidate, run = self.exchange.candidate, self.run
        if candidate is None or (run is not None and run.planning):
            return
        proven = run is None or run.winding_down
        if not proven:
            missing = self._observe(now_ns, candidate.spec)
            if isinstance(missing, Waiting):
                if now_ns - self.exchange.offered_ns > EXCHANGE_PATIENCE_NS:
                    self.exchange.withdraw(f'{candidate.spec.policy_id}: {missing.reason}')
                return
        self.exchange.adopt(self.policy_epoch, proven=proven)
        self.policy_epoch += 1
        self.statistics.exchanges += 1
        if run is not None and not proven:
            run.change_policy(self.policy_epoch)

    def _roll_back(self, run: PolicyRun, reason: str) -> None:
        _, epoch = self.exchange.roll_back(reason)
        # No chunk was published in the epoch in between. Unless the task changed as well, the old
        # policy goes on as if it had not been interrupted.
        self.policy_epoch = epoch if self.policy_epoch == epoch + 1 else self.policy_epoch + 1
        self.statistics.rollbacks += 1
        run.change_policy(self.policy_epoch)

    def _with_committed(self, run: PolicyRun, observation: Observation) -> Observation:
        """Add what the arm will do until the answer comes, if the policy wants to know."""
        if run.intervening:    # a person drives: the arm follows nothing of the plan before
            self.committed.forget()
        return observation if not self.spec.takes_committed else self.committed.add_to(
            observation, self.spec, [*self.statistics.latencies_ns])

    def _note_task(self, task: str) -> None:
        if task != self._task:
            self.policy_epoch, self._task = self.policy_epoch + 1, task

    def _follow_clock(self, now_ns: int) -> None:
        self.assembler.observe_clock(now_ns)
        if self.assembler.clock_resets != self._clock_resets:
            self._clock_resets = self.assembler.clock_resets
            self._end(Termination.POLICY_ERROR, 'the clock went back, as at a simulator restart',
                      now_ns)
            self._start_pending = self._active and self.settings.run_on_activate

    def _end(self, termination: Termination, message: str, now_ns: int) -> bool:
        if self.run is None:
            return False
        self.run.end(termination, message, now_ns)
        self._collect()
        return True

    def _collect(self) -> None:
        if self.run is not None and self.run.result is not None:
            self._results.append(self.run.result)
            ended, self.run = self.run.result.termination, None
            if ended is Termination.TIMEOUT and self.exchange.on_probation:
                self.exchange.roll_back('the run was over before it answered')
                self.policy_epoch += 1
                self.statistics.rollbacks += 1
            else:
                self.exchange.confirm('in force; the run ended before its first chunk')
