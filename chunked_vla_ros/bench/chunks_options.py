"""
The options of ``chunked-vla bench chunks``; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line

# One per recording, chunk rate and delay; beside it `frames_*.log` of the player, if there is one.
LOGS = 'graph_*.log'


@dataclass(frozen=True)
class BenchChunksOptions:
    """Replay recorded teleoperation through inference and executor; report how it was tracked."""

    demonstrations: str = parameter(
        '', 'recordings to replay: a .npy file, a folder of them, or a LeRobot dataset')
    episodes: tuple[int, ...] = parameter(
        (), 'episodes of a LeRobot dataset; default: its first one')
    chunk_rates: tuple[float, ...] = parameter(
        (20.0,), 'points per second of the chunks that the policy sends [Hz]')
    delays_s: tuple[float, ...] = parameter(
        (0.0, 0.05, 0.15), 'inference delays to inject [s]')
    repeats: int = parameter(
        1, 'replays per recording, chunk rate and delay', minimum=1, maximum=100)
    with_frames: bool = parameter(
        False, "play the dataset's camera frames beside the replay, through the inference node")
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    out: str = parameter('out/bench_chunks', f'folder for {RESULTS}, {TABLE} and {LOGS}')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        if not self.demonstrations:
            raise GraphError(
                '--demonstrations is missing: a .npy recording, a folder of them, or a LeRobot '
                'dataset')
        if not self.chunk_rates or not all(5.0 <= rate <= 100.0 for rate in self.chunk_rates):
            raise GraphError(f'--chunk-rates is {self.chunk_rates}, expected values from 5 to 100')
        if not self.delays_s or not all(0.0 <= delay <= 2.0 for delay in self.delays_s):
            raise GraphError(f'--delays-s is {self.delays_s}, expected values from 0 to 2')
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'chunks')
