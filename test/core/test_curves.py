"""A curve is continuous in position, velocity and acceleration, and passes where it should."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.curves import BlendedCurve, ChainedCurve, CubicSpline, RestCurve
from chunked_vla_ros.core.types import MotionState

SECOND = 10**9


def line(start_ns: int = 0) -> CubicSpline:
    """1 rad/s through 0, 1, 2 rad."""
    return CubicSpline(start_ns, np.array([0.0, 1.0, 2.0]), np.array([[0.0], [1.0], [2.0]]))


def test_spline_through_points_on_a_line_is_that_line() -> None:
    state = line().state_at(SECOND // 2)
    assert state.position == pytest.approx([0.5])
    assert state.velocity == pytest.approx([1.0])
    assert state.acceleration == pytest.approx([0.0])


def test_spline_through_a_parabola_has_its_slope_and_curvature() -> None:
    t = np.arange(5.0)
    spline = CubicSpline(0, t, (t**2)[:, None])
    state = spline.state_at(int(2.5 * SECOND))
    assert state.position == pytest.approx([6.25])
    assert state.velocity == pytest.approx([5.0])
    assert state.acceleration == pytest.approx([2.0])
    assert spline.jerks == pytest.approx(np.zeros((4, 1)), abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_the_extremes_of_a_spline_are_what_a_fine_sampling_finds(points: list[float]) -> None:
    spline = CubicSpline(0, np.arange(float(len(points))), np.array(points)[:, None])
    seen = spline.sample(np.linspace(0.0, len(points) - 1.0, 4000))[0]
    lowest, highest = spline.extrema()
    assert lowest == pytest.approx(seen.min(axis=0), abs=1e-5)
    assert highest == pytest.approx(seen.max(axis=0), abs=1e-5)
    assert (lowest <= seen.min(axis=0) + 1e-12).all()
    assert (highest >= seen.max(axis=0) - 1e-12).all()


def test_spline_is_clamped_to_its_ends_in_time() -> None:
    assert line().state_at(-SECOND).position == pytest.approx([0.0])
    assert line().state_at(9 * SECOND).position == pytest.approx([2.0])


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.data())
def test_spline_passes_every_knot_and_is_c2_there(values: list[float], data: st.DataObject
                                                  ) -> None:
    widths = data.draw(st.lists(
        st.floats(0.02, 0.5), min_size=len(values) - 1, max_size=len(values) - 1))
    knots = np.concatenate([[0.0], np.cumsum(widths)])
    spline = CubicSpline(0, knots, np.array(values)[:, None])
    at = [part[:, 0] for part in spline.sample(knots)]
    assert at[0] == pytest.approx(np.array(values), abs=1e-9)
    assert spline.velocities[:, 0] == pytest.approx(at[1], abs=1e-6, rel=1e-6)
    just_before = [part[:, 0] for part in spline.sample(knots[1:] - 1e-9)]
    for before, knot, bound in zip(just_before[:3], at[:3], (1e-5, 1e-3, 1e-1), strict=True):
        scale = 1.0 + np.abs(spline.jerks).max() * 1e-3
        assert np.abs(before - knot[1:]).max() < bound * scale


def test_blend_starts_at_the_present_state_and_ends_on_the_reference() -> None:
    present = MotionState(np.array([0.3]), np.array([-0.2]), np.array([0.5]))
    blend = BlendedCurve(SECOND, 0.4, present, line())
    start, end = blend.state_at(SECOND), blend.state_at(SECOND + SECOND * 4 // 10)
    for found, expected in zip(vars(start).values(), vars(present).values(), strict=True):
        assert found == pytest.approx(expected)
    assert end.position == pytest.approx([1.4])
    assert end.velocity == pytest.approx([1.0])
    assert end.acceleration == pytest.approx([0.0])


def test_blend_onto_a_reference_already_followed_is_the_reference() -> None:
    reference = line()
    blend = BlendedCurve(SECOND, 0.4, reference.state_at(SECOND), reference)
    for t_ns in range(SECOND, 2 * SECOND, SECOND // 10):
        assert blend.state_at(t_ns).position == pytest.approx(reference.state_at(t_ns).position)


def test_blend_derivatives_agree_with_finite_differences() -> None:
    present = MotionState(np.array([0.3]), np.array([-0.2]), np.array([0.5]))
    blend = BlendedCurve(0, 0.4, present, line())
    grid = np.linspace(0.01, 0.39, 2001)
    parts = [part[:, 0] for part in blend.sample(grid)]
    for value, derivative in zip(parts[:3], parts[1:], strict=True):
        numeric = np.gradient(value, grid)[2:-2]
        assert numeric == pytest.approx(derivative[2:-2], abs=2e-3 * np.abs(derivative).max())


def test_chain_changes_over_when_the_first_curve_ends() -> None:
    chain = ChainedCurve(line(), RestCurve(2 * SECOND, np.array([2.0])))
    assert chain.state_at(SECOND).velocity == pytest.approx([1.0])
    assert chain.state_at(3 * SECOND).position == pytest.approx([2.0])
    assert chain.state_at(3 * SECOND).velocity == pytest.approx([0.0])
