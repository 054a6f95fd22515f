"""
One policy on one simulated robot, in simulated time: the parts of the ROS graph without ROS.

World, cameras, `PolicyRunner` and `Executor` are those that the nodes run, at the rates of the
robot contract. What the graph adds in time is stated as numbers: how old a picture is when it
arrives, and how long an inference takes. Every instant is an integer, so that equal settings give
equal episodes to the bit. Reads no clock; only the policy's own wall time is measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Command, ExecutorConfig, ExecutorStatus
from chunked_vla_ros.core.policy import ActionPlan, Policy
from chunked_vla_ros.core.policy_run import RunResult
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import ActionChunk, FloatArray, JointSample, NS_PER_S
from chunked_vla_ros.evaluate.camera_feed import CameraFeed
from chunked_vla_ros.evaluate.episode import FilmMoment
from chunked_vla_ros.evaluate.setup import RunTiming
from chunked_vla_ros.policies.exchange import PolicyExchange
from chunked_vla_ros.policies.runner import PolicyRunner
from chunked_vla_ros.policies.runner_records import RunnerSettings
from chunked_vla_ros.policies.worker import PlanAnswer, PlanRequest, PolicyCaller
from chunked_vla_ros.sim.world import World

# Before the run the executor finds the arm and holds it; after it a cube may still come to rest.
HOLD_NS, SETTLE_NS = 300_000_000, 500_000_000
TICK_NS = 20_000_000    # of the inference node
SCENE_NS = 50_000_000
FILM_NS = 500_000_000


@dataclass(frozen=True)
class RunTrace:
    """
    What a finished run left behind.

    :ivar velocity: Of the commanded motion, shape (N, J) in [rad/s], one row per control tick.
    :ivar acceleration: The same in [rad/s^2].
    """

    result: RunResult
    status: ExecutorStatus
    plan_wall_s: tuple[float, ...]
    velocity: FloatArray
    acceleration: FloatArray
    film: tuple[FilmMoment, ...]


class RunListener:
    """
    Hears what the ROS graph would publish, at every instant of simulated time; this one is deaf.

    :ivar tail_ns: How long it goes on listening after the run, in [ns].
    """

    tail_ns = 0

    def begins(self, world: World, runner: PolicyRunner, now_ns: int) -> None:
        """Hear that the run begins now: the arm has been at rest and held."""

    def sensed(self, sample: JointSample, now_ns: int) -> None:
        """Hear of the joints, before anybody else does; success is as of the same instant."""

    def chunk_sent(self, chunk: ActionChunk, plan: ActionPlan, now_ns: int) -> None:
        """Hear of a chunk and the plan that it was made of."""

    def stepped(self, executor: Executor, command: Command | None, now_ns: int) -> None:
        """Hear of a control tick; no command is given before the arm is known."""

    def ends(self, result: RunResult, success: bool, now_ns: int) -> None:
        """Hear how the run ended; ``success`` is the task's."""


