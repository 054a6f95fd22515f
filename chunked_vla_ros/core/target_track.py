"""
Where a person's target is going: position, velocity and acceleration out of successive targets.

Targets come in late by an amount that varies. The sender's stamps say how far apart they were
made, and the quickest of them how the sender's clock compares with ours. Knows no limits but the
speed beyond which a change is a step and not a motion.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.types import FloatArray, MotionState, NS_PER_S

# A longer pause between two targets is no motion: the next one starts afresh.
LONGEST_PAUSE_NS = 120_000_000
# The motion is fitted over so much of the past: less follows noise, more lags behind.
WINDOW_NS = 80_000_000
LEAST = 3
# Targets that are closer together say nothing of speed: the later one takes the other's place.
SHORTEST_STEP_NS = 500_000
WINDOW_S = WINDOW_NS / NS_PER_S
KEPT = 64
# How long an acceleration is believed to go on; nobody pulls evenly for longer.
FADING_S = 0.08
# Coasting without news: so many usual intervals, within bounds.
COASTING_INTERVALS = 2.5
COASTING_S = (0.03, 0.15)


@dataclass(frozen=True)
class TeleopTarget:
    """
    Where a person wants the arm.

    :ivar stamp_ns: When it was received, on the node clock.
    :ivar position: Shape (J,) in [rad].
    :ivar sent_ns: The sender's stamp on any clock; 0: it does not stamp.
    """

    stamp_ns: int
    position: FloatArray
    sent_ns: int = 0


@dataclass(frozen=True)
class Heading:
    """
    A motion that goes on with its speed, while its acceleration fades.

    :ivar at_ns: When ``state`` was so, on the node clock.
    :ivar coasting_s: How long it is worth following without news in [s].
    """

    at_ns: int
    state: MotionState
    coasting_s: float

    def after(self, t_s: FloatArray | float) -> MotionState:
        """Return the state ``t_s`` [s] later; of shape (J,) or what it is broadcast to."""
        now = self.state
        left = np.exp(-np.asarray(t_s, dtype=np.float64) / FADING_S)
        gained = FADING_S * (1.0 - left)
        return MotionState(
            now.position + now.velocity * t_s + now.acceleration * FADING_S * (t_s - gained),
            now.velocity + now.acceleration * gained, now.acceleration * left)


class TargetTrack:
    """Keep what is needed of the last targets; ``fastest`` (J,) is the top speed in [rad/s]."""

    def __init__(self, fastest: FloatArray) -> None:
        self._fastest = fastest
        self._kept: deque[TeleopTarget] = deque(maxlen=KEPT)

    @property
    def newest(self) -> TeleopTarget | None:
        """Return the target added last."""
        return self._kept[-1] if self._kept else None

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def add(self, target: TeleopTarget) -> None:
        """Take the next target; one that does not follow the others starts afresh."""
        last = self.newest
        if last is not None:
            stamped = (target.sent_ns != 0, last.sent_ns != 0)
            step_ns = _made_ns(target) - _made_ns(last)
            steps_ns = (step_ns, target.stamp_ns - last.stamp_ns)    # either clock may be set
            if stamped[0] != stamped[1] or not all(
                    0 <= one <= LONGEST_PAUSE_NS for one in steps_ns):
                self._kept.clear()
            elif step_ns < SHORTEST_STEP_NS:
                self._kept.pop()
        self._kept.append(target)

    def heading(self) -> Heading:
        """
        Return where the newest target is going.

        :raises IndexError: there is none.
        """
        newest = self._kept[-1]
        # The quickest message shows the difference of the clocks best.
        lead_ns = min(one.stamp_ns - _made_ns(one) for one in self._kept)
        made_ns = _made_ns(newest)
        recent = [one for place, one in enumerate(self._kept, LEAST - len(self._kept))
                  if place >= 0 or made_ns - _made_ns(one) <= WINDOW_NS]
        t_s = np.array([_made_ns(one) - made_ns for one in recent]) / NS_PER_S
        rows = np.array([one.position for one in recent])
        interval_s = -t_s[0] / max(len(t_s) - 1, 1)
        coasting_s = min(max(COASTING_INTERVALS * interval_s, COASTING_S[0]), COASTING_S[1])
        return Heading(made_ns + lead_ns, self._fit(t_s, rows), coasting_s)

    def _fit(self, t_s: FloatArray, rows: FloatArray) -> MotionState:
        """Return the newest state of the parabola (or line) through rows (N, J) at t_s (N,)."""
        newest = rows[-1]
        if len(rows) < 3:
            return MotionState.at_rest(newest)
        steps = np.abs(np.diff(rows, axis=0)) / np.diff(t_s)[:, None]
        order = min(len(rows) - 1, 3)
        # In units of the window and from the newest on, so that the numbers are near one.
        powers = np.vander(t_s / WINDOW_S, order, increasing=True)
        away = np.linalg.solve(powers.T @ powers, powers.T @ (rows - newest))
        found = away / WINDOW_S ** np.arange(order)[:, None]
        moving = (steps <= self._fastest).all(axis=0)
        bend = 2 * found[2] if order == 3 else np.zeros_like(newest)
        return MotionState(newest + np.where(moving, found[0], 0.0),
                           np.where(moving, found[1], 0.0), np.where(moving, bend, 0.0))


def _made_ns(target: TeleopTarget) -> int:
    return target.sent_ns or target.stamp_ns
