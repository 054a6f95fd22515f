"""Targets stay finite, inside the limits and within the speed told, whatever is wished for."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.teleop_targets import TargetStream, Wish

ANYTHING = st.floats(allow_nan=True, allow_infinity=True)
PAIR = st.tuples(ANYTHING, ANYTHING)
NOTHING = (math.nan, math.nan)


@pytest.fixture
def stream(make_robot: Any) -> TargetStream:
    """Return targets of two joints: +-2 rad, 1 rad/s, of which half may be used."""
    stream = TargetStream(make_robot().limits, 0.5)
    stream.seed(np.zeros(2))
    return stream


def advance(stream: TargetStream, velocity: Any = (0.0, 0.0), position: Any = NOTHING,
            dt_s: float = 0.01, commanded: Any = None) -> list[float]:
    here = stream.target if commanded is None else np.array(commanded)
    return stream.advance(
        Wish(np.array(velocity), np.array(position)), dt_s, here).tolist()


def test_a_velocity_moves_the_target_by_that_much_time(stream: TargetStream) -> None:
    assert advance(stream, (0.4, -0.2)) == pytest.approx([0.004, -0.002])


def test_a_velocity_is_cut_to_the_share_of_the_limit(stream: TargetStream) -> None:
    assert advance(stream, (9.0, -9.0)) == pytest.approx([0.005, -0.005])


def test_a_position_is_approached_no_faster_than_that_and_reached_exactly(
        stream: TargetStream) -> None:
    assert advance(stream, position=(0.007, math.nan)) == pytest.approx([0.005, 0.0])
    assert advance(stream, position=(0.007, math.nan)) == [0.007, 0.0]


def test_a_stall_does_not_become_a_leap(stream: TargetStream) -> None:
    assert advance(stream, (0.5, 0.0), dt_s=30.0) == pytest.approx([0.05, 0.0])
    assert advance(stream, (0.5, 0.0), dt_s=-1.0) == pytest.approx([0.05, 0.0])


def test_the_end_of_the_range_is_the_end(stream: TargetStream) -> None:
    stream.seed(np.array([1.999, 5.0]))
    assert advance(stream, (0.5, 0.5)) == [2.0, 2.0]


def test_a_target_waits_for_an_arm_that_does_not_come_and_may_always_turn_back(
        stream: TargetStream) -> None:
    for _ in range(100):
        advance(stream, (0.5, 0.0), commanded=(0.0, 0.0))
    # 0.3 s at 0.5 rad/s and 0.02 rad.
    assert stream.target is not None
    assert stream.target[0] == pytest.approx(0.17)
    assert advance(stream, (-0.5, 0.0), commanded=(-1.0, 0.0))[0] == pytest.approx(0.165)


def test_nothing_is_sent_before_the_pose_is_known(make_robot: Any) -> None:
    stream = TargetStream(make_robot().limits, 0.5)
    assert stream.target is None
    with pytest.raises(ValueError, match='no pose to start from'):
        stream.advance(Wish.rest(2), 0.01, np.zeros(2))


@given(st.lists(st.tuples(PAIR, PAIR, ANYTHING, PAIR), max_size=20),
       st.tuples(st.floats(-9, 9), st.floats(-9, 9)))
def test_whatever_arrives_targets_are_finite_inside_and_within_their_speed(
        make_robot: Any, steps: Any, start: Any) -> None:
    limits = make_robot().limits
    stream = TargetStream(limits, 0.5)
    stream.seed(np.array(start))
    before = stream.target
    assert before is not None
    for velocity, position, dt_s, commanded in steps:
        now = np.array(advance(stream, velocity, position, dt_s, commanded))
        assert np.isfinite(now).all()
        assert ((now >= limits.lower) & (now <= limits.upper)).all()
        allowed = 0.5 * (min(max(dt_s, 0.0), 0.1) if math.isfinite(dt_s) else 0.0)
        assert np.abs(now - before).max() <= allowed + 1e-12
        before = now
