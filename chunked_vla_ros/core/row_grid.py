"""
When the rows of a dataset are: start + k / fps, exact to the nanosecond however long it lasts.

Knows no streams.
"""

from __future__ import annotations

from fractions import Fraction

from chunked_vla_ros.core.types import NS_PER_S


class RowGrid:
    """
    The times of rows 0, 1, 2 ...

    :ivar start_ns: Time of row 0 in [ns].
    :ivar step_ns: From row to row in [ns], rounded.
    """

    def __init__(self, start_ns: int, fps: float) -> None:
        self.start_ns = start_ns
        # As it is written: 29.97 means 2997/100, not the double beside it.
        self._step = NS_PER_S / Fraction(str(fps))
        self.step_ns = round(self._step)

    def time_ns(self, row: int) -> int:
        """Return when ``row`` is."""
        return self.start_ns + round(row * self._step)

    def nearest(self, time_ns: int) -> int:
        """Return the row that is nearest to ``time_ns``."""
        return round((time_ns - self.start_ns) / self._step)

    def from_time(self, time_ns: int) -> int:
        """Return the first row that is not before ``time_ns``."""
        row = int((time_ns - self.start_ns) // self._step)
        while self.time_ns(row) < time_ns:
            row += 1
        return row
