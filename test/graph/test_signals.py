"""A signal is noted, whatever else the process is doing."""

import signal

import pytest

from chunked_vla_ros.graph.signals import note_signals


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_noted_in_their_order():
    noted = note_signals(signal.SIGUSR1, signal.SIGUSR2)
    assert noted == []
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
        signal.raise_signal(number)
    assert noted == [signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2]


def test_a_signal_that_is_not_named_is_left_as_it_was():
    before = signal.getsignal(signal.SIGUSR2)
    note_signals(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR2) is before
