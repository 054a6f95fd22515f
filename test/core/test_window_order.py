"""The order of windows: every epoch shows each once, and a step's depends on seed and step."""

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.window_order import WindowOrder

COUNTS, BATCHES, SEEDS = st.integers(1, 40), st.integers(1, 17), st.integers(0, 2**32)


@given(COUNTS, BATCHES, SEEDS)
def test_each_epoch_shows_every_window_once(count, batch_size, seed):
    order = WindowOrder(count, batch_size, seed)
    steps = -(-3 * count // batch_size)
    shown = np.concatenate([order.indices(step) for step in range(steps)])
    for epoch in range(3):
        assert sorted(shown[epoch * count:(epoch + 1) * count]) == list(range(count))


@given(COUNTS, BATCHES, SEEDS, st.integers(0, 50))
def test_a_step_is_the_same_whoever_asks_and_whenever(count, batch_size, seed, step):
    first = WindowOrder(count, batch_size, seed)
    first.indices(step + 7)
    assert (first.indices(step) == WindowOrder(count, batch_size, seed).indices(step)).all()
    assert first.indices(step).shape == (batch_size,)


def test_epochs_and_seeds_are_shuffled_differently():
    first, other = WindowOrder(100, 100, 1), WindowOrder(100, 100, 2)
    assert not np.array_equal(first.indices(0), first.indices(1))
    assert not np.array_equal(first.indices(0), other.indices(0))
    assert not np.array_equal(first.indices(0), np.arange(100))


@pytest.mark.parametrize(('count', 'batch_size', 'steps'), [(10, 4, 3), (8, 4, 2), (3, 64, 1)])
def test_an_epoch_takes_as_many_steps_as_show_every_window(count, batch_size, steps):
    order = WindowOrder(count, batch_size, 0)
    assert order.steps_per_epoch == steps
    shown = np.concatenate([order.indices(step) for step in range(steps)])
    assert set(shown.tolist()) == set(range(count))


@pytest.mark.parametrize(('count', 'batch_size', 'seed'), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_an_order_of_nothing_is_refused(count, batch_size, seed):
    with pytest.raises(ValueError, match='1 or more'):
        WindowOrder(count, batch_size, seed)
