"""Targets at 50 to 100 Hz become one smooth motion that meets them, within the robot's limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.teleop_follower import TeleopFollower, TeleopTarget
from chunked_vla_ros.core.types import MotionState

MS = 1_000_000
SECOND = 1000 * MS
# A sender whose clock is not ours.
ELSEWHERE = 10**18
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos' / 'franka_fr3'


class Hand:
    """A person's targets for a bench, sent at a rate and heard after a varying while."""

    def __init__(self, bench: Any, rate_hz: float = 100.0, late_ms: Any = (3,),
                 stamped: bool = True) -> None:
        self.bench, self.step_ns, self.stamped = bench, round(SECOND / rate_hz), stamped
        self.late_ms, self.sent = late_ms, 0
        self.errors: list[np.ndarray] = []
        bench.run(20)
        bench.executor.set_source(Source.TELEOP)
        bench.run(20)
        self.start_ns = bench.now_ns

    def move(self, path: Callable[[float], Any], duration_s: float) -> None:
        """Send ``path`` (seconds to positions) and let the arm follow."""
        bench, waiting = self.bench, []
        until_ns = bench.now_ns + round(duration_s * SECOND)
        while bench.now_ns < until_ns:
            while self.start_ns + self.sent * self.step_ns <= bench.now_ns:
                made_ns = self.start_ns + self.sent * self.step_ns
                late_ms = self.late_ms[self.sent % len(self.late_ms)]
                waiting.append((made_ns + round(late_ms * MS), made_ns))
                self.sent += 1
            while waiting and waiting[0][0] <= bench.now_ns:
                _, made_ns = waiting.pop(0)
                bench.executor.teleop.offer(TeleopTarget(
                    bench.now_ns, np.array(path((made_ns - self.start_ns) / SECOND), float),
                    ELSEWHERE + made_ns if self.stamped else 0))
            bench.run(5)
            due_s = (bench.commands[-1].due_ns - self.start_ns) / SECOND
            self.errors.append(bench.position - np.array(path(due_s)))

    def worst(self, last_s: float) -> float:
        """Return the largest error of the last ``last_s`` [s] in [rad]."""
        return float(np.abs(self.errors[-round(last_s * 200):]).max())


def ramp(t_s: float) -> list[float]:
    return [0.3 * t_s, -0.2 * t_s]


def wave(t_s: float) -> list[float]:
    return [0.2 * (1 - np.cos(2 * t_s)), 0.1 * np.sin(t_s) ** 2]


def speeds(bench: Any, last: int) -> np.ndarray:
    return np.array([command.state.velocity for command in bench.commands[-last:]])


@pytest.mark.parametrize('rate_hz', [20.0, 50.0, 100.0, 1000.0])
def test_a_steady_motion_is_met_without_lag_and_without_stop_and_go(
        bench: Any, rate_hz: float) -> None:
    hand = Hand(bench, rate_hz)
    hand.move(ramp, 3.0)
    # What is left is the 5 ms until the executor's next tick, and the 3 ms on the way.
    assert hand.worst(1.0) < 0.3 * 0.009
    assert np.ptp(speeds(bench, 200), axis=0).max() < 0.02


def test_a_hands_motion_is_followed_closely(bench: Any) -> None:
    hand = Hand(bench)
    hand.move(wave, 6.0)
    assert hand.worst(4.0) < 0.01
    assert bench.status.counters.clamps == 0


def test_stamps_make_up_for_messages_that_come_unevenly(bench: Any) -> None:
    hand = Hand(bench, late_ms=(3, 14, 5, 22, 3, 9))
    hand.move(ramp, 3.0)
    assert np.ptp(speeds(bench, 200), axis=0).max() < 0.03


def test_a_sender_without_stamps_is_followed_too(bench: Any) -> None:
    hand = Hand(bench, stamped=False)
    hand.move(ramp, 3.0)
    assert hand.worst(1.0) < 0.01


