"""
Start the graph, run the episodes behind a progress bar, sum up what they showed.

Writes nothing but the nodes' log; `demo.run` writes the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.demo.demo_page import ShownEpisode
from chunked_vla_ros.demo.driving_policy import DrivingPolicy
from chunked_vla_ros.demo.episodes import Episode, EpisodeDriver
from chunked_vla_ros.demo.options import DemoOptions, LOG
from chunked_vla_ros.demo.results import counted, DemoResults, health, timing
from chunked_vla_ros.demo.running_graph import graph_specs, running_graph
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.graph.deploy import DeployOptions


@dataclass(frozen=True)
class FinishedDemo:
    """A finished demonstration: its results, its episodes, and the one to show in detail."""

    results: DemoResults
    episodes: tuple[Episode, ...]
    shown: ShownEpisode


def drive(options: DemoOptions, robot: RobotSpec, driver: DrivingPolicy, domain_id: int,
          out: Path, console: Console) -> FinishedDemo:
    """
    Run every episode in ``domain_id``, driven by ``driver``, and return what was found.

    :raises GraphFailure: if the graph does not start or does not play along.
    """
    specs = graph_specs(
        DeployOptions(robot=options.robot, policy=driver.policy, bundle=driver.bundle),
        {'inference': {'run_on_activate': False, 'autostart': True},
         'sim': {'position_set': options.position_set}})
    begin_s = time.monotonic()
    console.print(f'starting {", ".join(spec.name for spec in specs)} in ROS domain {domain_id}')
    with running_graph(specs, robot, domain_id, out / LOG) as graph:
        stage = EpisodeDriver(graph.client, robot, options.position_set, options.timeout_s)
        episodes = _run_all(stage, options, console)
        policy, findings = graph.client.policy_info, graph.client.findings
    # The first failure is what a reader wants to see.
    chosen = next((one for one in episodes if not one.result.success), episodes[0])
    shown = ShownEpisode(
        chosen.result, stage.log.decode(chosen.raw), robot.joint_names, tuple(
            index for index, kind in enumerate(robot.dim_kinds) if kind is not DimKind.BINARY))
    samples = [sample for one in episodes for sample in one.executor]
    results = DemoResults(
        command=options.command, robot=robot.name, position_set=options.position_set,
        policy=policy, versions=versions(), episodes=tuple(one.result for one in episodes),
        timing=timing(samples), counters=counted(one.executor for one in episodes),
        health=health(findings, graph.supervisor.poll()),
        duration_s=time.monotonic() - begin_s)
    return FinishedDemo(results, tuple(episodes), shown)


def _run_all(stage: EpisodeDriver, options: DemoOptions, console: Console) -> list[Episode]:
    """Run every episode behind a progress bar."""
    episodes: list[Episode] = []
    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task('starting', total=options.episodes)

        def announce(instruction: str) -> None:
            progress.update(bar, description=instruction)

        for seed in range(options.seed, options.seed + options.episodes):
            episode = stage.run(seed, announce)
            episodes.append(episode)
            progress.advance(bar)
            result = episode.result
            progress.console.print(
                f'seed {seed}: {"success" if result.success else "FAILURE"} in '
                f'{result.cycle_time_s:.2f} s, {result.instruction}'
                + ('' if result.success else f' ({result.termination}: {result.message})'))
    return episodes
