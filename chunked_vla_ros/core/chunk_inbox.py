"""
Chunks on their way to the control thread: bounded, newest first, every one of them booked.

Decides only the order; whether a chunk can be followed is the taker's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.types import ActionChunk

LENGTH = 8


class ChunkInbox:
    """Filled by any thread, served by one; when it is not served the oldest are dropped."""

    def __init__(self) -> None:
        self._waiting: deque[ActionChunk | ChunkRejected] = deque(maxlen=LENGTH)

    def put(self, offered: ActionChunk | ChunkRejected) -> None:
        """Add a chunk, or why a message could not become one."""
        self._waiting.append(offered)

    def clear(self) -> None:
        """Drop what waits."""
        self._waiting.clear()

    def serve(self, take: Callable[[ActionChunk], None],
              refuse: Callable[[ChunkRejected], None]) -> None:
        """
        Offer the newest first until ``take`` accepts one; ``refuse`` gets all others.

        So one call plans at most one motion that is followed, and a bad newest chunk does not
        displace a good one before it. An unforeseen error of ``take`` costs its chunk only.
        """
        taken = False
        while self._waiting:
            offered = self._waiting.pop()
            try:
                if isinstance(offered, ChunkRejected):
                    raise offered
                if taken:
                    raise ChunkRejected(Rejection.SUPERSEDED, f'chunk {offered.chunk_id}')
                take(offered)
                taken = True
            except ChunkRejected as error:
                refuse(error)
            except Exception as error:  # noqa: BLE001 - the motion under way goes on
                refuse(ChunkRejected(Rejection.INTERNAL, repr(error)))