def test_a_hand_that_stops_sending_is_a_bounded_stop_and_no_overshoot_beyond_it(
        bench: Any) -> None:
    hand = Hand(bench)
    hand.move(ramp, 3.0)
    last = bench.position.copy()
    bench.run(200)    # before the executor's own time-out
    assert bench.mode is Mode.TELEOP
    # 30 ms of coasting at 0.3 rad/s; then half of 2 rad/s^2 after 0.1 s that jerk takes.
    assert 0 < bench.position[0] - last[0] < 0.3 * 0.03 + 0.3 * 0.1 + 0.3**2 / 2
    bench.run(400)
    assert bench.mode is Mode.HOLD
    assert bench.speed == 0.0


def test_one_joint_that_switches_does_not_disturb_the_others(bench: Any) -> None:
    hand = Hand(bench)
    hand.move(lambda t: [0.3 * t, 0.0], 2.0)
    hand.move(lambda t: [0.3 * t, 1.0], 2.0)
    assert np.ptp(speeds(bench, 380)[:, 0]) < 0.02
    hand.move(lambda t: [1.2, 1.0], 2.0)
    assert bench.position == pytest.approx([1.2, 1.0], abs=1e-6)


def test_a_hand_beyond_the_range_is_followed_to_its_end_without_a_clamp(bench: Any) -> None:
    bench.position = np.array([1.6, -1.6])
    hand = Hand(bench)
    hand.move(lambda t: [1.6 + 0.6 * np.sin(t), -1.6 - 0.6 * np.sin(t)], 6.0)
    farthest = max(command.state.position[0] for command in bench.commands if command)
    assert farthest == pytest.approx(2.0, abs=2e-3)
    assert bench.status.counters.clamps == 0


def test_a_new_hand_far_away_is_approached_at_half_speed(bench: Any) -> None:
    hand = Hand(bench)
    hand.move(lambda t: [1.5, -1.5], 5.0)
    assert np.abs(speeds(bench, 1000)).max() <= 0.5 + 1e-9
    assert bench.position == pytest.approx([1.5, -1.5])


def test_a_moving_hand_far_away_is_caught_up_with(bench: Any) -> None:
    hand = Hand(bench)
    hand.move(lambda t: [0.5 + 0.2 * t, 0.0], 5.0)
    assert hand.worst(1.0) < 0.005


def test_what_a_trajectory_controller_is_told_begins_now_and_ends_at_rest(bench: Any) -> None:
    hand = Hand(bench)
    hand.move(ramp, 2.0)
    rows = bench.executor.preview(range(20 * MS, 120 * MS, 20 * MS))
    assert rows[0][1].position == pytest.approx(bench.position)
    assert rows[-1][1].velocity == pytest.approx(0.0, abs=1e-9)
    positions = np.array([state.position for _, state in rows])
    assert (np.diff(positions[:, 0]) >= 0).all()


def test_targets_that_flood_in_are_planned_for_200_times_a_second(make_robot: Any) -> None:
    follower = TeleopFollower(make_robot().limits, 0.25)
    rest = MotionState.at_rest(np.zeros(2))
    plans = 0
    for now_ns in range(SECOND, 2 * SECOND, MS):
        follower.offer(TeleopTarget(now_ns, np.zeros(2)))
        plans += follower.take(now_ns, now_ns, rest) is not None
    assert plans == 200


