"""The physics thread: commands act when they arrived, requests run between cycles."""

import threading
import time

import pytest

pytest.importorskip('mujoco', reason='no simulator in this environment')

from chunked_vla_ros.nodes.physics_loop import PhysicsLoop
from chunked_vla_ros.sim.world import STEP_NS

LIMIT_S = 10.0
PERIOD_NS = 8_000_000


class CountingWorld:
    """
    Keeps time as `World` does and does nothing else.

    The loop sees no more of a world than that; physics is tested with the real one.
    """

    step_ns = STEP_NS

    def __init__(self):
        self.time_ns = 0

    def advance_to(self, time_ns):
        self.time_ns = max(self.time_ns, time_ns // STEP_NS * STEP_NS)


class Recorder:
    """Remembers the times of cycles, and tells when enough have passed."""

    def __init__(self, wanted):
        self.times, self.wanted, self.enough = [], wanted, threading.Event()

    def __call__(self, world):
        self.times.append(world.time_ns)
        if len(self.times) >= self.wanted:
            self.enough.set()


@pytest.fixture
def loop_of():
    """Return a function that runs a loop for some cycles; every loop is ended."""
    loops = []

    def make(cycles, period_ns=PERIOD_NS):
        recorder = Recorder(cycles)
        loops.append(PhysicsLoop(CountingWorld(), period_ns, recorder))
        return loops[-1], recorder
    yield make
    for loop in loops:
        if loop.alive:
            loop.stop()
        assert not loop.alive


def test_cycles_are_one_period_of_simulated_time_apart(loop_of):
    loop, recorder = loop_of(5)
    loop.start()
    assert recorder.enough.wait(LIMIT_S)
    assert recorder.times[:5] == [8_000_000, 16_000_000, 24_000_000, 32_000_000, 40_000_000]


def test_a_period_that_is_no_whole_number_of_steps_does_not_drift(loop_of):
    loop, recorder = loop_of(4, period_ns=5_000_000)
    loop.start()
    assert recorder.enough.wait(LIMIT_S)
    assert recorder.times[:4] == [6_000_000, 10_000_000, 16_000_000, 20_000_000]


def test_simulated_time_is_not_ahead_of_the_wall_clock(loop_of):
    begun_ns = time.monotonic_ns()
    loop, recorder = loop_of(20)
    loop.start()
    assert recorder.enough.wait(LIMIT_S)
    # The loop follows the clock from when it was made, after `begun_ns`.
    assert recorder.times[19] <= time.monotonic_ns() - begun_ns


def test_commands_act_in_the_order_and_at_the_time_of_their_arrival(loop_of):
    loop, recorder = loop_of(5)
    seen = []
    now_ns = loop.wall_offset_ns
    for arrived_ns in (3_000_000, 11_000_000, 13_000_000):
        loop.command(now_ns + arrived_ns,
                     lambda world, at_ns: seen.append((at_ns, world.time_ns)))
    loop.start()
    assert recorder.enough.wait(LIMIT_S)
    (first, at_first), (second, at_second), (third, at_third) = seen
    assert second - first == 8_000_000
    assert third - second == 2_000_000
    # Each found the world at the last step that ended before it came.
    for arrived_ns, world_ns in ((first, at_first), (second, at_second), (third, at_third)):
        assert world_ns <= arrived_ns < world_ns + STEP_NS


def test_a_command_from_later_waits_for_its_time(loop_of):
    loop, recorder = loop_of(10)
    seen = []
    loop.command(loop.wall_offset_ns + 60_000_000, lambda world, _: seen.append(world.time_ns))
    loop.start()
    assert recorder.enough.wait(LIMIT_S)
    assert seen == [] or seen[0] >= 56_000_000


def test_a_request_runs_in_the_loop_and_returns(loop_of):
    loop, _ = loop_of(1)
    loop.start()
    assert loop.request(lambda world: threading.current_thread().name, LIMIT_S) == 'physics'


def test_what_a_request_refuses_is_raised_to_its_sender_and_time_goes_on(loop_of):
    loop, recorder = loop_of(3)

    def refuse(world):
        raise ValueError('no such task')
    loop.start()
    with pytest.raises(ValueError, match='no such task'):
        loop.request(refuse, LIMIT_S)
    assert recorder.enough.wait(LIMIT_S)


def test_a_request_that_timed_out_is_not_carried_out_later(loop_of):
    loop, recorder = loop_of(3)
    late = []
    with pytest.raises(TimeoutError, match='did not answer'):
        loop.request(late.append, 0.01)     # the loop has not been started
    loop.start()
    assert recorder.enough.wait(LIMIT_S)
    assert not late


def test_time_that_cannot_be_caught_up_with_is_given_up_and_counted(loop_of):
    loop, recorder = loop_of(5)
    loop.start()
    loop.request(lambda world: time.sleep(0.4), LIMIT_S)
    recorder.enough.clear()
    recorder.wanted = len(recorder.times) + 5
    assert recorder.enough.wait(LIMIT_S)
    assert loop.given_up_ns > 250_000_000
    assert [b - a for a, b in zip(recorder.times, recorder.times[1:], strict=False)] == (
        [PERIOD_NS] * (len(recorder.times) - 1))
