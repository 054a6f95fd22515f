"""Losses are the numbers left out; a publisher that starts anew has lost nothing."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.loss_meter import LossMeter, NOT_NUMBERED, WINDOW_NS

NOW = 10**18


def counted(*numbers):
    meter = LossMeter()
    for number in numbers:
        meter.add(number, NOW)
    return meter.received, meter.lost


@pytest.mark.parametrize(('numbers', 'received', 'lost'), [
    ((), 0, 0),
    ((1, 2, 3), 3, 0),
    ((7, 8), 2, 0),                  # who joins late has not lost the first six
    ((1, 2, 5, 6, 9), 5, 4),
    ((8, 9, 1, 2), 4, 0),            # started anew
    ((8, 9, 1, 4), 4, 2),
    ((3, 3), 2, 0),
    ((NOT_NUMBERED, NOT_NUMBERED), 2, 0),
])
def test_a_gap_in_the_numbers_is_a_loss(numbers, received, lost):
    assert counted(*numbers) == (received, lost)


def test_a_loss_is_forgotten_after_the_window():
    meter = LossMeter()
    meter.add(1, NOW)
    meter.add(5, NOW)
    assert meter.recent(NOW + WINDOW_NS - 1) == (3, 5)
    assert meter.recent(NOW + WINDOW_NS) == (0, 0)
    assert (meter.lost, meter.published) == (3, 5)


def test_a_clock_that_is_set_back_empties_the_window():
    meter = LossMeter()
    meter.add(1, NOW)
    meter.add(3, NOW)
    assert meter.recent(NOW - 1) == (0, 0)


def test_counting_from_zero_keeps_the_place_in_the_numbers():
    meter = LossMeter()
    meter.add(1, NOW)
    meter.reset_counts()
    assert meter.add(4, NOW) == 2
    assert (meter.received, meter.lost, meter.published) == (1, 2, 3)


def test_what_was_sent_between_two_subscriptions_is_not_lost():
    meter = LossMeter()
    meter.add(1, NOW)
    meter.rejoin()
    assert meter.add(9, NOW) == 0
    assert meter.lost == 0


@given(st.sets(st.integers(1, 200), min_size=1))
def test_of_what_is_sent_between_first_and_last_everything_is_received_or_lost(arrived):
    received, lost = counted(*sorted(arrived))
    assert received + lost == max(arrived) - min(arrived) + 1