TARGETS = st.lists(st.tuples(
    st.lists(st.floats(-1e300, 1e300) | st.floats(-3, 3), min_size=2, max_size=2),
    st.sampled_from([0, 1, MS // 2, 9 * MS, 10 * MS, 20 * MS, 400 * MS]),
    st.sampled_from([0, 1, -5, 10 * MS, 20 * MS, -(2**62), 2**62])), max_size=25)


@settings(max_examples=60)
@given(TARGETS)
def test_whatever_targets_and_stamps_arrive_the_motion_begins_where_the_arm_is(
        make_robot: Callable[..., RobotSpec], targets: Any) -> None:
    follower = TeleopFollower(make_robot().limits, 0.25)
    present, now_ns, sent_ns = MotionState.at_rest(np.zeros(2)), SECOND, 0
    curve = None
    for position, step_ns, sent_step_ns in targets:
        now_ns += step_ns
        sent_ns = max(sent_ns + sent_step_ns, 0)
        follower.offer(TeleopTarget(now_ns, np.array(position), sent_ns))
        if curve is not None:
            present = curve.state_at(now_ns)
        curve = follower.take(now_ns, now_ns, present) or curve
        assert curve is not None
        begun = curve.state_at(now_ns)
        for was, now in ((present.position, begun.position), (present.velocity, begun.velocity),
                         (present.acceleration, begun.acceleration)):
            assert now == pytest.approx(was, abs=1e-9)
        for later_ns in range(0, 2 * SECOND, 100 * MS):
            assert np.isfinite(curve.state_at(now_ns + later_ns).position).all()


STREAMS = st.lists(st.tuples(
    st.lists(st.floats(-3.0, 3.0) | st.floats(-0.02, 0.02), min_size=2, max_size=2),
    st.sampled_from(['jump', 'glide', 'glide', 'glide', 'silence', 'policy', 'wall clock']),
    st.integers(1, 30)), min_size=1, max_size=12)


# The fixture is a factory without a state of its own.
@settings(max_examples=20, suppress_health_check=[*HealthCheck])
@given(STREAMS, st.booleans())
def test_no_stream_of_targets_makes_a_command_jump_or_exceed_a_limit(
        make_robot: Any, make_bench: Any, stream: Any, stamped: bool) -> None:
    robot = make_robot()
    bench = make_bench(robot)
    bench.run(20)
    bench.executor.set_source(Source.TELEOP)
    bench.run(20)
    target, sent_ns = np.zeros(2), ELSEWHERE
    for step, kind, ticks in stream:
        if kind == 'policy':
            bench.executor.set_source(Source.POLICY)
            bench.executor.set_source(Source.TELEOP)
        elif kind == 'wall clock':
            sent_ns += round(step[0] * SECOND)
        for _ in range(ticks):
            target = np.array(step) if kind == 'jump' else target + np.array(step) / 30
            sent_ns += 10 * MS
            if kind != 'silence':
                bench.executor.teleop.offer(
                    TeleopTarget(bench.now_ns, target, sent_ns if stamped else 0))
            bench.run(10)
    bench.run(600)
    check_commands([command.state for command in bench.commands if command], robot.limits)


def check_commands(states: list[MotionState], limits: Any) -> None:
    """Check by definition: bounded jerk over 5 ms, and every limit."""
    dt = 0.005
    p, v, a = (np.array([getattr(state, part) for state in states])
               for part in ('position', 'velocity', 'acceleration'))
    assert (p >= limits.lower - 1e-6).all()
    assert (p <= limits.upper + 1e-6).all()
    assert (np.abs(v) <= limits.velocity * (1 + 1e-5)).all()
    assert (np.abs(a) <= limits.acceleration * (1 + 1e-5)).all()
    room = limits.jerk * dt
    assert (np.abs(np.diff(a, axis=0)) <= room + 1e-4).all()
    assert (np.abs(np.diff(v, axis=0) - a[:-1] * dt) <= room * dt / 2 + 1e-5).all()
    assert (np.abs(np.diff(p, axis=0) - v[:-1] * dt - a[:-1] * dt**2 / 2)
            <= room * dt**2 / 6 + 1e-5).all()


@pytest.mark.skipif(not REAL.is_dir(), reason='real demonstrations are absent (shared/data)')
@pytest.mark.parametrize('rate_hz', [50.0, 100.0])
def test_a_real_leader_is_followed_within_milliradians(
        make_bench: Any, rate_hz: float) -> None:
    from chunked_vla_ros.data.robot_contract import load_robot
    rows = np.load(sorted(REAL.glob('*.npy'))[0])[:5000]
    times_s = (rows[:, 0] - rows[0, 0]) * 1e-9
    bench = make_bench(load_robot('franka_fr3'))
    bench.position = rows[0, 1:8].copy()
    hand = Hand(bench, rate_hz, late_ms=(3, 5, 4, 9))
    hand.move(lambda t: [np.interp(t, times_s, rows[:, 1 + joint]) for joint in range(7)],
              float(times_s[-1]))
    errors = np.array(hand.errors[60:])
    # Measured 1.2 to 1.7 mrad; 17 to 23 mrad by moves that each aim to rest.
    assert np.sqrt((errors**2).mean()) < 0.003
    assert bench.status.counters.clamps == 0
