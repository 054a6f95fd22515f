"""Joints are picked by name and checked, or one line says what is wrong with the message."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.joint_samples import joint_sample
from chunked_vla_ros.core.rejection import InputRejected

NAMES, STAMP_NS = ('a', 'b'), 5


def test_joints_are_picked_by_name_in_any_order() -> None:
    sample = joint_sample(
        ('b', 'extra', 'a'), [2.0, 9.0, 1.0], [20.0, 90.0, 10.0], NAMES, STAMP_NS)
    assert sample.position.tolist() == [1.0, 2.0]
    assert sample.velocity.tolist() == [10.0, 20.0]
    assert sample.stamp_ns == 5


def test_arrays_are_taken_like_lists_and_no_velocities_are_zeros() -> None:
    sample = joint_sample(NAMES, np.array([1.0, 2.0]), np.empty(0), NAMES, STAMP_NS)
    assert (sample.position.tolist(), sample.velocity.tolist()) == ([1.0, 2.0], [0.0, 0.0])


@pytest.mark.parametrize(('names', 'position', 'velocity', 'complaint'), [
    ((), [], [], r'lacks a, b; it has \[\]'),
    (('a',), [1.0], [], r"lacks b; it has \['a'\]"),
    (('a', 'b'), [1.0], [], '2 names but 1 positions'),
    (('a', 'b'), [], [], '2 names but 0 positions'),
    (('a', 'b'), [1.0, 2.0], [1.0], '2 names but 1 velocities'),
    (('a', 'b', 'a'), [1.0, 2.0, 3.0], [], 'names a twice'),
    (('a', 'b'), [1.0, np.nan], [], 'not finite'),
    (('a', 'b'), [1.0, 2.0], [1.0, np.inf], 'not finite')])
def test_what_cannot_be_used_is_refused_with_one_line(
        names: tuple[str, ...], position: list[float], velocity: list[float],
        complaint: str) -> None:
    with pytest.raises(InputRejected, match=complaint) as error:
        joint_sample(names, position, velocity, NAMES, STAMP_NS)
    assert '\n' not in str(error.value)


def test_a_value_of_a_joint_that_nobody_asked_for_may_be_anything() -> None:
    assert joint_sample(('x', 'x', 'a'), [np.nan, 0.0, 1.0], [], ('a',), 0).position == [1.0]


@given(st.lists(st.sampled_from('abc'), max_size=4), st.lists(st.floats(), max_size=4),
       st.lists(st.floats(), max_size=4))
def test_anything_is_a_finite_sample_or_refused(
        names: list[str], position: list[float], velocity: list[float]) -> None:
    try:
        sample = joint_sample(names, position, velocity, NAMES, STAMP_NS)
    except InputRejected:
        return
    assert np.isfinite(sample.position).all()
    assert sample.position.shape == sample.velocity.shape == (2,)
