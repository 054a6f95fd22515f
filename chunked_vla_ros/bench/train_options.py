"""
The options of ``chunked-vla bench train``; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.bench.train_rl_inputs import METHODS, QC, Sizes
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line, flag

IMITATION = 'imitation'
# What only its benchmark has a use for.
QC_ONLY = ('rows',)
IMITATION_ONLY = ('data', 'config', 'set', 'windows', 'workers', 'episodes', 'frames')


@dataclass(frozen=True)
class BenchTrainOptions:
    """Read training examples our way and by decoding a video for each, and train, in turns."""

    method: str = parameter(
        IMITATION, 'what is trained. qc and qc_fql: updates of Q-chunking beside the same ones in '
        'JAX, for which only --steps, --repeats, --rows, --out and --json count',
        choices=(IMITATION, *METHODS))
    data: str = parameter(
        '', 'LeRobot dataset with videos; left out: one of moving scenes is made, of one camera')
    config: str = parameter('compact', "configuration of the training, as `chunked-vla train`'s")
    set: tuple[str, ...] = parameter(
        (), 'KEY=VALUE ...: in place of what the configuration says, such as robot=g1_arms')
    windows: int = parameter(
        512, 'examples that each way reads in a run', minimum=2, maximum=1_000_000)
    steps: int = parameter(
        20, 'training steps, or updates, of a run, after a few that do not count', minimum=1,
        maximum=100_000)
    repeats: int = parameter(5, 'runs of each, in turns', minimum=1, maximum=100)
    workers: int = parameter(
        2, "processes of the DataLoader that decodes for each example, LeRobot's way; 0: leave "
        'this part out', minimum=0, maximum=64)
    episodes: int = parameter(
        8, 'of the dataset that is made', minimum=1, maximum=1000)
    frames: int = parameter(
        120, 'images of each of these episodes, 224x224', minimum=8, maximum=10_000)
    rows: int = parameter(
        Sizes.rows, 'with qc: of the data that candidates are drawn for once; values are '
        'tabulated only of so many as 100 updates draw', minimum=1, maximum=10_000_000)
    out: str = parameter('out/bench_train', f'folder for {RESULTS} and {TABLE}')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')

    def __post_init__(self) -> None:
        check_bounds(self)
        idle: tuple[str, ...] = () if self.method == IMITATION else IMITATION_ONLY
        idle += () if self.method == QC else QC_ONLY
        for spec in fields(self):
            if spec.name in idle and getattr(self, spec.name) != spec.default:
                raise GraphError(f'{flag(spec.name)} has no part in --method {self.method}; leave '
                                 'it out')

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'train')
