"""
``chunked-vla demo``: the whole loop over DDS, seeded episodes, a table and a report.

Exit code 0 only if every episode succeeded and the graph shut down cleanly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
import json
from pathlib import Path
import shlex
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.robot_contract import ContractError, load_robot
from chunked_vla_ros.demo.demo_page import demo_page, ShownEpisode
from chunked_vla_ros.demo.episodes import Episode, EpisodeDriver
from chunked_vla_ros.demo.free_domain import NoFreeDomain
from chunked_vla_ros.demo.option_bounds import check_bounds, flag
from chunked_vla_ros.demo.results import counted, DemoResults, health, timing
from chunked_vla_ros.demo.running_graph import graph_specs, reserved_domain, running_graph
from chunked_vla_ros.demo.summary import print_summary
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.graph.deploy import DeployOptions
from chunked_vla_ros.nodes.demo_client import GraphFailure

POSITION_SETS = ('fixed', 'random', 'unseen')
REPORT, RESULTS, LOG = 'report.html', 'results.json', 'graph.log'


@dataclass(frozen=True)
class DemoOptions:
    """Seeded pick-and-place episodes: simulated arm, inference and executor over ROS 2."""

    episodes: int = parameter(10, 'how many episodes', minimum=1, maximum=10_000)
    seed: int = parameter(0, 'of the first episode; each further one counts up', minimum=0,
                          maximum=2**31)
    out: str = parameter('out/demo', f'folder for {REPORT}, {RESULTS} and {LOG}')
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    policy: str = parameter('expert', 'policy that drives')
    position_set: str = parameter('random', 'start positions', choices=POSITION_SETS)
    timeout_s: float = parameter(
        30.0, 'an episode ends after this long [s]', minimum=1.0, maximum=600.0)
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this demonstration."""
        words = ['chunked-vla', 'demo']
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value != spec.default and spec.name != 'domain_id':
                words += [flag(spec.name), str(value)]
        return shlex.join(words)


def run_demo(options: DemoOptions) -> int:
    """Run the demonstration and write its results; return the process's exit code."""
    console = Console()
    out = Path(options.out)
    try:
        robot = load_robot(options.robot)
        out.mkdir(parents=True, exist_ok=True)
        with reserved_domain(options.domain_id) as domain_id:
            results, episodes, shown = _drive(options, robot, domain_id, out, console)
    except GraphFailure as error:
        print(f'error: {error}\nthe whole log is in {out / LOG}', file=sys.stderr)
        return 1
    except (ContractError, NoFreeDomain, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    (out / RESULTS).write_text(json.dumps(results.to_json(), indent=2) + '\n', encoding='utf-8')
    films = [one.film for index, one in enumerate(episodes)
             if one.film.frames and (index == 0 or not one.result.success)]
    demo_page(results, shown, films).write(out / REPORT)
    print_summary(results, console)
    console.print(f'report: {out / REPORT}   results: {out / RESULTS}')
    return 0 if results.worked else 1


def _drive(options: DemoOptions, robot: RobotSpec, domain_id: int, out: Path,
           console: Console) -> tuple[DemoResults, list[Episode], ShownEpisode]:
    specs = graph_specs(
        DeployOptions(robot=options.robot, policy=options.policy),
        {'inference': {'run_on_activate': False, 'autostart': True},
         'sim': {'position_set': options.position_set}})
    begin_s = time.monotonic()
    console.print(f'starting {", ".join(spec.name for spec in specs)} in ROS domain {domain_id}')
    with running_graph(specs, robot, domain_id, out / LOG) as graph:
        driver = EpisodeDriver(graph.client, robot, options.position_set, options.timeout_s)
        episodes = _run_all(driver, options, console)
        policy, findings = graph.client.policy_info, graph.client.findings
    # The first failure is what a reader wants to see.
    chosen = next((one for one in episodes if not one.result.success), episodes[0])
    shown = ShownEpisode(
        chosen.result, driver.log.decode(chosen.raw), robot.joint_names, tuple(
            index for index, kind in enumerate(robot.dim_kinds) if kind is not DimKind.BINARY))
    samples = [sample for one in episodes for sample in one.executor]
    results = DemoResults(
        command=options.command, robot=robot.name, position_set=options.position_set,
        policy=policy, versions=versions(), episodes=tuple(one.result for one in episodes),
        timing=timing(samples), counters=counted(one.executor for one in episodes),
        health=health(findings, graph.supervisor.poll()),
        duration_s=time.monotonic() - begin_s)
    return results, episodes, shown


def _run_all(driver: EpisodeDriver, options: DemoOptions, console: Console) -> list[Episode]:
    """Run every episode behind a progress bar."""
    episodes: list[Episode] = []
    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task('starting', total=options.episodes)

        def announce(instruction: str) -> None:
            progress.update(bar, description=instruction)

        for seed in range(options.seed, options.seed + options.episodes):
            episode = driver.run(seed, announce)
            episodes.append(episode)
            progress.advance(bar)
            result = episode.result
            progress.console.print(
                f'seed {seed}: {"success" if result.success else "FAILURE"} in '
                f'{result.cycle_time_s:.2f} s, {result.instruction}'
                + ('' if result.success else f' ({result.termination}: {result.message})'))
    return episodes
