"""
The options of ``chunked-vla bench recorder``; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line

LOG = 'recorder.log'


@dataclass(frozen=True)
class BenchRecorderOptions:
    """Record cameras and a fast robot, with our recorder and with a plain one; kill ours."""

    cameras: int = parameter(3, 'cameras', minimum=1, maximum=8)
    width: int = parameter(640, 'columns of an image', minimum=16, maximum=4096)
    height: int = parameter(480, 'rows of an image', minimum=16, maximum=4096)
    rate_hz: float = parameter(30.0, 'images per second and camera', minimum=1.0, maximum=240.0)
    joint_rate_hz: float = parameter(
        1000.0, 'joint states per second', minimum=1.0, maximum=4000.0)
    seconds: float = parameter(
        60.0, 'length of the first recording, ours [s]', minimum=1.0, maximum=3600.0)
    repeats: int = parameter(
        5, 'recordings with each recorder after that, in turns', minimum=0, maximum=100)
    repeat_seconds: float = parameter(
        20.0, 'length of each of these [s]', minimum=1.0, maximum=3600.0)
    kills: int = parameter(
        20, 'recordings of ours that are cut off by SIGKILL', minimum=0, maximum=1000)
    kill_within_s: float = parameter(
        5.0, 'each at a random time up to so long after its start [s]', minimum=0.1,
        maximum=3600.0)
    seed: int = parameter(0, 'of these times', minimum=0, maximum=2**31 - 1)
    out: str = parameter(
        'out/bench_recorder', f'folder for {RESULTS}, {TABLE} and {LOG}; bags are made and '
        'deleted here')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'recorder')

    @property
    def byte_rate(self) -> float:
        """Return what the load's pictures amount to in [B/s]."""
        return self.cameras * self.rate_hz * self.width * self.height * 3

    @property
    def longest_s(self) -> float:
        """Return how long the longest recording is in [s]."""
        return max(self.seconds, self.repeat_seconds if self.repeats else 0.0,
                   self.kill_within_s if self.kills else 0.0)
