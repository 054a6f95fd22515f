"""
The options of ``chunked-vla record``; each default and bound has its home here.

Knows nothing about how episodes are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
import os

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.demo.options import POSITION_SETS
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.option_bounds import check_bounds
from chunked_vla_ros.graph.record import HANDS, NOBODY, OTHER, QUALITIES, RecordOptions

LOG = 'graph.log'
EXPERT = 'expert'
LARGEST_SEED = 2**31


@dataclass(frozen=True)
class RecordEpisodesOptions:
    """Record demonstrations: seeded ones of the scripted expert, or those of a person, by keys."""

    episodes: int = parameter(10, 'how many episodes the expert records', minimum=1,
                              maximum=100_000)
    expert: bool = parameter(
        False, 'the scripted expert demonstrates in the simulator; else a person, by keys')
    noise: float = parameter(
        0.0, 'how imperfect the expert is; 1: 0.05 rad at every joint', minimum=0.0, maximum=1.0)
    pushes_per_minute: float = parameter(
        0.0, 'how often the expert is pushed aside, to recover', minimum=0.0, maximum=60.0)
    quality: str = parameter(
        QUALITIES[0], 'how well the expert demonstrates; even: always well; mixed: one episode '
        'better than the other, in speed and precision, with slips and wanders; varying: the '
        'same changes every second or so', choices=QUALITIES)
    positions: str = parameter(
        'random', f'start positions in the simulator: {", ".join(POSITION_SETS)}',
        choices=POSITION_SETS)
    seed: int | None = parameter(
        None, "of the first episode's scene, each further one counts up; default: the first "
        "episode's number, so that a second session does not begin from the same scenes")
    timeout_s: float = parameter(
        30.0, 'an episode of the expert that lasts longer is a failure [s]', minimum=1.0,
        maximum=600.0)
    in_process: bool = parameter(
        False, 'the expert demonstrates in simulated time, without a ROS graph: the same bags, '
        'but for /diagnostics, however busy the machine is; a seed gives the same episode each '
        'time')
    workers: int = parameter(
        0, 'processes of --in-process; 0: one for each core', minimum=0, maximum=256)
    out: str = parameter('out/episodes', f'folder of the episodes and of {LOG}')
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    use_sim: bool = parameter(True, 'start the simulated robot; a person may use a real one')
    hand: str = parameter(
        'keyboard', f'what a person drives with: {", ".join(HANDS)}; other for another node that '
        'sends targets', choices=(*HANDS, OTHER))
    params_file: str = parameter(
        '', "a ROS parameter file over config/*.yaml, for example with teleop's joy_axes or "
        'leader_joints')
    task: str = parameter('', 'the task, where no simulator names one')
    operator: str = parameter('', 'who demonstrates')
    compression: str = parameter(
        '', 'how images are kept, by camera, for example front=jpeg:90,wrist=png')
    topics: str = parameter('', "topics besides the robot contract's, separated by commas")
    domain_id: int | None = parameter(
        None, 'ROS domain; default: a free one for the expert, that of the environment for a '
        'person')

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.seed is not None and not 0 <= self.seed <= LARGEST_SEED:
            raise GraphError(f'--seed is {self.seed}, expected 0 to {LARGEST_SEED}')
        if self.expert and not self.use_sim:
            raise GraphError('--expert needs the simulator: leave --no-use-sim out')
        if not self.expert and (
                self.noise or self.pushes_per_minute or self.quality != QUALITIES[0]):
            raise GraphError(
                "--noise, --pushes-per-minute and --quality are the expert's: add --expert")
        self._check_in_process()
        # What only the graph can judge is judged before anything starts.
        self.graph()

    def _check_in_process(self) -> None:
        if not self.in_process:
            if self.workers:
                raise GraphError('--workers are processes of --in-process: add it')
            return
        if not self.expert:
            raise GraphError('--in-process is for the expert: add --expert')
        for name in ('topics', 'params_file', 'task', 'domain_id'):
            if getattr(self, name) not in ('', None):
                raise GraphError(f'--{name.replace("_", "-")} is for a ROS graph: leave it out, '
                                 'or --in-process')

    def processes(self) -> int:
        """Return how many processes there shall be without a graph."""
        return max(1, min(self.workers or len(os.sched_getaffinity(0)), self.episodes))

    def graph(self) -> RecordOptions:
        """Return the options of the graph that records so."""
        return RecordOptions(
            robot=self.robot, use_sim=self.use_sim, out=self.out, task=self.task,
            operator=self.operator or (f'{EXPERT} policy' if self.expert else ''),
            topics=self.topics, compression=self.compression,
            policy=EXPERT if self.expert else NOBODY,
            hand=NOBODY if self.expert else self.hand, expert_noise=self.noise,
            expert_pushes_per_minute=self.pushes_per_minute, expert_quality=self.quality,
            params_file=self.params_file, expert_seed=(self.seed or 0) % 2**31)
