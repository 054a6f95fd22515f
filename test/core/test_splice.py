"""A chunk is joined without a step, or refused."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.guard import Guard
from chunked_vla_ros.core.profiles import Profiles
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.retiming import LIMIT_POSITION, LIMIT_VELOCITY
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.splice import Splice, Splicer
from chunked_vla_ros.core.types import MotionState

MS = 1_000_000
LIMITS = JointLimits(*(np.array([x]) for x in (-2.0, 2.0, 1.0, 2.0, 20.0)))
# In shares of its range, and quick.
FINGER = JointLimits(*(np.array([x]) for x in (0.0, 1.0, 5.0, 250.0, 12500.0)))
EVERY = np.array([True])


def rest(position: float) -> MotionState:
    return MotionState.at_rest(np.array([position]))


def join(present: MotionState, points: list[float], start_ms: int = 0, step_ms: int = 50,
         tolerance_rad: float = 0.2, lead_ms: int = 0) -> Splice:
    due_ns = (start_ms + np.arange(len(points)) * step_ms) * MS
    splicer = Splicer(LIMITS, Profiles(LIMITS))
    return splicer.join(0, present, due_ns, np.array(points)[:, None], EVERY,
                        splicer.allowed_distance(tolerance_rad, lead_ms * MS))


def assert_keeps_limits(splice: Splice, limits: JointLimits = LIMITS) -> None:
    guard = Guard(limits, Profiles(limits))
    step_ns = 2 * MS
    before = splice.curve.state_at(0)
    for t_ns in range(step_ns, splice.curve.end_ns, step_ns):
        after = splice.curve.state_at(t_ns)
        assert guard.violation(after, t_ns) == ''
        assert guard.step_violation(before, after, step_ns * 1e-9) == ''
        before = after


def test_chunk_that_continues_the_motion_is_followed_exactly() -> None:
    slow = [0.01 * k for k in range(16)]
    splice = join(MotionState(np.array([0.0]), np.array([0.2]), np.array([0.0])), slow)
    for k in range(16):
        assert splice.curve.state_at(k * 50 * MS).position == pytest.approx([0.01 * k], abs=1e-9)
    assert not splice.flags.any()


def test_chunk_a_little_away_is_reached_smoothly() -> None:
    splice = join(rest(0.0), [0.05] * 20)
    assert splice.curve.state_at(0).position == pytest.approx([0.0])
    assert splice.curve.state_at(950 * MS).position == pytest.approx([0.05])
    assert_keeps_limits(splice)


def test_chunk_that_is_late_is_entered_where_it_is_now() -> None:
    line = [0.02 * k for k in range(30)]
    present = MotionState(np.array([0.08]), np.array([0.4]), np.array([0.0]))
    splice = join(present, line, start_ms=-200)
    assert splice.curve.state_at(0).position == pytest.approx([0.08])
    assert splice.curve.state_at(100 * MS).position == pytest.approx([0.12], abs=1e-9)


def test_chunk_that_starts_later_is_met_when_it_starts() -> None:
    splice = join(rest(0.0), [0.05, 0.06, 0.07, 0.08, 0.09], start_ms=400)
    assert splice.curve.state_at(400 * MS).position == pytest.approx([0.05], abs=1e-6)
    assert_keeps_limits(splice)


def test_chunk_far_away_is_a_jump() -> None:
    with pytest.raises(ChunkRejected) as error:
        join(rest(0.0), [0.21] * 20)
    assert error.value.rejection is Rejection.JUMP
    assert '0.210 rad' in str(error.value)


def test_chunk_far_away_but_due_later_is_no_jump() -> None:
    splice = join(rest(0.0), [0.5] * 20, start_ms=1500, lead_ms=1500)
    assert splice.curve.state_at(1500 * MS).position == pytest.approx([0.5], abs=1e-6)
    assert_keeps_limits(splice)


def test_chunk_too_short_to_be_joined_is_unreachable() -> None:
    with pytest.raises(ChunkRejected) as error:
        join(rest(0.0), [0.19, 0.19], start_ms=-10)
    assert error.value.rejection is Rejection.UNREACHABLE


def test_chunk_that_is_too_fast_is_slowed_and_flagged() -> None:
    splice = join(rest(0.0), [0.1 * k for k in range(10)])
    assert splice.flags[0] & LIMIT_VELOCITY
    assert splice.curve.end_ns > 450 * MS
    assert_keeps_limits(splice)


def test_points_beyond_the_range_are_moved_inside_and_flagged() -> None:
    splice = join(rest(1.9), [1.9, 1.95, 2.0, 2.05, 2.1] + [2.1] * 10)
    assert splice.flags[0] & LIMIT_POSITION
    end = splice.curve.state_at(splice.curve.end_ns).position[0]
    assert 1.97 < end <= 2.0
    assert_keeps_limits(splice)


def test_a_joint_at_the_end_of_its_range_may_stay_there() -> None:
    splice = join(rest(2.0), [2.0] * 16)
    assert splice.curve.state_at(300 * MS).position.tolist() == [2.0]
    assert not splice.flags.any()
    assert_keeps_limits(splice)


@settings(max_examples=30)
@given(start=st.floats(1.0, 1.9), duration_s=st.floats(2.5, 3.4), up=st.booleans())
def test_a_smooth_motion_to_the_end_of_the_range_is_followed_inside_it(
        start: float, duration_s: float, up: bool) -> None:
    s = np.minimum(np.arange(70) * 0.05 / duration_s, 1.0)
    points = start + (2.0 - start) * s**3 * (10 - 15 * s + 6 * s * s)
    sign = 1.0 if up else -1.0
    splice = join(rest(sign * start), (sign * points).tolist())
    assert not splice.flags[0] & LIMIT_POSITION
    end = splice.curve.state_at(splice.curve.end_ns).position[0]
    assert end == pytest.approx(sign * 2.0, abs=2e-3)
    assert_keeps_limits(splice)


@settings(max_examples=40)
@given(resting=st.integers(2, 9), step=st.floats(0.005, 0.06), up=st.booleans())
def test_a_finger_that_leaves_the_end_of_its_range_does_not_swing_out_before(
        resting: int, step: float, up: bool) -> None:
    away = np.array([0.0] * resting + [step * (k + 1) for k in range(12)])
    # The curve through these swings out a little while it still rests, and is moved inside for it.
    points = 1.0 - away if up else away
    splice = Splicer(FINGER, Profiles(FINGER)).join(
        0, rest(float(points[0])), np.arange(len(points)) * 50 * MS, points[:, None], EVERY,
        np.array([0.2]))
    assert not splice.flags[0] & LIMIT_POSITION
    assert_keeps_limits(splice, FINGER)


def test_single_point_is_a_pose_reached_at_rest_when_it_is_due() -> None:
    splice = join(rest(0.0), [0.3], start_ms=2000, lead_ms=2000)
    end = splice.curve.state_at(2000 * MS)
    assert (end.position[0], end.velocity[0]) == pytest.approx((0.3, 0.0), abs=1e-6)
    assert splice.at_rest
    assert_keeps_limits(splice)


def test_joint_that_is_not_interpolated_is_left_where_it_is() -> None:
    limits = JointLimits(*(np.array([x, x]) for x in (-2.0, 2.0, 1.0, 2.0, 20.0)))
    splice = Splicer(limits, Profiles(limits)).join(
        0, MotionState.at_rest(np.array([0.0, 2.0])), np.arange(10) * 50 * MS,
        np.tile([0.0, 2.0], (10, 1)), np.array([True, False]), np.array([0.2, 0.2]))
    assert splice.curve.state_at(200 * MS).position.tolist() == [0.0, 2.0]
    assert not splice.flags.any()


def test_chunk_that_would_take_many_times_its_time_is_refused() -> None:
    with pytest.raises(ChunkRejected) as error:
        join(rest(0.0), [0.1, -0.1] * 20)
    assert error.value.rejection is Rejection.UNREACHABLE
    assert 'more than 6 times its time' in str(error.value)
