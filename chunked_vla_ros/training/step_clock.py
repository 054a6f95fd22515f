"""
How fast a training is, and which share of its time it waits for data.

Validation and checkpoints do not count: only the steps themselves. The clock is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

# Steps over which the speed is taken: a mean that follows a change within seconds.
REMEMBERED = 50


class StepClock:
    """Told of the beginning and the end of each step."""

    def __init__(self, steps: int, now_s: Callable[[], float]) -> None:
        self._steps, self._now_s = steps, now_s
        # Of each step: how long it took, how much of that was waiting, its windows.
        self._took: deque[tuple[float, float, int]] = deque(maxlen=REMEMBERED)
        self._began = (0.0, 0.0)

    def begin(self, waited_s: float) -> None:
        """Begin a step; so far ``waited_s`` were spent waiting for data, in [s]."""
        self._began = (self._now_s(), waited_s)

    def end(self, waited_s: float, windows: int) -> None:
        """End the step that was begun; it learnt from so many ``windows``."""
        began_s, before_s = self._began
        self._took.append((self._now_s() - began_s, waited_s - before_s, windows))

    @property
    def samples_per_s(self) -> float:
        """Return windows learnt per second."""
        taken_s = sum(took for took, _, _ in self._took)
        return sum(windows for _, _, windows in self._took) / taken_s if taken_s > 0.0 else 0.0

    @property
    def wait_share(self) -> float:
        """Return which share of a step is spent waiting for data."""
        taken_s = sum(took for took, _, _ in self._took)
        return sum(waited for _, waited, _ in self._took) / taken_s if taken_s > 0.0 else 0.0

    def eta_s(self, done: int) -> float:
        """Return the time to the last step after ``done`` steps, in [s]."""
        return (self._steps - done) * self._mean_s

    @property
    def _mean_s(self) -> float:
        return sum(took for took, _, _ in self._took) / max(1, len(self._took))
