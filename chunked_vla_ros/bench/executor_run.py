"""
One measurement of the executor and of the bare loop beside it, and what they amount to.

The executor is a process of its own, started anew each time; the arm and the chunks come from this
process. Judges nothing but single numbers: the promises are in `bench.executor_summary`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import subprocess
import sys
import threading

from chunked_vla_ros.bench.executor_options import BenchExecutorOptions
from chunked_vla_ros.bench.thread_time import resident_bytes, thread_times, TICKS_PER_S
from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.nodes.bench_arm import BenchArm
from chunked_vla_ros.nodes.demo_client import GraphFailure

WARM_UP_S, START_LIMIT_S, END_LIMIT_S = 1.0, 30.0, 20.0
NAME = 'chunk_executor'


@dataclass(frozen=True)
class Measurement:
    """
    The executor and the bare loop, one after the other.

    :ivar rate_error: Mean rate over the wanted one, minus 1.
    :ivar p99_s: 99th percentile of the lateness of the last 1000 ticks in [s].
    :ivar cpu: Share of a core, of the executor's process.
    :ivar cpu_by_thread: The same by thread name.
    :ivar rss_bytes: Resident memory at the end.
    """

    rate_hz: float
    rate_error: float
    p50_s: float
    p99_s: float
    cpu: float
    cpu_by_thread: dict[str, float]
    rss_bytes: int
    accepted: int
    refused: int
    holds: int
    bare_p50_s: float
    bare_p99_s: float
    bare_rate_error: float
    bare_cpu: float

    @property
    def p99_ratio(self) -> float:
        """Return the executor's lateness at the 99th percentile over the bare loop's."""
        return self.p99_s / self.bare_p99_s


def measure(options: BenchExecutorOptions, arm: BenchArm, domain_id: int,
            rate_hz: float) -> Measurement:
    """
    Measure the executor, then the bare loop.

    :raises GraphFailure: the executor or the bare loop does not run.
    """
    spec = NodeSpec(f'{NAME}_node', NAME, parameters={
        'robot': options.robot, 'rate_hz': rate_hz,
        'realtime_priority': options.realtime_priority})
    arm.forget()
    environment = {'ROS_DOMAIN_ID': str(domain_id), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    with Supervisor([spec], env=environment) as graph:
        arm.wait_for('armed executor', lambda seen: seen.mode == Mode.HOLD, START_LIMIT_S)
        pid = graph.pid(NAME)
        before = arm.run(WARM_UP_S, options.chunk_rate_hz)
        if pid is None or before is None:
            raise GraphFailure(f'{NAME} has ended: {graph.log_tail(NAME, 3)}')
        cpu_before = thread_times(pid)
        after = arm.run(options.seconds, options.chunk_rate_hz)
        cpu, rss = thread_times(pid) - cpu_before, resident_bytes(pid)
    assert after is not None    # seen before
    elapsed_s = (after.due_ns - before.due_ns) * 1e-9
    bare = _bare(options, arm, rate_hz)
    return Measurement(
        rate_hz, (after.ticks - before.ticks) / elapsed_s / rate_hz - 1, *after.lateness_s,
        cpu.total() / TICKS_PER_S / options.seconds,
        {name: used / TICKS_PER_S / options.seconds for name, used in cpu.most_common()}, rss,
        after.accepted, after.refused, after.holds,
        bare['p50_s'], bare['p99_s'], bare['rate_hz'] / rate_hz - 1, bare['cpu'])


def _bare(options: BenchExecutorOptions, arm: BenchArm, rate_hz: float) -> dict[str, float]:
    """Measure the bare loop while the arm and its chunks go on as before."""
    with subprocess.Popen(
            [sys.executable, '-m', 'chunked_vla_ros.bench.bare_loop', str(rate_hz),
             str(options.seconds), str(options.realtime_priority)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        arm.run(options.seconds, options.chunk_rate_hz)
        try:
            printed, _ = process.communicate(timeout=END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise GraphFailure('the bare loop does not end') from None
    if process.returncode:
        raise GraphFailure(f'the bare loop ended with exit code {process.returncode}')
    found: dict[str, float] = json.loads(printed)
    return found


@contextmanager
def inference_load(bundle: str) -> Iterator[str]:
    """
    Run the load until the block ends; yield what it is.

    :raises GraphFailure: it does not start.
    """
    model = [str(Path(bundle) / 'policy.onnx')] if bundle else []
    with subprocess.Popen(
            [sys.executable, '-m', 'chunked_vla_ros.bench.inference_load', *model],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None    # PIPE above
        assert process.stdout is not None
        watchdog = threading.Timer(START_LIMIT_S, process.kill)
        watchdog.start()
        said = process.stdout.readline()
        watchdog.cancel()
        try:
            if said != 'ready\n':
                raise GraphFailure(f'the load does not start: {" ".join(model) or "products"}')
            yield model[0] if model else 'matrix products, 20 ms at 10 Hz'
        finally:
            process.stdin.close()
