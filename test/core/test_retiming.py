"""A spline that asks too much is slowed, only where it does."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.retiming import (
    LIMIT_ACCELERATION,
    LIMIT_JERK,
    LIMIT_VELOCITY,
    retime,
    scaled,
    stretch_needed,
)
from chunked_vla_ros.core.robot_spec import JointLimits

LIMITS = JointLimits(*(np.array([x]) for x in (-2.0, 2.0, 1.0, 2.0, 20.0)))
KNOTS = np.arange(11) * 0.1


def test_motion_within_limits_keeps_its_times() -> None:
    result = retime(0, KNOTS, 0.5 * KNOTS[:, None], LIMITS)
    assert result.stretch == 1.0
    assert result.flags.tolist() == [0]
    assert result.spline.knots_s == pytest.approx(KNOTS)


def test_line_at_twice_the_velocity_limit_takes_twice_as_long() -> None:
    result = retime(0, KNOTS, 2.0 * KNOTS[:, None], LIMITS)
    assert result.flags.tolist() == [LIMIT_VELOCITY]
    assert result.stretch == pytest.approx(2.0)


def test_only_the_fast_part_is_slowed() -> None:
    positions = np.concatenate([np.zeros(6), [0.0, 0.05, 0.3, 0.55, 0.6], np.full(6, 0.6)])
    knots = np.arange(len(positions)) * 0.1
    result = retime(0, knots, positions[:, None], LIMITS)
    assert np.diff(result.spline.knots_s)[:3] == pytest.approx([0.1, 0.1, 0.1])
    assert np.diff(result.spline.knots_s)[8] > 0.15


def test_the_past_keeps_its_times() -> None:
    positions = np.where(KNOTS < 0.55, 0.0, 2.0 * (KNOTS - 0.5))[:, None]
    result = retime(0, KNOTS, positions, LIMITS, first_interval=4)
    assert result.spline.start_ns + result.spline.knots_s[4] * 1e9 == pytest.approx(0.4e9)


def test_flags_name_the_limits_that_asked_for_the_stretch() -> None:
    corner = np.array([0.0, 0.0, 0.0, 0.03, 0.06, 0.09])[:, None]
    result = retime(0, np.arange(6) * 0.1, corner, LIMITS)
    assert result.flags[0] & LIMIT_ACCELERATION
    assert result.flags[0] & LIMIT_JERK
    assert not result.flags[0] & LIMIT_VELOCITY


def test_scaled_limits_keep_the_position_range() -> None:
    half = scaled(LIMITS, 0.5)
    assert (half.upper[0], half.velocity[0], half.jerk[0]) == (2.0, 0.5, 10.0)


@given(st.lists(st.floats(-1.5, 1.5), min_size=2, max_size=20), st.integers(0, 18))
def test_no_spline_exceeds_a_limit_from_the_first_interval_on(values: list[float], first: int
                                                              ) -> None:
    first = min(first, len(values) - 2)
    result = retime(0, np.arange(len(values)) * 0.05, np.array(values)[:, None], LIMITS, first)
    assert stretch_needed(result.spline, LIMITS)[:, first:].max() <= 1.0 + 1e-4
    assert result.spline.positions[:, 0] == pytest.approx(values)
