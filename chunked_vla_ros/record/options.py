"""
The options of ``chunked-vla record``; each default and bound has its home here.

Knows nothing about how episodes are recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.demo.option_bounds import check_bounds
from chunked_vla_ros.demo.options import POSITION_SETS
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.record import HANDS, NOBODY, OTHER, RecordOptions

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
    positions: str = parameter(
        'random', f'start positions in the simulator: {", ".join(POSITION_SETS)}',
        choices=POSITION_SETS)
    seed: int | None = parameter(
        None, "of the first episode's scene, each further one counts up; default: the first "
        "episode's number, so that a second session does not begin from the same scenes")
    timeout_s: float = parameter(
        30.0, 'an episode of the expert that lasts longer is a failure [s]', minimum=1.0,
        maximum=600.0)
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
        if not self.expert and (self.noise or self.pushes_per_minute):
            raise GraphError("--noise and --pushes-per-minute are the expert's: add --expert")
        # What only the graph can judge is judged before anything starts.
        self.graph()

    def graph(self) -> RecordOptions:
        """Return the options of the graph that records so."""
        return RecordOptions(
            robot=self.robot, use_sim=self.use_sim, out=self.out, task=self.task,
            operator=self.operator or (f'{EXPERT} policy' if self.expert else ''),
            topics=self.topics, compression=self.compression,
            policy=EXPERT if self.expert else NOBODY,
            hand=NOBODY if self.expert else self.hand, expert_noise=self.noise,
            expert_pushes_per_minute=self.pushes_per_minute,
            params_file=self.params_file, expert_seed=(self.seed or 0) % 2**31)
