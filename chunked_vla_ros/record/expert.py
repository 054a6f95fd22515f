"""
Record seeded episodes of the scripted expert, one after the other, behind a progress bar.

Order of one episode: arm at rest, scene, executor, recorder, policy, label. The label is what the
simulator says of the task. Draws no table and judges no recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.demo.running_graph import running_graph
from chunked_vla_ros.graph.record import record_graph
from chunked_vla_ros.nodes.demo_client import DemoClient, GraphFailure
from chunked_vla_ros.nodes.record_client import newest_values, RecordClient
from chunked_vla_ros.record.live import live_view
from chunked_vla_ros.record.options import LOG, RecordEpisodesOptions
from chunked_vla_ros.record.table import episode_line

STREAMS_DEADLINE_S = 60.0
LOOK_AGAIN_S = 0.2
# The recorder ends an episode by itself so long after the policy should have ended.
GRACE_S = 60.0


def record_expert(options: RecordEpisodesOptions, robot: RobotSpec, domain_id: int, out: Path,
                  console: Console, watch: Callable[[], None]) -> None:
    """
    Record ``options.episodes`` episodes into ``out``.

    :param watch: Called now and then; what it raises ends the session.
    :raises GraphFailure: if the graph does not start or does not play along, or if nothing can be
        recorded; a task that fails is an episode like any other.
    """
    specs = tuple(replace(spec, respawn=False) for spec in record_graph(options.graph()))
    console.print(f'starting {", ".join(spec.name for spec in specs)} in ROS domain {domain_id}')
    with running_graph(specs, robot, domain_id, out / LOG, watch=watch) as graph:
        recorder = RecordClient(graph.client.node, graph.client.spin_for)
        wait_for_streams(graph.client, recorder)
        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                   TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task('starting', total=options.episodes)
            first = options.seed or 0
            for seed in range(first, first + options.episodes):
                graph.client.findings.clear()
                episode, ended = _record_one(graph.client, recorder, options, seed, lambda task: (
                    progress.update(bar, description=task)))
                progress.advance(bar)
                progress.console.print(
                    episode_line(seed, episode, ended), markup=False, highlight=False)


def wait_for_streams(client: DemoClient, recorder: RecordClient) -> None:
    """
    Return once the recorder hears every stream that the robot contract promises.

    :raises GraphFailure: naming those that it does not hear.
    """
    end_s = time.monotonic() + STREAMS_DEADLINE_S
    while True:
        values = newest_values(client.findings)
        silent = [] if values is None else [
            stream.topic for stream in live_view(values).streams
            if stream.expected_hz and not stream.rate_hz]
        if recorder.ready and values is not None and not silent:
            return
        if time.monotonic() > end_s:
            what = f'hears nothing on {", ".join(silent)}' if silent else 'did not start'
            raise GraphFailure(f'recorder {what} after {STREAMS_DEADLINE_S:.0f} s')
        client.spin_for(LOOK_AGAIN_S)


def _record_one(client: DemoClient, recorder: RecordClient, options: RecordEpisodesOptions,
                seed: int, on_start: Callable[[str], object]) -> tuple[EpisodeRecord, str]:
    """Return what was recorded, and how the expert's run ended."""
    # First let the arm finish what it was doing: a scene is not changed under a moving arm.
    client.reset_executor()
    start = client.reset_scene(seed, options.positions)
    client.reset_executor()
    on_start(start.instruction)
    recorder.begin(start.instruction, options.timeout_s + GRACE_S)
    ran = client.run_policy(start, options.timeout_s)
    # Whatever ended it: without success it is a failure, also a cube out of reach or no time left.
    one = recorder.end(Outcome.SUCCESS if ran.task_success else Outcome.FAILURE)
    return one, f'{ran.termination}: {ran.message}'
