"""Jumps and limits of commanded motions that were made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.bench.motion_audit import (
    jumps,
    largest_command_step,
    limit_use,
    lost_samples,
    splice_windows,
    Track,
)
from chunked_vla_ros.bench.motion_audit import (
    track as track_with_stalls,
)
from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.motion_record import ExecutorSample, StampedMotion
from chunked_vla_ros.core.robot_spec import JointLimits

LIMITS = JointLimits(
    lower=np.array([-1.0]), upper=np.array([1.0]), velocity=np.array([2.0]),
    acceleration=np.array([5.0]), jerk=np.array([100.0]))
STEP_NS = 10_000_000
STALL_NS = 20_000_000
NO_COMMANDS = np.empty(0, np.int64)


def sample(stamp_ns: int, p: float, v: float = 0.0, a: float = 0.0,
           chunk_id: int = 0) -> ExecutorSample:
    return ExecutorSample(
        stamp_ns=stamp_ns, mode=1, session_id='ab' * 16, chunk_id=chunk_id,
        observation_to_command_s=0.0, position=np.array([p]), velocity=np.array([v]),
        acceleration=np.array([a]), counters=Counters(), lateness_p50_s=0.0, lateness_p99_s=0.0,
        reason='')


def track(samples: Sequence[ExecutorSample]) -> Track:
    return track_with_stalls(samples, NO_COMMANDS, STALL_NS)


def cubic(jerk: float, chunk_ids: Sequence[int],
          times_ns: Sequence[int] | None = None) -> list[ExecutorSample]:
    """Return points of p = J t^3 / 6."""
    stamps = times_ns or [k * STEP_NS for k in range(len(chunk_ids))]
    return [
        sample(stamp, jerk * t ** 3 / 6, jerk * t ** 2 / 2, jerk * t, chunk)
        for stamp, chunk in zip(stamps, chunk_ids, strict=True) for t in [stamp / 1e9]]


def test_motion_at_the_jerk_limit_uses_all_of_it_and_jumps_nowhere() -> None:
    motion = track(cubic(100.0, [0, 0, 1, 1, 1]))
    splice = jumps(motion, LIMITS, at_splices=True)
    # 100 rad/s^3 over 10 ms: 100 * 1e-6 / 6 = 16.7 urad and 100 * 1e-4 / 2 = 5 mrad/s.
    assert splice.intervals == 1
    assert splice.position_rad == pytest.approx(100e-6 / 6)
    assert splice.velocity_radps == pytest.approx(5e-3)
    assert splice.share_of_jerk_limit == pytest.approx(1.0)
    assert jumps(motion, LIMITS, at_splices=False).intervals == 3


def test_jump_of_one_milliradian_at_a_splice_is_found() -> None:
    samples = [sample(k * STEP_NS, 0.001 * (k > 1), chunk_id=int(k > 1)) for k in range(5)]
    splice = jumps(track(samples), LIMITS, at_splices=True)
    assert splice.position_rad == pytest.approx(1e-3)
    assert splice.share_of_jerk_limit == pytest.approx(60.0)    # 1 mrad of 16.7 urad
    assert jumps(track(samples), LIMITS, at_splices=False).share_of_jerk_limit == 0.0


def test_point_stamped_too_late_is_no_jump() -> None:
    # 1 rad/s throughout; the third point is stamped 2 ms after its time.
    stamps = [0, 10, 22, 30, 40]
    samples = [
        sample(stamp * 1_000_000, k * 0.01, 1.0, chunk_id=k)
        for k, stamp in enumerate(stamps)]
    found = jumps(track(samples), LIMITS, at_splices=True)
    assert (found.jumps, found.mistimed, found.intervals) == (0, 2, 2)
    assert found.stamp_error_s == pytest.approx(2e-3)
    assert limit_use(track(samples), LIMITS).violations == 0


def test_step_off_the_path_is_a_jump_at_any_speed() -> None:
    limits = JointLimits(*(np.repeat(getattr(LIMITS, name), 2) for name in (
        'lower', 'upper', 'velocity', 'acceleration', 'jerk')))
    samples = [
        replace(sample(k * STEP_NS, 0.0, chunk_id=int(k > 1)),
                position=np.array([k * 0.01, 0.001 * (k > 1)]), velocity=np.array([1.0, 0.0]),
                acceleration=np.zeros(2))
        for k in range(5)]
    found = jumps(track(samples), limits, at_splices=True)
    assert (found.jumps, found.mistimed) == (1, 0)


def test_step_in_velocity_alone_is_found() -> None:
    samples = [
        sample(k * STEP_NS, max(k - 1, 0) * 1e-3, 0.1 * (k > 0), chunk_id=int(k > 0))
        for k in range(5)]
    assert jumps(track(samples), LIMITS, at_splices=True).velocity_radps == pytest.approx(0.1)


def test_shares_of_the_limits_are_those_of_the_motion() -> None:
    stamps = [0, 10, 25, 30, 45]
    use = limit_use(track(cubic(50.0, [0] * 5, [t * 1_000_000 for t in stamps])), LIMITS)
    assert use.jerk == pytest.approx(0.5)
    # The last point says more: 50 * 0.045^2 / 2 = 50.6 mrad/s of 2 rad/s.
    assert use.velocity == pytest.approx(50 * 0.045**2 / 2 / 2)
    assert use.acceleration == pytest.approx(50 * 0.045 / 5)
    # From the positions alone, 30 to 45 ms: 50/6 (45^3 - 30^3) / 15 [1e-6] = 35.6 mrad/s.
    silent = [replace(one, velocity=one.velocity * 0) for one in cubic(
        50.0, [0] * 5, [t * 1_000_000 for t in stamps])]
    assert limit_use(track(silent), LIMITS).velocity == pytest.approx(
        50 / 6 * (45**3 - 30**3) / 15 * 1e-6 / 2)
    assert (use.violations, use.unjudged) == (0, 0)


def test_every_exceeded_limit_is_counted() -> None:
    too_fast = [sample(k * STEP_NS, 0.03 * k - 0.1, 3.0) for k in range(4)]
    # Four points that say 3 rad/s, three intervals that show it.
    assert limit_use(track(too_fast), LIMITS).violations == 7
    outside = [sample(k * STEP_NS, 1.1) for k in range(4)]
    assert limit_use(track(outside), LIMITS).violations == 4


def test_long_gap_is_left_unjudged() -> None:
    samples = [sample(stamp, p) for stamp, p in [
        (0, 0.0), (STEP_NS, 0.0), (6 * STEP_NS, 0.5), (7 * STEP_NS, 0.5), (8 * STEP_NS, 0.5)]]
    use = limit_use(track(samples), LIMITS)
    assert (use.violations, use.unjudged) == (0, 1)


def test_interval_with_a_stall_of_the_commands_is_left_unjudged() -> None:
    samples = [sample(stamp * 1_000_000, p) for stamp, p in [
        (0, 0.0), (20, 0.0), (50, 0.2), (70, 0.2), (90, 0.2)]]
    # Commands every 5 ms, but none between 22 and 47 ms.
    sent = np.array([2, 7, 12, 17, 22, 47, 52, 57, 62, 67, 72, 77, 82, 87, 92]) * 1_000_000
    use = limit_use(track_with_stalls(samples, sent, STALL_NS), LIMITS)
    assert (use.violations, use.unjudged) == (0, 1)
    assert limit_use(track(samples), LIMITS).violations > 0


def test_repeated_and_uncommanded_states_are_no_points() -> None:
    empty = sample(5, 0.0)
    object.__setattr__(empty, 'position', np.empty(0))
    points = track([empty, *cubic(1.0, [0] * 4), *cubic(1.0, [0] * 4)[-1:]])
    assert points.times_ns.tolist() == [0, STEP_NS, 2 * STEP_NS, 3 * STEP_NS]


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match='3 commanded points'):
        track(cubic(1.0, [0] * 3))


@given(
    st.lists(st.integers(4_000_000, 20_000_000), min_size=6, max_size=40),
    st.floats(-100.0, 100.0), st.floats(-4.0, 4.0), st.floats(-1.5, 1.5))
def test_no_motion_of_constant_jerk_within_limits_counts_as_a_jump(
        gaps_ns: list[int], jerk: float, acceleration: float, velocity: float) -> None:
    samples = []
    for k, stamp in enumerate(np.cumsum(gaps_ns)):
        t = stamp / 1e9
        samples.append(sample(
            int(stamp), velocity * t + acceleration * t**2 / 2 + jerk * t**3 / 6,
            velocity + acceleration * t + jerk * t**2 / 2, acceleration + jerk * t, k // 3))
    motion = track(samples)
    for at_splices in (True, False):
        assert jumps(motion, LIMITS, at_splices=at_splices).share_of_jerk_limit <= 1.0 + 1e-6


def test_command_steps_are_looked_for_within_the_splices_only() -> None:
    commands = StampedMotion(
        np.arange(6) * 5_000_000, np.array([[0.0], [0.5], [0.5], [0.6], [0.6], [0.6]]))
    motion = track(cubic(0.0, [0, 1, 1, 1]))
    assert splice_windows(motion).tolist() == [[0, STEP_NS]]
    assert largest_command_step(commands, splice_windows(motion)) == 0.5
    assert largest_command_step(commands, np.array([[13_000_000, 14_000_000]])) == \
        pytest.approx(0.1)
    assert largest_command_step(commands, np.empty((0, 2), np.int64)) == 0.0


def test_gap_in_the_sequence_is_a_lost_sample() -> None:
    assert lost_samples(np.array([7, 8, 11])) == 2
    assert lost_samples(np.empty(0, np.int64)) == 0
