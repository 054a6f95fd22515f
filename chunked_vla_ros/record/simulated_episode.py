"""
Record a run in simulated time: what its graph would publish, at the graph's rates, as a bag.

Listens to the run and lets `nodes.simulated_topics` say what it hears; decides nothing about the
run. Pictures are rendered when they arrive. Reads no clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Command
from chunked_vla_ros.core.policy import ActionPlan
from chunked_vla_ros.core.policy_run import RunResult
from chunked_vla_ros.core.recording import Outcome, StreamSpec, WireMessage
from chunked_vla_ros.core.recording_control import EpisodeRequest
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.core.types import ActionChunk, CameraFrame, FloatArray, JointSample
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.evaluate.simulated_run import RunListener
from chunked_vla_ros.nodes.episode_facts import EpisodeFactsSource
from chunked_vla_ros.nodes.simulated_topics import (
    INFERENCE,
    RECORDER,
    SIM,
    SimulatedTopics,
    STATE_RATE_HZ,
)
from chunked_vla_ros.policies.runner import PolicyRunner
from chunked_vla_ros.record.simulated_bag import SimulatedBag
from chunked_vla_ros.sim.cameras import CameraRig
from chunked_vla_ros.sim.world import World

SCENE_RATE_HZ = 20.0
# What passes in the graph from a run's end to the recording's.
TAIL_NS = 80_000_000


@dataclass(frozen=True)
class RecordedRobot:
    """
    What is recorded, and how; the same for many episodes.

    :ivar rig: Renders all cameras of ``robot``; ``None`` if it has none.
    :ivar facts: Knows what stays the same from episode to episode.
    :ivar camera_delay_ns: From a picture's exposure to its arrival.
    """

    robot: RobotSpec
    rig: CameraRig | None
    selection: Selection
    facts: EpisodeFactsSource
    camera_delay_ns: int


class SimulatedEpisode(RunListener):
    """
    The episode ``name`` in the folder ``out``.

    :param zero_ns: The stamp of simulated time 0, in [ns] since 1970.
    :ivar record: What became of it; ``None`` until the run has ended.
    """

    tail_ns = TAIL_NS

    def __init__(self, recorded: RecordedRobot, out: Path, name: str, zero_ns: int) -> None:
        robot, rig = recorded.robot, recorded.rig
        self._recorded, self._out, self._name, self._zero_ns = recorded, out, name, zero_ns
        self._topics = SimulatedTopics(
            robot, recorded.selection,
            {camera.name: rig.focal_px(camera.name) for camera in robot.cameras} if rig else {},
            self._keep, zero_ns)
        self._frames_every, self._scene_every = (
            max(1, int(robot.state.rate_hz / rate_hz + 1e-9)) for rate_hz in (
                max((camera.stream.rate_hz for camera in robot.cameras), default=SCENE_RATE_HZ),
                SCENE_RATE_HZ))
        self._state_every = max(1, round(robot.command.rate_hz / STATE_RATE_HZ))
        self._early: list[tuple[StreamSpec, int, WireMessage]] = []
        self._bag: SimulatedBag | None = None
        self._exposed: deque[tuple[int, FloatArray]] = deque()
        self._samples = self._ticks = 0
        self._told_session = self._noted = ''
        self._told_success = False
        self.record: EpisodeRecord | None = None

    def begins(self, world: World, runner: PolicyRunner, now_ns: int) -> None:
        """
        Begin the bag with what a recorder hears that begins now.

        :raises OSError: there cannot be such a bag.
        """
        self._world, self._runner = world, runner
        heard = {'policy_info': self._topics.policy_info(runner, now_ns),
                 'instruction': self._topics.instruction(world.instruction, now_ns)}
        facts = self._recorded.facts.facts(
            self._name, EpisodeRequest(task=world.instruction), now_ns + self._zero_ns, heard)
        self._bag = SimulatedBag(self._out, facts, self._recorded.selection)
        for stream, publishers, message in self._early:
            self._bag.keep(stream, publishers, message)
        self._topics.event('START', RECORDER, self._name, now_ns, now_ns)
        self._topics.event('TASK', RECORDER, self._name, now_ns, now_ns, world.instruction)

    def sensed(self, sample: JointSample, now_ns: int) -> None:
        """Say joints, scene and success; expose a picture if one is due."""
        if not self._goes_on:
            return
        self._arrive(now_ns)
        self._tell_policy(now_ns)
        self._topics.joints(sample, now_ns)
        if self._samples % self._frames_every == 0 and self._recorded.rig is not None:
            self._exposed.append((now_ns, self._world.configuration()))
        if self._samples % self._scene_every == 0:
            self._topics.scene(self._world.scene(), now_ns)
        self._samples += 1
        if self._world.success and not self._told_success and self._told_session:
            self._told_success = True
            self._topics.event('SUCCESS', SIM, self._name, now_ns, now_ns, self._world.task_name)

    def chunk_sent(self, chunk: ActionChunk, plan: ActionPlan, now_ns: int) -> None:
        """Send it; note what it is for, where that is news."""
        if not self._goes_on:
            return
        self._arrive(now_ns)
        self._topics.chunk(chunk, now_ns)
        if plan.note and plan.note != self._noted:
            self._topics.event(
                'NOTE', INFERENCE, self._name, chunk.observation_ns, now_ns, plan.note)
        self._noted = plan.note

    def stepped(self, executor: Executor, command: Command | None, now_ns: int) -> None:
        """Send the command, and the executor's state every so often."""
        if not self._goes_on:
            return
        self._arrive(now_ns)
        if command is not None:
            self._topics.command(command, now_ns)
        if self._ticks % self._state_every == 0:
            self._topics.executor_state(executor.status(now_ns), now_ns)
        self._ticks += 1

    def ends(self, result: RunResult, success: bool, now_ns: int) -> None:
        """
        Label and close the bag.

        :raises OSError: it cannot be closed.
        """
        assert self._bag is not None    # it began
        self._arrive(now_ns)
        outcome = Outcome.SUCCESS if success else Outcome.FAILURE
        self._topics.event(outcome.name, RECORDER, self._name, now_ns, now_ns)
        self._topics.event('END', RECORDER, self._name, now_ns, now_ns, outcome.value)
        self.record = self._bag.finish(outcome, now_ns + self._zero_ns)

    def abandon(self) -> None:
        """Leave an unfinished bag as it is."""
        if self._bag is not None and self.record is None:
            self._bag.abandon()

    @property
    def _goes_on(self) -> bool:
        return self._bag is not None and self.record is None

    def _keep(self, stream: StreamSpec, publishers: int, message: WireMessage) -> None:
        if self._bag is None:
            self._early.append((stream, publishers, message))
        else:
            self._bag.keep(stream, publishers, message)

    def _tell_policy(self, now_ns: int) -> None:
        run = self._runner.run
        session = '' if run is None else run.session_id
        if session != self._told_session:
            self._told_session = session
            self._topics.policy_info(self._runner, now_ns)

    def _arrive(self, now_ns: int) -> None:
        """Render the pictures that have arrived by now."""
        delay_ns, rig = self._recorded.camera_delay_ns, self._recorded.rig
        while rig is not None and self._exposed and self._exposed[0][0] + delay_ns <= now_ns:
            exposed_ns, configuration = self._exposed.popleft()
            pictures = rig.render(configuration)
            for camera in self._recorded.robot.cameras:
                self._topics.picture(
                    camera, CameraFrame(exposed_ns, pictures[camera.name]), exposed_ns + delay_ns)
