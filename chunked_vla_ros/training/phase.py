"""
Part of a training in which every step learns the same from the same windows.

Imitation has one phase; offline RL may have one of its critic and one of its policy. Knows no
network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.training.batches import BatchStream


class Loader(Protocol):
    """Where batches come from."""

    def batch(self, indices: IntArray) -> Any:
        """Return the windows ``indices`` (B,)."""

    def rows(self, indices: IntArray) -> IntArray:
        """Return where the windows ``indices`` (B,) begin, (B,)."""

    def steps(self, order: WindowOrder, first: int, last: int,
              part: slice | None = None) -> BatchStream:
        """Return the batches of steps ``first`` to ``last`` - 1, to be used by ``with``."""


@dataclass(frozen=True)
class Phase:
    """
    Steps that learn the same from the same.

    :ivar last: The first step after it.
    """

    last: int
    order: WindowOrder
    loader: Loader
