"""Measure at what rate things arrive, over the last seconds. Time is an argument."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 2_000_000_000


class RateMeter:
    """Count arrivals in the window before now."""

    def __init__(self) -> None:
        self.total = 0
        self._arrivals: deque[int] = deque()
        self._since_ns: int | None = None

    def add(self, now_ns: int) -> None:
        """Count one arrival."""
        self.total += 1
        self._arrivals.append(now_ns)
        if self._since_ns is None or now_ns < self._since_ns:
            self._since_ns = now_ns
        self._forget(now_ns)

    def rate_hz(self, now_ns: int) -> float:
        """Return the mean rate over the window, or since the first arrival if that is later."""
        self._forget(now_ns)
        if self._since_ns is None:
            return 0.0
        span_ns = min(WINDOW_NS, max(now_ns - self._since_ns, WINDOW_NS // 20))
        return len(self._arrivals) * 1e9 / span_ns

    def _forget(self, now_ns: int) -> None:
        # An arrival later than now is from before the clock was set back.
        while self._arrivals and not now_ns - WINDOW_NS < self._arrivals[0] <= now_ns:
            self._arrivals.popleft()
