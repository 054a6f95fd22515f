"""Where a demonstration is heading: the next switch of a gripper, else the episode's end."""

from hypothesis import given, strategies
import numpy as np

from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.core.waypoints import just_begun, waypoint_rows

ARM_AND_HAND = (DimKind.CONTINUOUS, DimKind.BINARY)


def of(hands, arms=None, kinds=ARM_AND_HAND):
    """Return the turning points of episodes, each a list of what its gripper is told."""
    hand = np.concatenate([np.array(one, float) for one in hands])
    arm = np.arange(len(hand)) if arms is None else arms
    lengths = np.array([len(one) for one in hands])
    return waypoint_rows(
        np.stack([arm, hand], axis=1), np.cumsum(lengths) - lengths, lengths, kinds).tolist()


def test_a_row_heads_for_the_next_switch_and_after_the_last_one_for_the_end() -> None:
    assert of([[0, 0, 0.8, 0.8, 0, 0, 0]]) == [2, 2, 2, 4, 4, 6, 6]


def test_episodes_do_not_know_of_each_other() -> None:
    # The gripper is open at the end of the first and closed at the beginning of the second.
    assert of([[0, 0], [1, 1, 0, 0]]) == [1, 1, 4, 4, 4, 5]


def test_a_hand_on_its_way_switches_where_it_passes_the_middle() -> None:
    assert of([[0.0, 0.3, 0.5, 0.8, 0.8]]) == [2, 2, 2, 4, 4]


def test_without_a_gripper_it_is_the_end() -> None:
    assert of([[0, 1, 0]], kinds=(DimKind.CONTINUOUS,) * 2) == [2, 2, 2]


def test_a_motion_begins_at_an_episode_and_after_each_turning_point() -> None:
    # Turning points at rows 2 and 4: what comes after them heads elsewhere.
    heading = np.array([2, 2, 2, 4, 4, 6, 6, 9, 9, 9])
    assert just_begun(heading, np.array([0, 7]), 1).tolist() == [
        True, False, False, True, False, True, False, True, False, False]
    assert just_begun(heading, np.array([0, 7]), 2).tolist() == [
        True, True, False, True, True, True, True, True, True, False]


@given(strategies.lists(strategies.lists(strategies.booleans(), min_size=1, max_size=12),
                        min_size=1, max_size=4))
def test_it_is_ahead_in_the_same_episode(hands) -> None:
    found, first = of(hands), 0
    for hand in hands:
        last = first + len(hand) - 1
        inside = found[first:last + 1]
        assert inside == sorted(inside)
        assert all(row <= turn <= last for row, turn in enumerate(inside, first))
        assert inside[-1] == last
        first = last + 1
