"""Totals of a demonstration: what counts as success, latency and growth of counters."""

from __future__ import annotations

from collections.abc import Callable
import json

import pytest

from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import ExecutorSample
from chunked_vla_ros.demo.results import (
    chunk_latencies,
    counted,
    DemoResults,
    EpisodeResult,
    GraphHealth,
    health,
    Timing,
    timing,
)

MakeDemo = Callable[..., DemoResults]
MakeSample = Callable[..., ExecutorSample]
GOOD = EpisodeResult(0, 'put it there', True, 'success', 6.0, 15)


def test_one_failed_episode_means_it_did_not_work(finished_demo: MakeDemo) -> None:
    assert not finished_demo().worked
    assert finished_demo(episodes=(GOOD,)).worked


def test_a_learned_policy_may_fail_an_episode_but_not_all(finished_demo: MakeDemo) -> None:
    learned = {'policy_id': 'small@0123', 'needs_scene': 'False'}
    assert finished_demo(policy=learned).worked
    failed = finished_demo().episodes[1:]
    assert not finished_demo(policy=learned, episodes=failed).worked
    assert not finished_demo(policy=learned, health=GraphHealth(exit_codes={'sim': 1})).worked
    # The expert is shown where the cubes are: it has no excuse.
    assert not finished_demo(policy=learned | {'needs_scene': 'True'}).worked


@pytest.mark.parametrize('codes', [{'sim': 0, 'inference': 1}, {'sim': None}, {'sim': -9}, {}])
def test_unclean_shut_down_means_it_did_not_work(
        finished_demo: MakeDemo, codes: dict[str, int | None]) -> None:
    assert not finished_demo(episodes=(GOOD,), health=GraphHealth(exit_codes=codes)).worked


def test_no_episode_is_not_a_success(finished_demo: MakeDemo) -> None:
    assert not finished_demo(episodes=()).worked


def test_cycle_time_counts_successful_episodes_only(finished_demo: MakeDemo) -> None:
    cycle = finished_demo().cycle_time
    assert cycle is not None
    assert (cycle.median, cycle.count) == (6.0, 1)
    assert finished_demo(episodes=()).cycle_time is None


def test_json_holds_counts_seeds_interval_and_policy(finished_demo: MakeDemo) -> None:
    found = json.loads(json.dumps(finished_demo().to_json()))
    assert (found['n'], found['k'], found['seeds']) == (2, 1, [0, 1])
    # One of two: the interval is symmetric about one half.
    assert sum(found['wilson_95']) == pytest.approx(1.0)
    assert found['policy']['policy_id'] == 'expert'
    assert found['observation_to_command_s']['p50'] == pytest.approx(0.04)
    assert found['rates_hz'] == {'camera front': [19.9, 20.0]}
    assert found['episodes'][1]['termination'] == 'timeout'


def test_what_was_not_measured_is_null_and_not_zero(finished_demo: MakeDemo) -> None:
    found = finished_demo(timing=Timing(), health=GraphHealth()).to_json()
    assert found['observation_to_command_s'] is None
    assert found['executor_lateness_s'] == {'p50': None, 'p99': None}
    assert found['real_time_factor'] is None


def test_each_executed_chunk_counts_once(executor_sample: MakeSample) -> None:
    samples = [
        executor_sample(1, [0.0], chunk_id=0, latency_s=0.03),
        executor_sample(2, [0.0], chunk_id=0, latency_s=0.03),
        executor_sample(3, [0.0], chunk_id=1, latency_s=0.05),
        executor_sample(4, [0.0], chunk_id=0, session_id='cd' * 16, latency_s=0.07)]
    assert chunk_latencies(samples) == (0.03, 0.05, 0.07)


def test_holding_without_a_chunk_has_no_latency(executor_sample: MakeSample) -> None:
    assert chunk_latencies([executor_sample(1, [0.0], session_id='0' * 32)]) == ()


def test_lateness_is_the_median_window_and_the_worst_tail(executor_sample: MakeSample) -> None:
    samples = [
        executor_sample(k, [0.0], lateness_s=pair)
        for k, pair in enumerate([(1e-4, 1e-3), (2e-4, 9e-3), (3e-4, 2e-3), (0.0, 0.0)])]
    found = timing(samples)
    assert found.lateness_p50_s == pytest.approx(2e-4)
    assert found.lateness_p99_s == pytest.approx(9e-3)


def test_counters_are_counted_during_the_episodes_only(executor_sample: MakeSample) -> None:
    def state(ticks: int, holds: int) -> ExecutorSample:
        return executor_sample(1, [0.0], counters=Counters(ticks=ticks, holds=holds))

    grown = counted([[state(400, 1), state(500, 1), state(600, 2)], [], [state(900, 5)] * 2])
    assert (grown.ticks, grown.holds) == (200, 1)
    assert counted([]) == Counters()


def test_health_is_the_median_of_what_the_nodes_said() -> None:
    found = health([
        ('sim', {'real_time_factor': '0.900'}), ('sim', {'real_time_factor': '1.000'}),
        ('sim', {'real_time_factor': '0.999'}),
        ('inference', {'rate camera front': '0.0 of 20 Hz', 'chunks': '3'}),
        ('inference', {'rate camera front': '19.9 of 20 Hz'}),
        ('inference', {'rate camera front': '20.1 of 20 Hz'}),
        ('chunk_executor', {'rate camera front': '1 of 2 Hz'})], {'sim': 0})
    assert found.real_time_factor == pytest.approx(0.999)
    assert found.rates_hz == {'camera front': (19.9, 20.0)}
    assert found.shut_down_cleanly


def test_silent_nodes_are_not_measured() -> None:
    found = health([], {'sim': 0})
    assert found.real_time_factor is None
    assert found.rates_hz == {}
