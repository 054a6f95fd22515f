"""
The emergency stop's input: a press counts even if it is released before the next tick.

One thread sets it, another consumes it; neither waits. What a press does is the executor's part.
"""

from __future__ import annotations

from collections import deque

REMEMBERED = 16


class EmergencyStop:
    """Remember whether the stop is pressed, and presses that nobody has seen yet."""

    def __init__(self) -> None:
        self.reason = ''
        self._presses: deque[str] = deque(maxlen=REMEMBERED)

    def set(self, reason: str) -> None:
        """Press with a reason, or release with the empty string."""
        self.reason = reason
        if reason:
            self._presses.append(reason)

    def consume(self) -> str:
        """Return why the arm must stop now, or the empty string; a press is told at least once."""
        unseen = ''
        while self._presses:
            unseen = self._presses.popleft()
        return self.reason or unseen
