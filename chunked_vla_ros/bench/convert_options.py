"""
The options of ``chunked-vla bench convert``; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line


@dataclass(frozen=True)
class BenchConvertOptions:
    """Convert the same bags with our converter and the obvious way, in turns."""

    episodes: int = parameter(6, 'bags of one episode each', minimum=1, maximum=1000)
    frames: int = parameter(150, 'images of an episode', minimum=4, maximum=100_000)
    width: int = parameter(640, 'columns of an image', minimum=64, maximum=4096)
    height: int = parameter(480, 'rows of an image', minimum=64, maximum=4096)
    repeats: int = parameter(5, 'runs of each side, in turns', minimum=1, maximum=100)
    few: int = parameter(
        10, 'episodes of the small one of two conversions that show whether many cost more each',
        minimum=1, maximum=10_000)
    many: int = parameter(
        200, 'episodes of the large one; 0: leave this part out', minimum=0, maximum=10_000)
    short_frames: int = parameter(
        30, 'images of each of these episodes, which are 320x240', minimum=4, maximum=10_000)
    out: str = parameter('out/bench_convert', f'folder for {RESULTS} and {TABLE}')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'convert')
