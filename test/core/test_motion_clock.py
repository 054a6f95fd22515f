"""Motion time follows the steady clock and never leaps."""

from chunked_vla_ros.core.motion_clock import MotionClock, Tick

MS = 1_000_000
NOW = 10**18


def clock_at(node_ns: int = NOW, steady_ns: int = 0) -> MotionClock:
    clock = MotionClock(period_ns=5 * MS)
    clock.advance(node_ns, steady_ns)
    return clock


def test_first_tick_takes_the_node_time() -> None:
    clock = clock_at()
    assert (clock.now_ns, clock.step_ns) == (NOW, 0)


def test_late_tick_moves_on_by_the_true_time() -> None:
    clock = clock_at()
    assert clock.advance(NOW + 7 * MS, 7 * MS) is Tick.NORMAL
    assert clock.step_ns == 7 * MS


def test_tick_more_than_one_period_late_is_late() -> None:
    assert clock_at().advance(NOW + 11 * MS, 11 * MS) is Tick.LATE


def test_stall_of_200_ms_moves_on_by_4_periods_only() -> None:
    clock = clock_at()
    assert clock.advance(NOW + 200 * MS, 200 * MS) is Tick.LATE
    assert clock.now_ns == NOW + 20 * MS


def test_node_clock_set_by_an_hour_does_not_move_motion_time() -> None:
    clock = clock_at()
    hour_ns = 3600 * 10**9
    assert clock.advance(NOW + hour_ns, 5 * MS) is Tick.CLOCK_JUMP
    assert clock.now_ns == NOW + 5 * MS
    assert clock.advance(NOW + hour_ns + 5 * MS, 10 * MS) is Tick.NORMAL


def test_simulated_clock_reset_backwards_is_a_jump() -> None:
    clock = clock_at(steady_ns=NOW)
    assert clock.advance(5 * MS, 5 * MS) is Tick.CLOCK_JUMP
    assert clock.step_ns == 0
