"""
Decide from free space and the rate of writing how long a recording can go on.

Knows no file system: free space and times are arguments.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
import math

from chunked_vla_ros.core.types import NS_PER_S

# The rate of writing is measured over so long: longer than a chunk, shorter than an episode.
WINDOW_NS = 5 * NS_PER_S
WARN_BELOW_S = 60.0
UNITS = ((1e9, 'GB'), (1e6, 'MB'), (1e3, 'kB'))


class DiskLevel(Enum):
    """Whether there is space."""

    OK = 'ok'
    WARN = 'warn'
    STOP = 'stop'


@dataclass(frozen=True)
class DiskReport:
    """
    How it stands with the disk.

    :ivar rate: Bytes per second written of late.
    :ivar left_s: Until the reserve is reached at this rate in [s]; inf where nothing is written.
    :ivar text: One line for people, with the remedy where one is needed.
    """

    level: DiskLevel
    free: int
    rate: float
    left_s: float
    text: str


class DiskGuard:
    """Watch one folder's disk."""

    def __init__(self, folder: str, reserve: int) -> None:
        """Keep ``reserve`` bytes of the disk that ``folder`` is on; the name is for people."""
        self._folder, self._reserve = folder, reserve
        self._seen: deque[tuple[int, int]] = deque()

    def restart(self) -> None:
        """Forget the rate: another recording begins, and its bytes count from zero."""
        self._seen.clear()

    def check(self, free: int, written: int, now_ns: int) -> DiskReport:
        """Judge ``free`` bytes at ``now_ns`` [ns], ``written`` bytes after the recording began."""
        rate = self._rate(written, now_ns)
        left_s = max(free - self._reserve, 0) / rate if rate > 0.0 else math.inf
        space = f'{size_text(free)} free on {self._folder}'
        if rate > 0.0:
            space = f'{left_s:.0f} s left at {size_text(rate)}/s, {space}'
        remedy = 'free space or choose another folder (parameter out)'
        if free <= self._reserve:
            return DiskReport(
                DiskLevel.STOP, free, rate, 0.0,
                f'{size_text(free)} free on {self._folder}, {size_text(self._reserve)} are kept '
                f'free (parameter min_free_mb): {remedy}')
        if left_s < WARN_BELOW_S:
            return DiskReport(DiskLevel.WARN, free, rate, left_s, f'{space}: {remedy}')
        return DiskReport(DiskLevel.OK, free, rate, left_s, space)

    def _rate(self, written: int, now_ns: int) -> float:
        """Return bytes per second over the window; 0.0 until there is something to compare."""
        seen = self._seen
        if seen and (now_ns < seen[-1][0] or written < seen[-1][1]):
            seen.clear()
        seen.append((now_ns, written))
        while len(seen) > 2 and seen[1][0] <= now_ns - WINDOW_NS:
            seen.popleft()
        span_ns = now_ns - seen[0][0]
        return (written - seen[0][1]) * NS_PER_S / span_ns if span_ns > 0 else 0.0


def size_text(size: float) -> str:
    """Return a number of bytes in words: three digits and a unit."""
    for scale, unit in UNITS:
        if size >= scale:
            value = size / scale
            return f'{value:.1f} {unit}' if value < 100.0 else f'{value:.0f} {unit}'
    return f'{size:.0f} B'
