"""
The options of ``chunked-vla bench executor`` and the promises it judges by.

Knows nothing about how the benchmark is run.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.option_bounds import check_bounds

MOST_RATE_ERROR, MOST_P99_RATIO, MOST_CPU = 0.001, 1.5, 0.20
# The promise on the share of a core is made for this rate, with chunks at 10 Hz.
CPU_RATE_HZ = 500.0


@dataclass(frozen=True)
class BenchExecutorOptions:
    """Measure the executor's lateness and cost against a bare deadline loop, alternated."""

    rates_hz: tuple[float, ...] = parameter((200.0, 500.0), 'control rates to measure [Hz]')
    repeats: int = parameter(5, 'measurements per rate', minimum=1, maximum=100)
    seconds: float = parameter(
        6.0, 'length of each measurement [s]', minimum=1.0, maximum=600.0)
    state_rate_hz: float = parameter(
        125.0, 'rate of joint_states [Hz]', minimum=20.0, maximum=500.0)
    chunk_rate_hz: float = parameter(10.0, 'rate of chunks [Hz]', minimum=2.0, maximum=50.0)
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    bundle: str = parameter(
        '', 'policy bundle whose policy.onnx is the load beside; default: matrix products')
    realtime_priority: int = parameter(
        50, 'SCHED_FIFO priority of executor and bare loop, 0 for ordinary scheduling',
        minimum=0, maximum=90)
    json: str = parameter('', 'write the results to this file')
    domain_id: int | None = parameter(None, 'ROS domain; default: a free one')

    def __post_init__(self) -> None:
        if not self.rates_hz or not all(100.0 <= rate <= 1000.0 for rate in self.rates_hz):
            raise GraphError(f'--rates-hz is {self.rates_hz}, expected values from 100 to 1000')
        check_bounds(self)
