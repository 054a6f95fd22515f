"""A fault of our own planner costs a chunk, never the motion; a flood costs one plan per tick."""

from collections.abc import Callable
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


def swaying(seed: int) -> np.ndarray:
    """Return offsets of 16 points that point another way for every seed, within 0.1 rad."""
    return np.random.default_rng(seed).uniform(-0.1, 0.1, size=2) * np.linspace(0, 1, 16)[:, None]


def flood(running: Any, ticks: int, per_tick: int,
          path: Callable[[int], np.ndarray] = swaying) -> None:
    """Offer ``per_tick`` chunks before each of ``ticks`` ticks, each along another path."""
    for tick in range(ticks):
        for each in range(per_tick):
            running.offer(running.position + path(per_tick * tick + each))
        running.run(5)


def shares_of_limits(commands: list[Any]) -> list[float]:
    """Return the largest share of velocity, acceleration and jerk limit, of differences."""
    states = [command.state for command in commands]
    dt = np.diff([command.due_ns for command in commands])[:, None] * 1e-9
    position, velocity, acceleration = (
        np.array([getattr(state, name) for state in states])
        for name in ('position', 'velocity', 'acceleration'))
    return [float(np.abs(np.diff(value, axis=0) / dt).max() / limit) for value, limit in (
        (position, 1.0), (velocity, 2.0), (acceleration, 20.0))]


def test_a_flood_of_a_thousand_chunks_keeps_every_limit_at_every_tick(running: Any) -> None:
    first, taken = len(running.commands), running.status.counters.accepted
    flood(running, ticks=200, per_tick=5)
    newest = running.status.chunk_id
    running.run(2000)
    counters = running.status.counters
    # Of the thousand at most one a tick is followed; all are accounted for.
    assert newest == 1001
    assert 1 < counters.accepted - taken <= 200
    assert counters.accepted - taken + counters.rejected + counters.stale == 1000
    assert running.mode is Mode.HOLD
    shares = shares_of_limits(running.commands[first:])
    assert max(shares) <= 1.001, shares
    assert max(shares) > 0.2, shares


@pytest.mark.parametrize('per_tick', [0, 5])
def test_an_emergency_stop_brakes_at_the_next_tick_whatever_comes_with_it(
        running: Any, per_tick: int) -> None:
    running.run(600, until=lambda: abs(running.commands[-1].state.acceleration[0]) < 0.02)
    before = running.commands[-1].state
    assert before.velocity[0] > 0.2
    running.executor.emergency_stop.set('pressed')
    flood(running, 1, per_tick, lambda _: 2 * TOWARDS)
    braking = running.commands[-1].state.acceleration[0] - before.acceleration[0]
    # Jerk limit times one tick: 20 rad/s^3 * 5 ms.
    assert braking == pytest.approx(-0.1, abs=1e-6)
    first = len(running.commands)
    flood(running, 199, per_tick, lambda _: 2 * TOWARDS)
    running.run(500)
    assert running.mode is Mode.ESTOP
    assert running.speed == 0
    speeds = [command.state.velocity[0] for command in running.commands[first:]]
    assert speeds == sorted(speeds, reverse=True)
    assert max(shares_of_limits(running.commands[first:])) <= 1.001


def test_chunks_that_come_after_their_horizon_never_wake_an_arm_that_holds(running: Any) -> None:
    running.run(1500, until=lambda: running.mode is Mode.HOLD)
    rest, accepted = running.position, running.status.counters.accepted
    for _ in range(20):
        late_ns = running.now_ns - 800_000_000    # the last of 16 points was due 50 ms ago
        running.chunk_id += 1
        running.executor.offer_chunk(running.make_chunk(
            rest + TOWARDS, start_ns=late_ns, chunk_id=running.chunk_id))
        running.run(100)
    assert running.status.counters.accepted == accepted
    assert running.status.counters.stale == 20
    assert running.status.counters.holds == 1
    assert np.array_equal(running.position, rest)
    # The next one in time does.
    running.offer(rest + TOWARDS)
    running.run(100)
    assert running.mode is Mode.RUNNING
