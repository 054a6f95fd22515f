"""
A slot that holds the newest item between two threads.

The writer never blocks and never queues: what nobody took in time is replaced. Knows nothing about
what it carries.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

ItemT = TypeVar('ItemT')


class LatestSlot(Generic[ItemT]):
    """Hold the newest item; a reader takes it once, a writer never waits for a reader."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: ItemT | None = None
        self._closed = False

    def put(self, item: ItemT) -> None:
        """Replace what the slot holds."""
        with self._condition:
            self._item = item
            self._condition.notify()

    def take(self, timeout_s: float | None = None) -> ItemT | None:
        """Return the newest item once, or ``None`` after ``timeout_s`` [s] or `close`."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    @property
    def closed(self) -> bool:
        """Return whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Wake every reader with ``None``, now and for ever."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
