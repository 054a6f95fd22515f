"""A fault of our own planner costs a chunk, never the motion; a flood costs one plan per tick."""

from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.core.chunk_follower import ChunkFollower
from chunked_vla_ros.core.executor_state import Mode

TOWARDS = 0.02 * np.arange(16)[:, None] * np.array([1.0, 0.0])


class FailingFollower(ChunkFollower):
    """A planner with a fault in it."""

    def take(self, *arguments: Any) -> int:
        raise ZeroDivisionError('fault in the planner')


@pytest.fixture
def running(bench: Any) -> Any:
    bench.run(50)
    bench.offer(TOWARDS)
    bench.run(100)
    assert bench.mode is Mode.RUNNING
    return bench


def test_a_fault_in_planning_refuses_the_chunk_and_the_motion_goes_on(running: Any) -> None:
    before = running.executor.status(running.now_ns).buffer_left_s
    running.executor._follower.__class__ = FailingFollower
    running.offer(TOWARDS)
    running.run(20)
    assert running.mode is Mode.RUNNING
    assert running.speed > 0
    assert running.status.buffer_left_s == pytest.approx(before - 0.02)
    assert running.status.rejections == {'internal error': 1}
    assert running.status.last_rejection == (
        "internal error: ZeroDivisionError('fault in the planner')")


def test_of_chunks_that_come_in_one_tick_the_newest_is_followed_and_all_are_counted(
        running: Any) -> None:
    for _ in range(4):
        running.offer(running.position + TOWARDS)
    running.run(5)
    assert running.status.chunk_id == 5
    assert running.status.counters.accepted == 2
    assert running.status.rejections == {'a newer one came with it': 3}


def test_a_bad_newest_chunk_does_not_displace_the_good_one_before_it(running: Any) -> None:
    running.offer(running.position + TOWARDS)
    running.offer(np.full((16, 2), np.nan))
    running.run(5)
    assert running.status.chunk_id == 2
    assert running.status.rejections == {'not finite': 1}


def test_an_internal_error_is_a_bounded_stop_into_a_latched_fault(running: Any) -> None:
    running.executor.fail('internal error: example')
    running.run(5)
    assert running.mode is Mode.STOPPING
    assert running.speed > 0
    running.run(1500)
    assert running.mode is Mode.FAULT
    assert running.speed == 0
    assert running.status.reason == 'internal error: example'
