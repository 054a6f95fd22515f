"""Motions built of segments: where they go and what they keep to."""

from hypothesis import given, settings, strategies
import numpy as np
import pytest

from chunked_vla_ros.sim.motion import GRID_S, MotionBuilder

LIMITS = (np.full(2, 2.0), np.full(2, 4.0), np.full(2, 60.0))
ANGLES = strategies.lists(strategies.floats(-2.0, 2.0), min_size=2, max_size=2)


def builder(start=(0.0, 0.0)):
    return MotionBuilder(np.array(start), 0.0, LIMITS)


def peaks(motion):
    """Return the largest velocity, acceleration and jerk of the arm, at rest before and after."""
    arm = np.pad(motion.positions[:, :-1], ((3, 3), (0, 0)), mode='edge')
    return [float(np.abs(np.diff(arm, order, axis=0)).max()) / GRID_S**order
            for order in (1, 2, 3)]


def test_a_move_takes_as_long_as_its_limits_ask_for():
    build = builder()
    build.move('go', np.array([1.0, 0.0]))
    # Minimum jerk: 10/sqrt(3) rad / T^2 = 4 rad/s^2, so T = 1.201 s.
    assert build.build().duration_s == pytest.approx(1.21, abs=0.011)


@settings(max_examples=40)
@given(ANGLES, ANGLES)
def test_no_segment_exceeds_its_limits(middle, end):
    build = builder()
    build.move('there', np.array(middle))
    build.wait('grip', 0.3, 0.8)
    goal, start = np.array(end), np.array(middle)
    build.follow('bent', lambda s: start + np.sin(s[:, None] * np.pi / 2)**2 * (goal - start))
    motion = build.build()
    for peak, limit in zip(peaks(motion), (2.0, 4.0, 60.0), strict=True):
        assert peak <= 1.02 * limit
    assert motion.positions[-1, :-1] == pytest.approx(goal, abs=1e-9)


def test_the_gripper_switches_and_is_never_in_between():
    build = builder()
    build.wait('grip', 0.2, 0.8)
    build.move('go', np.array([0.5, 0.5]))
    rows = build.build().at(np.arange(0.0, 1.0, 0.003), stepped=-1)
    assert set(rows[:, -1].tolist()) == {0.0, 0.8}


def test_the_ends_hold_outside_the_motion():
    build = builder()
    build.move('go', np.array([1.0, -1.0]))
    rows = build.build().at(np.array([-5.0, 99.0]), stepped=-1)
    assert rows[0].tolist() == [0.0, 0.0, 0.0]
    assert rows[1] == pytest.approx([1.0, -1.0, 0.0])


def test_a_stop_begins_at_the_given_velocity_and_ends_at_rest():
    build = builder()
    build.stop(np.array([1.0, 0.0]))
    motion = build.build()
    steps = np.diff(motion.positions[:, 0]) / GRID_S
    assert steps[0] == pytest.approx(1.0, abs=0.01)
    assert steps[-1] == pytest.approx(0.0, abs=0.01)
    # 1.5 * 1 rad/s / 4 rad/s^2 = 0.375 s, and half of it at full speed.
    assert motion.duration_s == pytest.approx(0.38, abs=0.011)
    assert motion.positions[-1, 0] == pytest.approx(0.19, abs=0.006)


def test_phases_are_named_by_when_they_begin():
    build = builder()
    build.wait('grip', 0.2, 0.8)
    build.move('go', np.array([0.5, 0.5]))
    motion = build.build()
    assert [motion.phase(t) for t in (0.0, 0.15, 0.25, 99.0)] == ['grip', 'grip', 'go', 'go']
