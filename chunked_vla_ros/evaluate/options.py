"""
The options of ``chunked-vla evaluate``; each default and bound has its home here.

Knows nothing about how episodes are run.
"""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import shlex
from typing import Annotated

import tyro.conf

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.demo.options import POSITION_SETS, UNSEEN_SEED
from chunked_vla_ros.evaluate.episode import EpisodeJob
from chunked_vla_ros.evaluate.language import language_jobs
from chunked_vla_ros.evaluate.setup import RunTiming, StationSetup
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line
from chunked_vla_ros.policies.runner_records import RunnerSettings

REPORT, RESULTS, LOG = 'report.html', 'results.json', 'evaluate.log'
GRAPH_LOG = 'graph_{}.log'


@dataclass(frozen=True)
class EvaluateOptions:
    """Seeded episodes in simulated time: success with its interval, a table and a report."""

    policies: Annotated[tuple[str, ...], tyro.conf.Positional] = parameter(
        (), "policy bundles, or 'expert'; two are compared on the same starts")
    episodes: int = parameter(
        100, 'episodes of each policy', minimum=0, maximum=100_000)
    seed: int = parameter(
        UNSEEN_SEED, 'of the first episode; each further one counts up; demonstrations begin at 0',
        minimum=0, maximum=2**31)
    out: str = parameter('out/evaluate', f'folder for {REPORT}, {RESULTS} and {LOG}')
    position_set: str = parameter('random', 'start positions', choices=POSITION_SETS)
    task: str = parameter('', 'task of every episode, such as red_left; empty: drawn by the seed')
    language_pairs: int = parameter(
        0, 'so many starts more, each run with two instructions that name different cubes',
        minimum=0, maximum=100_000)
    through_ros: bool = parameter(
        False, 'run the same episodes over the ROS graph too, in wall time')
    in_process: bool = parameter(
        True, 'run the episodes in process; with --no-in-process only through ROS')
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    timeout_s: float = parameter(
        30.0, 'an episode ends after this long [s]', minimum=1.0, maximum=600.0)
    latency_s: float = parameter(
        0.05, "from a question to the policy to its chunk's arrival, in simulated time [s]",
        minimum=0.0, maximum=2.0)
    measured_latency: bool = parameter(
        False, 'take the wall time of each call for that; then no run is like the other')
    camera_delay_s: float = parameter(
        0.03, "from a picture's exposure to its arrival [s]", minimum=0.0, maximum=0.5)
    replan_period_s: float = parameter(
        RunTiming.replan_period_s, 'shortest time between two inferences [s]; 0: what each policy '
        'was made for', minimum=0.0, maximum=10.0)
    execution_provider: str = parameter(
        'auto', 'where the models of bundles run', choices=('auto', 'cpu', 'cuda', 'tensorrt'))
    workers: int = parameter(
        0, 'processes; 0: one for each core', minimum=0, maximum=256)
    data: tuple[Path, ...] = parameter(
        (), 'datasets: compare predicted chunks with recorded ones instead, without a simulator')
    held_out: tuple[int, ...] = parameter(
        (), 'with --data: numbers of the episodes that the policies have not learnt from')
    split: str = parameter('', 'with --data: the split.json that training wrote names them')
    every: int = parameter(
        5, 'with --data: rows from one compared chunk to the next', minimum=1, maximum=10_000)
    samples: int = parameter(
        1, 'with --data: chunks drawn at each place and averaged; a robot gets one', minimum=1,
        maximum=1000)

    def __post_init__(self) -> None:
        check_bounds(self)
        if not 1 <= len(self.policies) <= 2:
            raise GraphError(
                f'{len(self.policies)} policies, expected one or two: bundle directories or '
                "'expert'")
        if not self.episodes and not self.language_pairs:
            raise GraphError('nothing to do: --episodes is 0 and --language-pairs is 0')
        if not self.data and (self.held_out or self.split):
            raise GraphError('--held-out and --split are episodes of --data: name the dataset')
        try:
            RunnerSettings(self.replan_period_s)
        except ValueError as error:
            raise GraphError(f'--replan-period-s: {error}') from error
        if not (self.in_process or self.through_ros):
            raise GraphError('nothing to do: --no-in-process goes with --through-ros')

    @property
    def timing(self) -> RunTiming:
        """Return what makes up a run."""
        return RunTiming(
            None if self.measured_latency else self.latency_s, self.camera_delay_s,
            self.replan_period_s, self.timeout_s)

    @property
    def setup(self) -> StationSetup:
        """Return what a station is made from."""
        return StationSetup(self.robot, self.policies, self.timing, self.execution_provider)

    def jobs(self) -> list[EpisodeJob]:
        """Return every episode: each seed by each policy, then the pairs of each policy."""
        numbers = range(len(self.policies))
        plain = [EpisodeJob(policy, seed, self.position_set, self.task)
                 for seed in range(self.seed, self.seed + self.episodes) for policy in numbers]
        return plain + [job for policy in numbers for job in language_jobs(
            policy, self.seed, self.language_pairs, self.position_set)]

    @property
    def command(self) -> str:
        """Return the command line that repeats this evaluation."""
        words = command_line(
            self, 'evaluate', without=('policies', 'out', 'workers')).split(' ', 2)
        return ' '.join([*words[:2], shlex.join(self.policies), *words[2:]])

    def processes(self, jobs: int) -> int:
        """Return how many processes there shall be for so many episodes."""
        return max(1, min(self.workers or len(os.sched_getaffinity(0)), jobs))
