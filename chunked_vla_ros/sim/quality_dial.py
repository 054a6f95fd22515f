"""
How well a demonstration is made, at any time of it: drawn from a seed, and nothing else.

Three things are bad about a bad demonstration: it is slow, its motion is off by a smooth noise
that the demonstrator does not notice, and now and then the gripper slips open or the arm wanders
off and comes back. How bad is drawn once per run (``mixed``) or anew every second or so
(``varying``). Knows no policy, no robot and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.sim.expert_noise import minimum_jerk, SmoothNoise

EVEN, MIXED, VARYING = 'even', 'mixed', 'varying'
QUALITIES = (EVEN, MIXED, VARYING)
# What qualities are drawn from: share of the full speed, and the standard deviation of the offset
# of a joint's target. What changes within a run evens out: its range is wider.
SPEEDS = {MIXED: (0.35, 1.0), VARYING: (0.15, 0.9)}
NOISES_RAD = {MIXED: (0.005, 0.055), VARYING: (0.005, 0.08)}
NOISE_BAND_HZ = 0.15, 0.6
# Of it the joints between the first and the last get so much: they move the tool up and down, and
# a demonstrator who presses the gripper into the table ends the demonstration.
INNER_SHARE = 0.5
# Within a run the quality lasts so long, then changes within BLEND_S.
SPELLS_S = 0.6, 1.6
BLEND_S = 0.5
SLIPS_PER_MINUTE, SLIPS_S = 12.0, (0.15, 0.4)
WANDERS_PER_MINUTE, WANDERS_S = 10.0, (1.0, 2.0)
# How far a wander takes the first joints at the most: aside, and up, never down to the table.
WANDER_ASIDE_RAD, WANDER_UP_RAD = 0.12, (0.03, 0.1)
# Drawn ahead for so long; what happens later is not disturbed by events any more.
LONGEST_S, GRID_S = 300.0, 0.01


@dataclass(frozen=True)
class Spells:
    """Events of one kind in a run: each ``begins_s`` and ``lasts_s``, shape (E,) in [s]."""

    begins_s: FloatArray
    lasts_s: FloatArray

    @staticmethod
    def draw(generator: np.random.Generator, per_minute: float,
             lasts_s: tuple[float, float]) -> Spells:
        """Return events that come at random and never two at once."""
        count = round(3 * per_minute * LONGEST_S / 60) + 1
        lasts = generator.uniform(*lasts_s, count)
        pauses = generator.exponential(60.0 / per_minute, count)
        begins = np.cumsum(pauses) + np.append(0.0, np.cumsum(lasts)[:-1])
        within = begins + lasts < LONGEST_S
        return Spells(begins[within], lasts[within])

    def shares(self, times_s: FloatArray) -> tuple[np.ndarray, FloatArray]:
        """Return for each of ``times_s`` (N,) its event, -1 for none, and how much is over."""
        number = np.searchsorted(self.begins_s, times_s, side='right') - 1
        known = np.maximum(number, 0)
        if not len(self.begins_s):
            return np.full(times_s.shape, -1), np.zeros(times_s.shape)
        share = (times_s - self.begins_s[known]) / self.lasts_s[known]
        outside = (number < 0) | (share >= 1.0)
        return np.where(outside, -1, number), np.where(outside, 0.0, share)


class QualityTrack:
    """
    How well one run is demonstrated, at any time of it.

    :param arm_joints: A, in the arm's order: the first turns it aside, the second lifts it.
    """

    def __init__(self, generator: np.random.Generator, kind: str, arm_joints: int) -> None:
        spells = 1 if kind == MIXED else round(LONGEST_S / SPELLS_S[0])
        self.speeds = generator.uniform(*SPEEDS[kind], spells)
        self.noises_rad = generator.uniform(*NOISES_RAD[kind], spells)
        self._changes_s = np.cumsum(generator.uniform(*SPELLS_S, spells))[:-1]
        self._noise = SmoothNoise(generator, arm_joints, 1.0, NOISE_BAND_HZ)
        self._shares = np.full(arm_joints, INNER_SHARE)
        self._shares[[0, -1]] = 1.0
        self.slips = Spells.draw(generator, SLIPS_PER_MINUTE, SLIPS_S)
        self.wanders = Spells.draw(generator, WANDERS_PER_MINUTE, WANDERS_S)
        self._sizes = np.zeros((len(self.wanders.begins_s) + 1, arm_joints))   # the last: none
        self._sizes[:-1, 0] = generator.uniform(
            -WANDER_ASIDE_RAD, WANDER_ASIDE_RAD, len(self._sizes) - 1)
        self._sizes[:-1, 1] = -generator.uniform(*WANDER_UP_RAD, len(self._sizes) - 1)
        self._grid_s: FloatArray = GRID_S * np.arange(
            round(LONGEST_S / GRID_S) + 1, dtype=np.float64)
        paces = self.pace(self._grid_s)
        self._own_s = np.append(0.0, np.cumsum((paces[1:] + paces[:-1]) * (GRID_S / 2)))

    def pace(self, times_s: FloatArray) -> FloatArray:
        """Return how fast the demonstrator's own time passes, 0 to 1, at ``times_s`` (N,)."""
        paces: FloatArray = self._level(self.speeds, times_s) * (1.0 - self._astray(times_s))
        return paces

    def own_time(self, times_s: FloatArray) -> FloatArray:
        """Return the demonstrator's own time at ``times_s`` (N,), 0 at 0, in [s]."""
        late = np.maximum(times_s - LONGEST_S, 0.0) * self.speeds[-1]
        return np.asarray(np.interp(times_s, self._grid_s, self._own_s) + late)

    def offset(self, times_s: FloatArray) -> FloatArray:
        """Return what is added to the arm's targets at ``times_s`` (N,), (N, A) in [rad]."""
        noise = (self._level(self.noises_rad, times_s)[:, None] * self._shares
                 * self._noise.at(times_s))
        number, _ = self.wanders.shares(times_s)
        return np.asarray(noise + self._astray(times_s)[:, None] * self._sizes[number])

    def slipping(self, times_s: FloatArray) -> np.ndarray:
        """Return whether the gripper opens by itself at ``times_s`` (N,)."""
        return np.asarray(self.slips.shares(times_s)[0] >= 0)

    def _level(self, levels: FloatArray, times_s: FloatArray) -> FloatArray:
        """Return what ``levels`` (one for each spell) are at ``times_s``, blended."""
        number = np.searchsorted(self._changes_s, times_s, side='right')
        before = np.maximum(number - 1, 0)
        if not len(self._changes_s):
            return np.full(times_s.shape, levels[0])
        share = minimum_jerk((times_s - self._changes_s[before]) / BLEND_S)
        share = np.where(number > 0, share, 1.0)
        return np.asarray(levels[before] + share * (levels[number] - levels[before]))

    def _astray(self, times_s: FloatArray) -> FloatArray:
        """Return how far out a wander is, 0 to 1 and back."""
        _, share = self.wanders.shares(times_s)
        return minimum_jerk(2.0 * np.minimum(share, 1.0 - share))
