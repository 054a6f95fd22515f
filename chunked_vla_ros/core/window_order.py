"""
In which order a training sees its windows: epoch after epoch, each shuffled anew.

A pure function of seed and step: a training that goes on after a break draws what it would have
drawn, and so does every process of it. Knows no clock and keeps no state but a memory of epochs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from chunked_vla_ros.core.training_windows import IntArray

# A batch may reach from an epoch into the next, and a loader reads ahead of the training.
EPOCHS_KEPT = 8


class WindowOrder:
    """The numbers 0 to ``count`` - 1 in batches; a batch may reach into the next epoch."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        """
        Order ``count`` windows.

        :raises ValueError: there is no window, the batch is empty, or the seed is negative.
        """
        if count < 1 or batch_size < 1 or seed < 0:
            raise ValueError(f'{count} windows, batch_size {batch_size}, seed {seed}: expected '
                             '1 or more, 1 or more, 0 or more')
        self.count, self.batch_size, self.seed = count, batch_size, seed

    @property
    def steps_per_epoch(self) -> int:
        """Return after how many steps every window was shown at least once."""
        return -(-self.count // self.batch_size)

    def indices(self, step: int) -> IntArray:
        """Return the windows of step 0, 1, ...: shape (batch_size,)."""
        place = step * self.batch_size + np.arange(self.batch_size)
        epochs, within = np.divmod(place, self.count)
        found = np.empty(self.batch_size, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = _shuffled(self.count, self.seed, int(epoch))[within[here]]
        return found


@lru_cache(EPOCHS_KEPT)
def _shuffled(count: int, seed: int, epoch: int) -> IntArray:
    order: IntArray = np.random.default_rng((seed, epoch)).permutation(count)
    order.setflags(write=False)
    return order
