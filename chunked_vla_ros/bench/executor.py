"""
``chunked-vla bench executor``: lateness and cost of the control loop, inference beside it.

Executor and bare loop are alternated in the same run. Exit code 0 only if the medians keep every
promise of `bench.executor_options`.
"""

from __future__ import annotations

from dataclasses import asdict
import json
from pathlib import Path
import sys

from rich.console import Console

from chunked_vla_ros.bench.executor_options import BenchExecutorOptions
from chunked_vla_ros.bench.executor_run import inference_load, measure, Measurement
from chunked_vla_ros.bench.executor_summary import by_rate, print_table, promises, to_json
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.demo.running_graph import reserved_domain
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.nodes.bench_arm import BenchArm
from chunked_vla_ros.nodes.demo_client import GraphFailure

__all__ = ['BenchExecutorOptions', 'run_bench_executor']


def run_bench_executor(options: BenchExecutorOptions) -> int:
    """Run the benchmark and write its results; return the process's exit code."""
    console = Console()
    try:
        runs, load = _measure_all(options, console)
        if options.json:
            Path(options.json).write_text(json.dumps(to_json(runs, {
                'options': asdict(options), 'load': load, 'versions': versions(),
                'chunk_source': f'swing in chunks at {options.chunk_rate_hz:g} Hz'}),
                indent=2) + '\n', encoding='utf-8')
    except GraphFailure as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print_table(runs, console)
    return 0 if all(all(promises(group).values()) for group in by_rate(runs).values()) else 1


def _measure_all(options: BenchExecutorOptions, console: Console,
                 ) -> tuple[list[Measurement], str]:
    robot = load_robot(options.robot)
    runs = []
    with (reserved_domain(options.domain_id) as domain_id,
          inference_load(options.bundle) as load):
        arm = BenchArm(robot, domain_id, options.state_rate_hz)
        try:
            for _ in range(options.repeats):
                for rate_hz in options.rates_hz:
                    run = measure(options, arm, domain_id, rate_hz)
                    runs.append(run)
                    console.print(
                        f'{rate_hz:g} Hz: p99 {run.p99_s * 1e3:.3f} ms, bare '
                        f'{run.bare_p99_s * 1e3:.3f} ms, {run.cpu:.1%} of a core, rate error '
                        f'{run.rate_error:+.3%}')
        finally:
            arm.close()
    return runs, load
