"""
The options of ``chunked-vla bench transport``; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line


@dataclass(frozen=True)
class BenchTransportOptions:
    """Send camera images from one process to another, with our DDS profile and without."""

    cameras: int = parameter(3, 'cameras, all in one process', minimum=1, maximum=8)
    width: int = parameter(640, 'columns of an image', minimum=16, maximum=4096)
    height: int = parameter(480, 'rows of an image', minimum=16, maximum=4096)
    rate_hz: float = parameter(30.0, 'images per second and camera', minimum=1.0, maximum=240.0)
    seconds: float = parameter(
        60.0, 'length of the first run, with our profile [s]', minimum=1.0, maximum=3600.0)
    repeats: int = parameter(
        5, 'runs with each profile after that, in turns', minimum=0, maximum=100)
    repeat_seconds: float = parameter(
        12.0, 'length of each of these [s]', minimum=1.0, maximum=3600.0)
    out: str = parameter('out/bench_transport', f'folder for {RESULTS} and {TABLE}')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'transport')
