"""
The options of ``chunked-vla bench inference``; each default and bound has its home here.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.bench.result_files import RESULTS, TABLE
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line

LOG = 'inference.log'


@dataclass(frozen=True)
class BenchInferenceOptions:
    """Measure what the inference node adds to its model, and ONNX Runtime against torch."""

    bundle: str = parameter(
        '', 'policy bundle to measure; without one the compact policy with drawn weights')
    repeats: int = parameter(
        5, 'how often node and bare session are started anew', minimum=1, maximum=100)
    chunks: int = parameter(100, 'chunks per run', minimum=2, maximum=100000)
    replan_period_s: float = parameter(
        0.2, 'time between two observations [s]', minimum=0.02, maximum=10.0)
    joint_rate_hz: float = parameter(
        500.0, 'joint states per second', minimum=10.0, maximum=2000.0)
    threads: int = parameter(1, 'threads of one operator of the model', minimum=1, maximum=256)
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    out: str = parameter('out/bench_inference', f'folder for {RESULTS}, {TABLE} and {LOG}')
    json: str = parameter('', f'write the results here too, beside {RESULTS}')
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this benchmark."""
        return command_line(self, 'bench', 'inference')
