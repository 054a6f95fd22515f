"""What a servo follows: rebuilt streams and timed trajectories, by numbers one can check."""

from hypothesis import given, settings, strategies
import numpy as np
import pytest

from chunked_vla_ros.sim.reference import (
    HeldPosition,
    PositionStream,
    TrajectoryCommand,
    TrajectoryTrack,
)

MS = 1_000_000
LIMIT = np.array([3.0])


def stream_of(arrivals_ns, positions, period_ns=5 * MS):
    stream = PositionStream(np.array(positions[:1]), arrivals_ns[0], period_ns, LIMIT)
    for arrival_ns, position in zip(arrivals_ns[1:], positions[1:], strict=True):
        stream.accept(np.array([position]), arrival_ns)
    return stream


def ramp(count, speed, period_ns=5 * MS):
    return [speed * k * period_ns / 1e9 for k in range(count)]


def test_a_regular_ramp_is_followed_between_its_commands():
    stream = stream_of([k * 5 * MS for k in range(10)], ramp(10, speed=1.0))
    state = stream.at(47 * MS)
    assert state.velocity == pytest.approx([1.0])
    assert state.position == pytest.approx([0.047])


def test_one_missing_command_does_not_change_the_velocity():
    times = [k * 5 * MS for k in range(20)]
    positions = ramp(20, speed=1.0)
    del times[15], positions[15]
    stream = stream_of(times[:16], positions[:16])
    assert stream.at(80 * MS).velocity == pytest.approx([1.0])
    assert stream.at(82 * MS).position == pytest.approx([0.082])


@settings(max_examples=25)
@given(strategies.lists(strategies.floats(-1.0, 1.0), min_size=200, max_size=200))
def test_a_millisecond_of_jitter_is_not_taken_for_motion(jitter_ms):
    times = [round((k * 5 + jitter) * MS) for k, jitter in enumerate(jitter_ms, 1)]
    stream = stream_of(times, ramp(200, speed=1.0))
    # A difference over the arrivals would be off by up to 0.67 rad/s.
    assert stream.at(times[-1]).velocity == pytest.approx([1.0], abs=0.1)


@pytest.mark.parametrize('period_ms', [1, 2, 4, 10])
def test_a_rate_other_than_the_expected_one_is_measured(period_ms):
    times = [k * period_ms * MS for k in range(60)]
    stream = stream_of(times, ramp(60, 1.0, period_ms * MS), period_ns=5 * MS)
    assert stream.at(times[-1]).velocity == pytest.approx([1.0], rel=0.02)


def test_a_stream_that_stops_is_held_at_its_last_position():
    stream = stream_of([k * 5 * MS for k in range(10)], ramp(10, speed=1.0))
    state = stream.at(45 * MS + 11 * MS)
    assert state.position == pytest.approx([0.045])
    assert state.velocity == pytest.approx([0.0])


def test_a_stream_that_comes_back_begins_at_rest():
    stream = stream_of([0, 5 * MS, 10 * MS, 500 * MS], [0.0, 0.005, 0.010, 0.030])
    assert stream.at(500 * MS).velocity == pytest.approx([0.0])
    assert stream.at(500 * MS).position == pytest.approx([0.030])


def test_a_jump_in_the_stream_is_bounded_by_the_velocity_limit():
    stream = stream_of([0, 5 * MS], [0.0, 1.0])      # 200 rad/s
    assert stream.at(5 * MS).velocity == pytest.approx([3.0])


def track(offsets_ms, positions, velocities=None, accelerations=None, start_ns=0, now_ns=0,
          before=None):
    column = [None if rows is None else np.array(rows, dtype=float)[:, None]
              for rows in (positions, velocities, accelerations)]
    command = TrajectoryCommand(start_ns, np.array(offsets_ms) * MS, *column)
    return TrajectoryTrack(command, before or HeldPosition(np.zeros(1)), now_ns)


def test_points_without_velocity_are_joined_by_straight_lines():
    state = track([1000], [2.0], now_ns=0).at(250 * MS)
    # The start knows its velocity, the point does not: linear.
    assert state.position == pytest.approx([0.5])
    assert state.velocity == pytest.approx([2.0])


def test_points_with_velocity_are_joined_by_a_cubic():
    state = track([1000], [1.0], [0.0]).at(500 * MS)
    # 3 s^2 - 2 s^3 at the middle: half the way at 1.5 times the mean speed.
    assert state.position == pytest.approx([0.5])
    assert state.velocity == pytest.approx([1.5])


def test_points_with_acceleration_are_joined_by_a_quintic():
    motion = track([1000], [1.0], [0.0], [0.0])
    assert motion.at(500 * MS).velocity == pytest.approx([1.875])
    assert motion.at(500 * MS).acceleration == pytest.approx([0.0], abs=1e-12)
    assert motion.at(1 * MS).position == pytest.approx([10e-9], rel=0.01)


def test_a_quintic_meets_the_derivatives_that_were_asked_for():
    motion = track([1000, 3000], [1.0, -1.0], [0.5, 0.0], [0.25, 0.0])
    just_after = motion.at(1000 * MS + 1)
    assert just_after.velocity == pytest.approx([0.5], abs=1e-6)
    assert just_after.acceleration == pytest.approx([0.25], abs=1e-6)


def test_the_last_point_is_held():
    state = track([1000], [1.0], [0.7]).at(1500 * MS)
    assert state.position == pytest.approx([1.0])
    assert state.velocity == pytest.approx([0.0])


def test_points_already_past_are_left_out():
    late = track([100, 200, 300], [9.0, 1.0, 2.0], start_ns=1000 * MS, now_ns=1150 * MS)
    assert late.knots == 2
    assert late.at(1200 * MS).position == pytest.approx([1.0])


def test_the_old_trajectory_holds_until_the_new_one_starts():
    old = track([1000], [1.0])
    new = track([500], [5.0], start_ns=800 * MS, now_ns=100 * MS, before=old)
    assert new.at(500 * MS).position == pytest.approx([0.5])
    assert new.at(800 * MS).position == pytest.approx([0.8])
    assert new.at(1300 * MS).position == pytest.approx([5.0])


@given(strategies.lists(strategies.floats(-1, 1), min_size=3, max_size=3),
       strategies.lists(strategies.floats(-1, 1), min_size=3, max_size=3))
def test_replacing_a_trajectory_is_continuous_in_position_and_velocity(first, second):
    old = track([400, 800, 1200], first, [0.3, -0.2, 0.0])
    new = track([400, 800, 1200], second, [0.1, 0.2, 0.0], now_ns=500 * MS, before=old)
    before, after = track([400, 800, 1200], first, [0.3, -0.2, 0.0]).at(500 * MS), new.at(500 * MS)
    assert after.position == pytest.approx(before.position)
    assert after.velocity == pytest.approx(before.velocity)
