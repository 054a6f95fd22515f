"""Rates over the last two seconds, with numbers that can be checked by hand."""

import pytest

from chunked_vla_ros.core.rate_meter import RateMeter

MS = 1_000_000
S = 1_000_000_000


def test_steady_arrivals_give_their_rate():
    meter = RateMeter()
    for index in range(1000):
        meter.add(index * 10 * MS)
    assert meter.rate_hz(999 * 10 * MS) == pytest.approx(100.0, rel=0.01)
    assert meter.total == 1000


def test_nothing_arrived_is_a_rate_of_zero():
    assert RateMeter().rate_hz(5 * S) == 0.0


def test_rate_falls_to_zero_when_arrivals_end():
    meter = RateMeter()
    for index in range(20):
        meter.add(index * 50 * MS)
    assert meter.rate_hz(1 * S + 1) == pytest.approx(20.0, rel=0.05)
    assert meter.rate_hz(4 * S) == 0.0


def test_a_clock_that_goes_back_starts_the_count_again():
    meter = RateMeter()
    for index in range(20):
        meter.add(100 * S + index * 50 * MS)
    for index in range(20):
        meter.add(1 * S + index * 50 * MS)
    assert meter.rate_hz(2 * S) == pytest.approx(20.0, rel=0.05)
