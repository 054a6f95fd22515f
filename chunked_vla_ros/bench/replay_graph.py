"""
Replay recordings through the deploy graph, each chunk rate and delay in a graph of its own.

Writes nothing but the nodes' logs, one per graph; `bench.chunks` writes the results.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
import re
import time

from rich.console import Console

from chunked_vla_ros.bench.chunks_options import BenchChunksOptions, LOGS
from chunked_vla_ros.bench.played_frames import NoFrames, played_frames
from chunked_vla_ros.bench.replay_report import replay_report
from chunked_vla_ros.bench.replay_run import judge, NoReplay, ReplayRun, Setting, Unfinished
from chunked_vla_ros.bench.take_time import tick_times
from chunked_vla_ros.core.retarget import Demonstration, retarget, Retargeted
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.demo.running_graph import graph_specs, running_graph, RunningGraph
from chunked_vla_ros.graph.deploy import DeployOptions
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.motion_log import MotionLog
from chunked_vla_ros.nodes.pose_command import PoseCommand

TIMEOUT_MARGIN_S = 15.0
# The last chunk is still being executed when the policy is done.
AFTERWARDS_S = 0.5
# Nodes report once a second; one more report shows all that they counted.
LAST_REPORT_S = 1.2
APPROACH_DEADLINE_S = 30.0
# So long after a command the arm has visibly left.
SETTING_OUT_S = 1.0


@dataclass(frozen=True)
class Recording:
    """
    A recorded motion and where the inference node reads it.

    :ivar episode: Of a dataset; ``None``: the file or the dataset's first.
    """

    path: Path
    episode: int | None
    motion: Demonstration


def replay_all(options: BenchChunksOptions, robot: RobotSpec, recordings: list[Recording],
               domain_id: int, console: Console) -> tuple[list[ReplayRun], list[Unfinished]]:
    """
    Replay every recording with every chunk rate and delay; each run is told on ``console``.

    A replay that fails does not end the others.

    :raises GraphFailure: if not even the first graph plays along.
    :raises NoFrames: if not even the first recording's frames can be played.
    """
    runs: list[ReplayRun] = []
    unfinished: list[Unfinished] = []
    for recording in recordings:
        source = recording.motion.source
        for chunk_rate_hz in options.chunk_rates:
            replayed = retarget(recording.motion, robot, step_s=1.0 / chunk_rate_hz)
            for delay_s in options.delays_s:
                log_path = Path(options.out) / log_name(source, chunk_rate_hz, delay_s)
                setting = Setting(delay_s, 0, chunk_rate_hz)
                try:
                    with running_graph(_specs(options, recording, chunk_rate_hz, delay_s), robot,
                                       domain_id, log_path) as graph:
                        replays = _Replays(graph, robot, replayed, console,
                                           _frames(options, recording, log_path))
                        for repeat in range(options.repeats):
                            setting = Setting(delay_s, repeat, chunk_rate_hz)
                            found = replays.run(setting)
                            if isinstance(found, Unfinished):
                                unfinished.append(found)
                            else:
                                runs.append(found)
                except (GraphFailure, NoFrames) as error:
                    if not runs and not unfinished:
                        raise
                    unfinished.append(Unfinished(source, setting, str(error).splitlines()[0]))
                    console.print(f'unfinished: {unfinished[-1]}')
    return runs, unfinished


def log_name(source: str, chunk_rate_hz: float, delay_s: float) -> str:
    """Return the name of the log of the graph that replays ``source`` with this setting."""
    words = re.sub(r'[^A-Za-z0-9]+', '_', source.removesuffix('.npy')).strip('_')
    return LOGS.replace('*', f'{words}_{chunk_rate_hz:g}hz_{delay_s * 1e3:g}ms')


def _specs(options: BenchChunksOptions, recording: Recording, chunk_rate_hz: float,
           delay_s: float) -> tuple[NodeSpec, ...]:
    deploy = DeployOptions(
        robot=options.robot, policy='replay', demonstration=str(recording.path),
        replay_rate_hz=chunk_rate_hz, replay_moved=True,
        episode=-1 if recording.episode is None else recording.episode)
    return graph_specs(deploy, {'inference': {
        'injected_delay_s': delay_s, 'run_on_activate': False,
        'replay_cameras': options.with_frames}})


def _frames(options: BenchChunksOptions, recording: Recording, log_path: Path,
            ) -> Callable[[], AbstractContextManager[object]]:
    """Return what plays the recording's frames while a block lasts, if they are wanted."""
    if not options.with_frames:
        return nullcontext
    episode = (open_dataset(recording.path).episodes[0] if recording.episode is None
               else recording.episode)
    beside = log_path.with_name(log_path.name.replace('graph', 'frames', 1))
    return lambda: played_frames(recording.path, episode, options.robot, beside)


class _Replays:
    """Replays of one motion in one running graph."""

    def __init__(self, graph: RunningGraph, robot: RobotSpec, replayed: Retargeted,
                 console: Console, frames: Callable[[], AbstractContextManager[object]]) -> None:
        self._client, self._robot, self._replayed = graph.client, robot, replayed
        self._console, self._frames = console, frames
        self._log = MotionLog(graph.client.node, robot, commands=True)
        self._pose = PoseCommand(graph.client.node, robot)

    def run(self, setting: Setting) -> ReplayRun | Unfinished:
        """Return the run, judged; the arm is first brought to where the motion begins."""
        source = self._replayed.motion.source
        try:
            run = self._run(setting)
        except NoReplay as error:
            unfinished = Unfinished(source, setting, str(error))
            self._console.print(f'unfinished: {unfinished}')
            return unfinished
        self._console.print(
            f'{source}, {setting}: measured {run.measured.whole.rms_rad * 1e3:.1f} mrad rms, '
            f'{run.measured.whole.max_rad * 1e3:.1f} mrad max')
        return run

    def _run(self, setting: Setting) -> ReplayRun:
        client, motion = self._client, self._replayed.motion
        client.reset_executor()
        start = client.reset_scene(setting.repeat, 'fixed')
        client.reset_executor()
        self._approach()
        begun = len(client.findings)
        self._log.start()
        with self._frames():
            outcome = client.run_policy(start, motion.duration_s + TIMEOUT_MARGIN_S)
            client.spin_for(AFTERWARDS_S)
        record = self._log.decode(self._log.take())
        client.spin_for(LAST_REPORT_S)
        if outcome.termination != 'policy done':
            arm = record.executor[-1].reason if record.executor else 'silent'
            raise NoReplay(f'the replay ended by {outcome.termination}: {outcome.message}; '
                           f'the executor said: {arm}')
        cameras = [camera.name for camera in self._robot.cameras]
        return judge(
            record, outcome.session_id, self._robot, self._replayed, setting,
            replay_report(client.findings[:begun], client.findings[begun:], client.policy_info,
                          cameras if self._frames is not nullcontext else ()),
            tick_times(self._robot, [
                chunk for chunk in record.chunks if chunk.session_id == outcome.session_id]))

    def _approach(self) -> None:
        """Send the arm to the first pose, so that time zero of run and recording are the same."""
        first = self._replayed.motion.positions[0]
        end_s = time.monotonic() + APPROACH_DEADLINE_S
        while not self._pose.rests_at(first):
            if self._pose.resting:      # also again: a command may have found nobody listening
                self._pose.go(first)
                self._client.spin_for(SETTING_OUT_S)
            if time.monotonic() > end_s:
                raise GraphFailure(
                    f'sim did not rest at the first pose within {APPROACH_DEADLINE_S:.0f} s')
            self._client.spin_for(0.1)
