"""Smoothness against motions whose jerk and spectrum are known."""

import numpy as np
import pytest

from chunked_vla_ros.core.motion_smoothness import rms_jerk, spectral_arc_length

STEP_S = 0.005


def minimum_jerk(duration_s):
    """Return velocity, shape (N, 1), of a minimum-jerk move by 1 rad."""
    s = np.arange(0, duration_s + STEP_S / 2, STEP_S) / duration_s
    return (30 * s**2 * (1 - s)**2 / duration_s)[:, None]


def test_a_ramp_of_acceleration_has_its_slope_as_jerk():
    ramp = np.arange(10)[:, None] * np.array([[0.05, -0.05]])
    assert rms_jerk(ramp, STEP_S) == pytest.approx(10.0)
    # One joint of two: the mean of 100 and 0.
    assert rms_jerk(ramp * [1, 0], STEP_S) == pytest.approx(50.0**0.5)


def test_too_short_or_still_is_no_number():
    assert rms_jerk(np.zeros((1, 2)), STEP_S) is None
    assert spectral_arc_length(np.zeros((100, 2)), STEP_S) is None
    assert spectral_arc_length(np.ones((1, 2)), STEP_S) is None


def test_one_smooth_move_has_the_published_length():
    # Balasubramanian et al. 2015, figure 2: a minimum-jerk move has about -1.4.
    assert spectral_arc_length(minimum_jerk(1.0), STEP_S) == pytest.approx(-1.41, abs=0.03)


def test_the_length_knows_neither_size_nor_duration():
    one = spectral_arc_length(minimum_jerk(1.0), STEP_S)
    assert spectral_arc_length(3 * minimum_jerk(1.0), STEP_S) == pytest.approx(one)
    assert spectral_arc_length(minimum_jerk(2.0), STEP_S) == pytest.approx(one, abs=0.02)


def test_stops_on_the_way_make_it_less():
    move, rest = minimum_jerk(0.5), np.zeros((60, 1))
    smooth = spectral_arc_length(minimum_jerk(1.5), STEP_S)
    halting = spectral_arc_length(np.concatenate([move, rest, move, rest, move]), STEP_S)
    assert halting < smooth - 0.5
