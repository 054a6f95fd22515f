"""
Replay recordings through the deploy graph, each chunk rate and delay in a graph of its own.

Writes nothing but the nodes' log; `bench.chunks` writes the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import time

from rich.console import Console

from chunked_vla_ros.bench.chunks_options import BenchChunksOptions, LOG
from chunked_vla_ros.bench.replay_run import judge, NoReplay, ReplayRun, Setting
from chunked_vla_ros.core.retarget import Demonstration, retarget, Retargeted
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.demo.running_graph import graph_specs, running_graph, RunningGraph
from chunked_vla_ros.graph.deploy import DeployOptions
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.motion_log import MotionLog
from chunked_vla_ros.nodes.pose_command import PoseCommand

TIMEOUT_MARGIN_S = 15.0
# The last chunk is still being executed when the policy is done.
AFTERWARDS_S = 0.5
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
               domain_id: int, console: Console) -> list[ReplayRun]:
    """
    Return every run of every recording, chunk rate and delay, told one by one on ``console``.

    :raises GraphFailure: if the graph does not start or does not play along.
    :raises NoReplay: if a replay did not run to its end.
    """
    runs = []
    for recording in recordings:
        for chunk_rate_hz in options.chunk_rates:
            replayed = retarget(recording.motion, robot, step_s=1.0 / chunk_rate_hz)
            for delay_s in options.delays_s:
                with running_graph(_specs(options, recording, chunk_rate_hz, delay_s), robot,
                                   domain_id, Path(options.out) / LOG) as graph:
                    found = _Replays(graph, robot, replayed, console)
                    runs += [found.run(Setting(delay_s, repeat, chunk_rate_hz))
                             for repeat in range(options.repeats)]
    return runs


def _specs(options: BenchChunksOptions, recording: Recording, chunk_rate_hz: float,
           delay_s: float) -> tuple[NodeSpec, ...]:
    deploy = DeployOptions(
        robot=options.robot, policy='replay', demonstration=str(recording.path),
        replay_rate_hz=chunk_rate_hz,
        episode=-1 if recording.episode is None else recording.episode)
    return graph_specs(
        deploy, {'inference': {'injected_delay_s': delay_s, 'run_on_activate': False}})


class _Replays:
    """Replays of one motion in one running graph."""

    def __init__(self, graph: RunningGraph, robot: RobotSpec, replayed: Retargeted,
                 console: Console) -> None:
        self._client, self._robot, self._replayed = graph.client, robot, replayed
        self._console = console
        self._log = MotionLog(graph.client.node, robot, commands=True)
        self._pose = PoseCommand(graph.client.node, robot)

    def run(self, setting: Setting) -> ReplayRun:
        """Return the run, judged; the arm is first brought to where the motion begins."""
        client, motion = self._client, self._replayed.motion
        client.reset_executor()
        start = client.reset_scene(setting.repeat, 'fixed')
        client.reset_executor()
        self._approach()
        self._log.start()
        outcome = client.run_policy(start, motion.duration_s + TIMEOUT_MARGIN_S)
        client.spin_for(AFTERWARDS_S)
        record = self._log.decode(self._log.take())
        if outcome.termination != 'policy done':
            raise NoReplay(f'the replay ended by {outcome.termination}: {outcome.message}')
        run = judge(record, outcome.session_id, self._robot, self._replayed, setting)
        self._console.print(
            f'{motion.source}, {setting}: '
            f'measured {run.measured.whole.rms_rad * 1e3:.1f} mrad rms, '
            f'{run.measured.whole.max_rad * 1e3:.1f} mrad max')
        return run

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
