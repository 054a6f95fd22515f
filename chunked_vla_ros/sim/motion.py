"""
Build a joint motion out of segments that each begin and end at rest, within limits.

Every segment follows its path with the minimum-jerk time law, as slowly as its limits ask for.
Knows nothing about tasks, kinematics or MuJoCo.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.types import FloatArray

GRID_S = 0.01
# Peaks of the minimum-jerk law from 0 to 1 in unit time: velocity, acceleration, jerk.
PEAKS = (1.875, 10 / np.sqrt(3), 60.0)
SHORTEST_S = 0.1

Path = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Motion:
    """
    A motion on a fine time grid.

    :ivar positions: Shape (N, J) in [rad], one row every `GRID_S`.
    :ivar phases: Name and begin in [s] of each phase.
    """

    positions: FloatArray
    phases: tuple[tuple[str, float], ...]

    @property
    def duration_s(self) -> float:
        """Return when the motion has ended."""
        return (len(self.positions) - 1) * GRID_S

    def at(self, times_s: FloatArray, stepped: int) -> FloatArray:
        """
        Return positions (H, J) at ``times_s`` (H,); before and after, the ends hold.

        :param stepped: Column that switches instead of being interpolated.
        """
        last = len(self.positions) - 1
        place = np.clip(times_s / GRID_S, 0.0, last)
        low = np.minimum(np.floor(place + 1e-9).astype(int), last - 1)
        share = (place - low)[:, None]
        rows = self.positions[low] * (1 - share) + self.positions[low + 1] * share
        rows[:, stepped] = self.positions[low, stepped]
        return np.asarray(rows)

    def phase(self, time_s: float) -> str:
        """Return the name of the phase at ``time_s``."""
        index = bisect_right([begin for _, begin in self.phases], time_s)
        return self.phases[max(index - 1, 0)][0]


class MotionBuilder:
    """
    Append segments, then `build`.

    :param start: First position of the arm, shape (A,) in [rad].
    :param gripper: First target of the gripper in [rad].
    :param limits: Velocity, acceleration and jerk that no segment exceeds, shape (A,) each.
    """

    def __init__(self, start: FloatArray, gripper: float,
                 limits: tuple[FloatArray, FloatArray, FloatArray]) -> None:
        self._limits = limits
        self._rows = [np.append(start, gripper)]
        self._phases: list[tuple[str, float]] = []

    @property
    def end(self) -> FloatArray:
        """Return where the arm is after the segments so far, shape (A,)."""
        return self._rows[-1][:-1]

    def stop(self, velocity: FloatArray) -> None:
        """Come to rest from ``velocity`` (A,) at the start; acceleration begins and ends at 0."""
        _, acceleration, jerk = self._limits
        duration_s = max(SHORTEST_S, float(np.max(1.5 * np.abs(velocity) / acceleration)),
                         float(np.sqrt(np.max(6.0 * np.abs(velocity) / jerk))))
        s = _grid(duration_s)[:, None]
        duration_s = (len(s) - 1) * GRID_S      # the grid's, or the first velocity would be off
        self._append('stop', self.end + velocity * duration_s * (s - s**3 + s**4 / 2))

    def move(self, phase: str, goal: FloatArray) -> None:
        """Move every joint straight to ``goal`` (A,)."""
        start = self.end
        self.follow(phase, lambda s: start + s[:, None] * (goal - start))

    def follow(self, phase: str, path: Path) -> None:
        """Follow ``path``, which maps s in [0, 1], shape (N,), to positions (N, A)."""
        reach = np.abs(path(np.array([1.0])) - path(np.array([0.0])))[0]
        duration_s = max(SHORTEST_S, *(
            float(np.max((peak * reach / limit) ** (1 / order)))
            for order, (peak, limit) in enumerate(zip(PEAKS, self._limits, strict=True), 1)))
        rows = _timed(path, duration_s)
        # A curved path has its peaks elsewhere than a straight one.
        while (excess := self._excess(rows)) > 1.0:
            duration_s = max(excess * duration_s, duration_s + GRID_S)
            rows = _timed(path, duration_s)
        self._append(phase, rows)

    def wait(self, phase: str, duration_s: float, gripper: float) -> None:
        """Stand still while the gripper goes to ``gripper``."""
        self._rows.append(np.append(self.end, gripper))
        self._append(phase, np.repeat(self.end[None], round(duration_s / GRID_S), axis=0))

    def build(self) -> Motion:
        """Return the motion."""
        return Motion(np.array(self._rows), tuple(self._phases))

    def _append(self, phase: str, rows: FloatArray) -> None:
        """Append rows whose first one is where the motion already is."""
        self._phases.append((phase, (len(self._rows) - 1) * GRID_S))
        gripper = self._rows[-1][-1]
        self._rows.extend(np.append(row, gripper) for row in rows[1:])

    def _excess(self, rows: FloatArray) -> float:
        """Return the factor by which ``rows`` would have to take longer to keep the limits."""
        padded = np.concatenate([rows[:1].repeat(3, 0), rows, rows[-1:].repeat(3, 0)])
        worst = 0.0
        for order, limit in enumerate(self._limits, 1):
            padded = np.diff(padded, axis=0) / GRID_S
            worst = max(worst, float((np.abs(padded) / limit).max()) ** (1 / order))
        return worst / 1.001


def _grid(duration_s: float) -> FloatArray:
    return np.linspace(0.0, 1.0, max(2, int(np.ceil(duration_s / GRID_S)) + 1))


def _timed(path: Path, duration_s: float) -> FloatArray:
    """Return ``path`` sampled on the grid under the minimum-jerk law."""
    s = _grid(duration_s)
    return path(s**3 * (10 + s * (6 * s - 15)))