class SimulatedRun:
    """Drive ``world`` from its start by ``policy`` until the run has ended."""

    def __init__(self, world: World, robot: RobotSpec, policy: Policy, feed: CameraFeed,
                 timing: RunTiming, session_id: str,
                 listener: RunListener | None = None) -> None:
        self._world, self._feed, self._timing = world, feed, timing
        self._listener = RunListener() if listener is None else listener
        self._executor = Executor(robot, ExecutorConfig(rate_hz=robot.command.rate_hz))
        self._caller = PolicyCaller(policy)
        self.runner = PolicyRunner(
            robot, PolicyExchange(policy, self._caller.use),
            RunnerSettings(timing.replan_period_s, default_timeout_s=timing.timeout_s),
            self._ask, lambda: session_id)
        # What is due when, by what is done then; of those due at once the first comes first.
        self._every: dict[Callable[[int], None], int] = {
            self._feed_scene: SCENE_NS, self._sense: round(NS_PER_S / robot.state.rate_hz),
            self._tick: TICK_NS, self._command: self._executor.period_ns}
        self._due = dict.fromkeys(self._every, 0)
        self._answers: deque[tuple[int, PlanAnswer]] = deque()
        self._plan_wall_s: list[float] = []
        self._velocity: list[FloatArray] = []
        self._acceleration: list[FloatArray] = []
        self._film: list[FilmMoment] = []
        self._started_ns: int | None = None
        self._now_ns = 0

    def run(self, look: Callable[[World], None]) -> RunTrace:
        """Return what the run left behind; ``look`` is shown the world at every joint sample."""
        for moment in self._every:
            self._due[moment] = self._world.time_ns + self._every[moment]
        self.runner.activate(self._now_ns)
        self._advance(HOLD_NS, look, lambda: False)
        self._started_ns = self._now_ns
        self._listener.begins(self._world, self.runner, self._now_ns)
        self.runner.start(self._world.instruction, self._timing.timeout_s, self._now_ns)
        # The table has been as it is since before the first picture: all of them show it.
        self.runner.assembler.since_ns = 0
        self._show(self._now_ns)
        self._advance(None, look, lambda: self.runner.run is None)
        result = self.runner.take_result()
        assert result is not None    # it has ended, by its time at the latest
        success = self._world.success
        if self._listener.tail_ns:
            self._advance(self._listener.tail_ns, look, lambda: False)
        self._listener.ends(result, success, self._now_ns)
        if not self._world.success:
            self._advance(SETTLE_NS, look, lambda: False)
        self._show(self._now_ns)
        return RunTrace(
            result, self._executor.status(self._now_ns), tuple(self._plan_wall_s),
            _rows(self._velocity), _rows(self._acceleration), tuple(self._film))

    def _advance(self, for_ns: int | None, look: Callable[[World], None],
                 done: Callable[[], bool]) -> None:
        end_ns = None if for_ns is None else self._now_ns + for_ns
        while not done():
            now_ns = min([*self._due.values(), *(ready_ns for ready_ns, _ in self._answers)])
            if end_ns is not None and now_ns > end_ns:
                self._now_ns = end_ns
                return
            self._now_ns = now_ns
            self._world.advance_to(now_ns)
            while self._answers and self._answers[0][0] <= now_ns:
                self._accept(self._answers.popleft()[1])
            for act, due_ns in self._due.items():
                if due_ns <= now_ns:
                    self._due[act] = due_ns + self._every[act]
                    act(now_ns)
                    if act == self._sense:
                        look(self._world)

    def _sense(self, now_ns: int) -> None:
        """Measure the joints: news for the executor, and for the policy if a plan is due."""
        sample = self._world.joints()
        self._feed.sampled(now_ns, self._world)
        self._show(now_ns)
        self._listener.sensed(sample, now_ns)
        if self._world.take_success():
            self.runner.episode_ended(True, now_ns, self._world.task_name, now_ns)
        self._executor.observe(sample)
        if self.runner.wants_plan(now_ns):
            for camera, frame in self._feed.frames(now_ns):
                self.runner.assembler.add_frame(camera, frame, now_ns)
            if self.runner.takes_committed:
                status = self._executor.status(now_ns)
                self.runner.committed.reported(status.session_id, status.chunk_id, now_ns)
        self.runner.add_joints(sample, now_ns)

    def _feed_scene(self, now_ns: int) -> None:
        if self.runner.needs_scene:
            self.runner.assembler.add_scene(self._world.scene(), now_ns)

    def _tick(self, now_ns: int) -> None:
        self.runner.tick(now_ns)

    def _ask(self, request: PlanRequest) -> None:
        answer = self._caller.answer(request)
        self._plan_wall_s.append(answer.latency_ns / NS_PER_S)
        if self._timing.latency_s is not None:
            answer = replace(answer, latency_ns=round(self._timing.latency_s * NS_PER_S))
        self._answers.append((self._now_ns + answer.latency_ns, answer))

    def _accept(self, answer: PlanAnswer) -> None:
        chunk = self.runner.accept(answer, self._now_ns)
        if chunk is not None:
            self._executor.offer_chunk(chunk)
            assert answer.plan is not None    # it is what the chunk was made of
            self._listener.chunk_sent(chunk, answer.plan, self._now_ns)

    def _command(self, now_ns: int) -> None:
        command = self._executor.step(now_ns, now_ns)
        self._listener.stepped(self._executor, command, now_ns)
        if command is None:
            return
        self._world.command_position(command.state.position, now_ns)
        if self.runner.run is not None:
            self._velocity.append(command.state.velocity)
            self._acceleration.append(command.state.acceleration)

    def _show(self, now_ns: int) -> None:
        """Keep a moment for the film, every so often."""
        if self._started_ns is None:
            return
        since_ns = now_ns - self._started_ns
        if not self._film or since_ns - round(self._film[-1].time_s * NS_PER_S) >= FILM_NS:
            self._film.append(FilmMoment(
                since_ns / NS_PER_S, tuple(self._world.configuration().tolist())))


def _rows(states: Sequence[FloatArray]) -> FloatArray:
    return np.array(states) if states else np.empty((0, 0))
