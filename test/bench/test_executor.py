"""The executor benchmark: options, numbers and promises by hand, and one short real run."""

from __future__ import annotations

from dataclasses import replace
import json
import os
from pathlib import Path

import pytest

from chunked_vla_ros.bench.bare_loop import measure as measure_bare
from chunked_vla_ros.bench.executor_options import BenchExecutorOptions
from chunked_vla_ros.bench.thread_time import resident_bytes, thread_times
from chunked_vla_ros.graph.node_spec import GraphError

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.bench.executor import run_bench_executor
from chunked_vla_ros.bench.executor_run import Measurement
from chunked_vla_ros.bench.executor_summary import by_rate, promises, to_json

GOOD = Measurement(
    rate_hz=500.0, rate_error=-0.0005, p50_s=50e-6, p99_s=120e-6, cpu=0.15,
    cpu_by_thread={'control_loop': 0.13, 'dds': 0.02}, rss_bytes=2**26, accepted=60, refused=0,
    holds=0, bare_p50_s=50e-6, bare_p99_s=100e-6, bare_rate_error=0.0, bare_cpu=0.02)


@pytest.mark.parametrize(('options', 'named'), [
    ({'rates_hz': ()}, '--rates-hz'),
    ({'rates_hz': (50.0,)}, '--rates-hz'),
    ({'seconds': 0.1}, '--seconds is 0.1'),
    ({'repeats': 0}, '--repeats is 0')])
def test_wrong_option_is_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(GraphError, match=named):
        BenchExecutorOptions(**options)  # type: ignore[arg-type]


def test_promises_are_kept_by_the_medians() -> None:
    worse = replace(GOOD, rate_error=0.5, p99_s=1.0, cpu=0.9)
    assert all(promises([GOOD, GOOD, worse]).values())
    assert not any(promises([GOOD, worse, worse]).values())


@pytest.mark.parametrize(('changed', 'broken'), [
    ({'rate_error': -0.0011}, 'mean rate within 0.1%'),
    ({'p99_s': 151e-6}, 'p99 of lateness at most 1.5 x bare'),
    ({'cpu': 0.21}, 'at most 20% of a core')])
def test_each_promise_can_be_broken(changed: dict[str, float], broken: str) -> None:
    found = promises([replace(GOOD, **changed)])  # type: ignore[arg-type]
    assert [name for name, kept in found.items() if not kept] == [broken]


def test_json_has_every_run_and_medians_per_rate() -> None:
    slow = replace(GOOD, rate_hz=200.0)
    plain = json.loads(json.dumps(to_json([GOOD, slow, GOOD], {'load': 'none'})))
    assert plain['n'] == 3
    assert plain['load'] == 'none'
    assert plain['medians']['500']["p99 over the bare loop's"]['median'] == pytest.approx(1.2)
    assert list(by_rate([GOOD, slow])) == [200.0, 500.0]


def test_bare_loop_measures_itself() -> None:
    found = measure_bare(200.0, 0.5)
    # How near it comes is the machine's; what it may not do is to run ahead.
    assert 0 < found['rate_hz'] < 205.0
    assert 0 < found['p50_s'] <= found['p99_s']


def test_processor_time_and_memory_of_this_process_are_read() -> None:
    deadline = sum(os.times()[:2]) + 0.05
    while sum(os.times()[:2]) < deadline:
        pass
    assert thread_times(os.getpid()).total() >= 5
    assert resident_bytes(os.getpid()) > 2**20


def test_a_short_run_writes_numbers_and_answers_by_its_promises(tmp_path: Path) -> None:
    path = tmp_path / 'executor.json'
    code = run_bench_executor(BenchExecutorOptions(
        rates_hz=(200.0,), repeats=1, seconds=1.0, json=str(path)))
    found = json.loads(path.read_text())
    assert code == (0 if all(found['promises']['200'].values()) else 1)
    (run,) = found['runs']
    assert run['rate_hz'] == 200.0
    assert run['accepted'] > 0
    assert 'control_loop' in run['cpu_by_thread']    # others may have used less than a tick
    assert run['cpu'] == pytest.approx(sum(run['cpu_by_thread'].values()))
