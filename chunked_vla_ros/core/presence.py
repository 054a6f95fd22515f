"""
When a stream was there: how many messages fell into each stretch of time, in bounded memory.

The range need not be known before: where it grows, neighbouring stretches are put together. Stamps
in [ns] on any clock. Knows neither messages nor how it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

BINS = 1024
FIRST_WIDTH_NS = 1_000_000


class Presence:
    """Counts over time in at most `BINS` stretches of one width."""

    def __init__(self) -> None:
        self._counts = [0] * BINS
        self._width_ns = FIRST_WIDTH_NS
        self._origin_ns: int | None = None

    def add(self, stamp_ns: int) -> None:
        """Count a message at ``stamp_ns``."""
        if self._origin_ns is None:
            self._origin_ns = stamp_ns
        place = (stamp_ns - self._origin_ns) // self._width_ns
        while not 0 <= place < BINS:
            self._widen(before=place < 0)
            place = (stamp_ns - self._origin_ns) // self._width_ns
        self._counts[place] += 1

    def columns(self, start_ns: int, end_ns: int, count: int) -> list[float]:
        """
        Return how many messages fall into each of ``count`` equal columns of a range.

        A stretch that lies in two columns is shared out between them. The last column holds
        ``end_ns`` itself.
        """
        found = [0.0] * count
        if self._origin_ns is None or count <= 0:
            return found
        column_ns = max(end_ns - start_ns + 1, 1) / count
        for place, messages in enumerate(self._counts):
            if messages:
                first = (self._origin_ns + place * self._width_ns - start_ns) / column_ns
                _share(found, messages, first, first + self._width_ns / column_ns)
        return found

    def _widen(self, before: bool) -> None:
        """Double the width; free the half that comes ``before`` what there is, or after it."""
        assert self._origin_ns is not None
        merged = [self._counts[i] + self._counts[i + 1] for i in range(0, BINS, 2)]
        free = [0] * (BINS - len(merged))
        if before:
            self._origin_ns -= BINS * self._width_ns
            self._counts = free + merged
        else:
            self._counts = merged + free
        self._width_ns *= 2


def _share(columns: list[float], messages: int, first: float, last: float) -> None:
    """Share ``messages`` out over the columns from ``first`` to ``last``, both fractions."""
    first, last = max(first, 0.0), min(last, float(len(columns)))
    if last <= first:
        # Outside of the range, or narrower than a float can tell.
        place = min(max(int(first), 0), len(columns) - 1)
        columns[place] += messages
        return
    for place in range(int(first), min(int(last) + 1, len(columns))):
        overlap = min(last, place + 1) - max(first, place)
        if overlap > 0.0:
            columns[place] += messages * overlap / (last - first)


def median_of_present(columns: Sequence[float]) -> float:
    """Return the median of the columns that are not empty; 0.0 where all are."""
    present = sorted(value for value in columns if value > 0.0)
    return present[len(present) // 2] if present else 0.0
