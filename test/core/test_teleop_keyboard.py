"""Keys: a tap is a nudge, a held key goes on, a lost keyboard is a stop."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import GripperSpec
from chunked_vla_ros.core.teleop_keyboard import KeyboardSettings, KeyboardTeleop
from chunked_vla_ros.core.teleop_targets import Demand
from chunked_vla_ros.core.types import DimKind

MS = 1_000_000
POSE = np.array([0.1, 0.2, 0.0])


@pytest.fixture
def robot(make_robot: Any) -> Any:
    """Return two joints and a gripper, open at 0 and closed at 1."""
    from dataclasses import replace
    kinds = (DimKind.CONTINUOUS, DimKind.CONTINUOUS, DimKind.BINARY)
    return replace(make_robot(kinds), gripper=GripperSpec('joint_2', 0.0, 1.0))


@pytest.fixture
def keys(robot: Any) -> KeyboardTeleop:
    """Return a keyboard: 0.1 rad/s for 150 ms per press."""
    return KeyboardTeleop(robot, KeyboardSettings())


def velocity(keys: KeyboardTeleop, now_ms: int) -> list[float]:
    return keys.wish(now_ms * MS).velocity.tolist()


def test_a_press_moves_its_joint_for_150_ms(keys: KeyboardTeleop) -> None:
    keys.press('q', 0, POSE)
    assert velocity(keys, 0) == pytest.approx([0.1, 0.0, 0.0])
    assert velocity(keys, 149) == pytest.approx([0.1, 0.0, 0.0])
    assert velocity(keys, 150) == [0.0, 0.0, 0.0]


def test_the_key_below_moves_it_back_and_repeats_keep_it_moving(keys: KeyboardTeleop) -> None:
    for now_ms in range(0, 1000, 33):
        keys.press('s', now_ms * MS, POSE)
        assert velocity(keys, now_ms + 32) == pytest.approx([0.0, -0.1, 0.0])
    assert velocity(keys, 990 + 150) == [0.0, 0.0, 0.0]


def test_stop_ends_all_motion_at_once(keys: KeyboardTeleop) -> None:
    keys.press('q', 0, POSE)
    keys.press('w', 0, POSE)
    keys.press('x', 1, POSE)
    assert velocity(keys, 1) == [0.0, 0.0, 0.0]


def test_faster_and_slower_turn_the_dial_within_its_bounds(keys: KeyboardTeleop) -> None:
    keys.press('+', 0, POSE)
    keys.press('q', 0, POSE)
    assert velocity(keys, 1)[0] == pytest.approx(0.125)
    for _ in range(100):
        keys.press('+', 0, POSE)
    assert velocity(keys, 1)[0] == pytest.approx(0.4)
    for _ in range(100):
        keys.press('-', 0, POSE)
    assert velocity(keys, 1)[0] == pytest.approx(0.01)


def test_space_closes_an_open_gripper_and_opens_it_again(keys: KeyboardTeleop) -> None:
    assert np.isnan(keys.wish(0).position).all()
    keys.press(' ', 0, POSE)
    assert keys.wish(0).position[2] == 1.0
    keys.press(' ', 0, POSE)
    assert keys.wish(0).position[2] == 0.0


def test_the_first_toggle_starts_from_where_the_gripper_is(keys: KeyboardTeleop) -> None:
    keys.press(' ', 0, np.array([0.0, 0.0, 0.9]))
    assert keys.wish(0).position[2] == 0.0


@pytest.mark.parametrize(('key', 'demand'), [
    ('c', Demand.TAKE_OVER), ('v', Demand.GIVE_BACK), ('b', Demand.HOLD), ('?', Demand.HELP)])
def test_some_keys_ask_for_more_than_motion(
        keys: KeyboardTeleop, key: str, demand: Demand) -> None:
    assert keys.press(key, 0, POSE) is demand
    assert velocity(keys, 1) == [0.0, 0.0, 0.0]


def test_release_forgets_keys_and_gripper(keys: KeyboardTeleop) -> None:
    keys.press('q', 0, POSE)
    keys.press(' ', 0, POSE)
    keys.release()
    assert velocity(keys, 1) == [0.0, 0.0, 0.0]
    assert np.isnan(keys.wish(1).position).all()


def test_a_clock_set_back_does_not_make_a_press_last(keys: KeyboardTeleop) -> None:
    keys.press('q', 10**6 * MS, POSE)
    assert velocity(keys, 5) == [0.0, 0.0, 0.0]


def test_tab_moves_the_keys_to_the_next_ten_joints(make_robot: Any) -> None:
    keys = KeyboardTeleop(make_robot((DimKind.CONTINUOUS,) * 14), KeyboardSettings())
    keys.press('\t', 0, np.zeros(14))
    keys.press('q', 0, np.zeros(14))
    assert np.flatnonzero(keys.wish(1).velocity).tolist() == [10]
    keys.press('t', 0, np.zeros(14))    # there is no fifteenth joint
    assert np.flatnonzero(keys.wish(1).velocity).tolist() == [10]
    keys.press('\t', 0, np.zeros(14))
    assert keys.bindings[0].does == 'joint_0 +'


def test_the_key_table_shows_what_is_so(keys: KeyboardTeleop) -> None:
    table = {one.label: one.does for one in keys.bindings}
    assert len(table) == len(keys.bindings), 'a key has two meanings'
    assert table['q'] == 'joint_0 +'
    assert table['s'] == 'joint_1 -'
    assert table['space'] == 'open or close the gripper'
    assert 'e' not in table
    assert 'tab' not in table, 'there is only one group'


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(-10**12, 10**12)), max_size=30))
def test_no_sequence_of_keys_asks_for_more_than_the_dial_allows(
        make_robot: Any, presses: list[tuple[str, int]]) -> None:
    keys = KeyboardTeleop(make_robot(), KeyboardSettings())
    for key, now_ns in presses:
        keys.press(key, now_ns, np.zeros(2))
        wish = keys.wish(now_ns)
        assert np.abs(wish.velocity).max() <= 0.4 + 1e-12
