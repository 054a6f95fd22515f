"""
Count what was lost on the way from the numbers that a publisher gives its messages.

A loss is seen when the next message arrives; what is lost after the last one is not. Two
publishers of one topic would look like losses. Time is an argument.
"""

from __future__ import annotations

from collections import deque

# Ten reports of 1 Hz show a loss before it is forgotten.
WINDOW_NS = 10_000_000_000
# What rmw says where the middleware does not number messages.
NOT_NUMBERED = 2**64 - 1


class LossMeter:
    """
    Compare each message's number with the one before.

    :ivar received: Messages that arrived.
    :ivar lost: Messages whose numbers were left out between two that arrived.
    """

    def __init__(self) -> None:
        self.received = self.lost = 0
        self._newest: int | None = None
        self._arrivals: deque[tuple[int, int]] = deque()

    @property
    def published(self) -> int:
        """Return how many messages were sent, the first and the last received included."""
        return self.received + self.lost

    @property
    def newest(self) -> int | None:
        """Return the last number heard, ``None`` before the first."""
        return self._newest

    def add(self, number: int, now_ns: int) -> int:
        """Count the message with the publisher's ``number``; return how many it shows lost."""
        missing = 0
        if number != NOT_NUMBERED:
            # A publisher that started anew counts from one again: its first one tells nothing.
            if self._newest is not None and number > self._newest:
                missing = number - self._newest - 1
            self._newest = number
        self.received += 1
        self.lost += missing
        self._arrivals.append((now_ns, missing))
        self._forget(now_ns)
        return missing

    def recent(self, now_ns: int) -> tuple[int, int]:
        """Return how many were lost, and how many were sent, in the window before ``now_ns``."""
        self._forget(now_ns)
        lost = sum(missing for _, missing in self._arrivals)
        return lost, lost + len(self._arrivals)

    def rejoin(self) -> None:
        """Begin with the next message: what was sent between two subscriptions is not lost."""
        self._newest = None

    def reset_counts(self) -> None:
        """Count from zero, but keep the place in the publisher's numbers."""
        self.received = self.lost = 0
        self._arrivals.clear()

    def _forget(self, now_ns: int) -> None:
        # An arrival later than now is from before the clock was set back.
        while self._arrivals and not now_ns - WINDOW_NS < self._arrivals[0][0] <= now_ns:
            self._arrivals.popleft()
