"""
The clock that motion runs on: steady, and never ahead of what the control loop has served.

Due times are dated on the node clock, which a time server may set. Motion advances with the
steady clock instead, at most `MAX_PERIODS` periods per tick: after a stall the arm continues where
it was rather than leaping to where it should have been; the next chunk takes the lag back.
"""

from __future__ import annotations

from enum import Enum

MAX_PERIODS = 4
CLOCK_JUMP_NS = 50_000_000


class Tick(Enum):
    """What happened to time since the last tick."""

    NORMAL = 'normal'
    LATE = 'late'                # more than one period late
    CLOCK_JUMP = 'clock jump'    # the node clock was set


class MotionClock:
    """Map node time to motion time; all values in integer [ns]."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._last: tuple[int, int] | None = None    # node time, steady time
        self.now_ns = 0
        self.step_ns = 0

    def advance(self, node_ns: int, steady_ns: int) -> Tick:
        """Advance to the tick that happens now and say what it was."""
        last, self._last = self._last, (node_ns, steady_ns)
        if last is None:
            self.now_ns, self.step_ns = node_ns, 0
            return Tick.NORMAL
        elapsed_ns = steady_ns - last[1]
        self.step_ns = min(max(elapsed_ns, 0), MAX_PERIODS * self._period_ns)
        self.now_ns += self.step_ns
        if elapsed_ns < 0 or abs((node_ns - last[0]) - elapsed_ns) > CLOCK_JUMP_NS:
            return Tick.CLOCK_JUMP
        return Tick.LATE if elapsed_ns > 2 * self._period_ns else Tick.NORMAL
