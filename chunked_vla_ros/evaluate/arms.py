"""
Arms of an experiment over several seeds: what each achieved, and by how much more than another.

A cell is one seed of data and training; every arm of a cell met the same starts. Counts and pairs
of all cells are pooled, and each cell's own point stands beside. Intervals say what the starts
leave open, not what other seeds would have given. Records in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunked_vla_ros.core.statistics import percentile
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.evaluate.arms_intervals import (
    difference_interval,
    Interval,
    middle_95,
    ratio_interval,
    resampled_sums,
)
from chunked_vla_ros.evaluate.comparison import compare_pairs, Comparison, paired, Pairs
from chunked_vla_ros.evaluate.episode import EpisodeRecord
from chunked_vla_ros.evaluate.share import Share, share

# Of fewer, what is drawn again is too much alike: the interval is far too narrow, and that of two
# may have no width at all.
FEWEST_RESAMPLED = 10

# The episodes of one arm by cell.
ByCell = Mapping[str, Sequence[EpisodeRecord]]


@dataclass(frozen=True)
class Estimate:
    """
    A number of all cells together, its 95 % interval, and the same number of each cell.

    :ivar interval: ``None``: too few to tell.
    :ivar by_cell: ``None`` for a cell that has none.
    """

    value: float
    interval: Interval | None
    by_cell: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return number, interval and the cells' own numbers."""
        return {'value': self.value, 'interval_95': list(self.interval) if self.interval else None,
                'by_cell': dict(self.by_cell)}


@dataclass(frozen=True)
class ArmTotals:
    """
    What one arm achieved.

    :ivar cycle_median_s: Of the successes of all cells in [s]; ``None`` without a success.
    :ivar cycle_mean_s: Likewise their mean, its interval by bootstrap within the cells; of fewer
        than `FEWEST_RESAMPLED` successes there is none.
    """

    arm: str
    success: Share
    by_cell: Mapping[str, Share]
    cycle_median_s: float | None
    cycle_mean_s: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """Return every number."""
        return {
            'arm': self.arm, **self.success.to_json(),
            'by_cell': {cell: one.to_json() for cell, one in self.by_cell.items()},
            'cycle_time_median_s': self.cycle_median_s,
            'cycle_time_mean_s': self.cycle_mean_s.to_json() if self.cycle_mean_s else None}


@dataclass(frozen=True)
class ArmComparison:
    """
    One arm against a baseline on the same starts.

    :ivar pooled: Pairs of all cells; its first is the baseline, its second the arm.
    :ivar points: Arm's success rate less the baseline's in [percentage points].
    :ivar ratio: Arm's success rate over the baseline's; ``None`` if the baseline never succeeded.
    :ivar cycle_percent: By how much the arm's mean cycle time differs from the baseline's over
        the pairs that both solve, in [%]; negative is quicker, ``None`` if there is no such pair.
        Of fewer than `FEWEST_RESAMPLED` of them it has no interval.
    """

    pooled: Comparison
    points: Estimate
    ratio: Estimate | None
    cycle_percent: Estimate | None

    @property
    def baseline(self) -> str:
        """Return what the arm is compared with."""
        return self.pooled.first

    @property
    def arm(self) -> str:
        """Return which arm it is."""
        return self.pooled.second

    def to_json(self) -> dict[str, Any]:
        """Return every number."""
        return {'pairs': self.pooled.to_json(), 'points': self.points.to_json(),
                'ratio': self.ratio.to_json() if self.ratio else None,
                'cycle_time_percent':
                    self.cycle_percent.to_json() if self.cycle_percent else None}


@dataclass(frozen=True)
class Pooled:
    """
    Every arm of one condition on one set of positions.

    :ivar arms: The baselines first.
    :ivar comparisons: Every other arm by baseline.
    """

    title: str
    cells: tuple[str, ...]
    arms: tuple[ArmTotals, ...]
    comparisons: Mapping[str, tuple[ArmComparison, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return every number."""
        return {'title': self.title, 'cells': list(self.cells),
                'arms': [one.to_json() for one in self.arms],
                'comparisons': [one.to_json() for found in self.comparisons.values()
                                for one in found]}


def pool(title: str, runs: Mapping[str, ByCell], baselines: Sequence[str],
         seed: int = 0) -> Pooled:
    """
    Return totals of all arms, and each arm against each of the ``baselines`` that there are.

    :param runs: Episodes by arm and cell.
    :param seed: Of the bootstrap.
    :raises ValueError: if two arms were not run in the same cells from the same starts.
    """
    there = [name for name in dict.fromkeys(baselines) if name in runs]
    order = [*there, *(arm for arm in runs if arm not in there)]
    return Pooled(
        title, tuple(next(iter(runs.values()))),
        tuple(totals(arm, runs[arm], seed) for arm in order),
        {name: tuple(against((name, runs[name]), (arm, runs[arm]), seed)
                     for arm in order if arm != name) for name in there})


def totals(arm: str, runs: ByCell, seed: int = 0) -> ArmTotals:
    """
    Return what ``arm`` achieved in its ``runs``.

    :param seed: Of the bootstrap.
    """
    times = {cell: np.array([one.duration_s for one in episodes if one.success], np.float64)
             for cell, episodes in runs.items()}
    every = np.concatenate(list(times.values()))
    mean = None
    if every.size:
        strata = [one[:, None] for one in times.values() if one.size]
        mean = Estimate(
            float(every.mean()), _resampled(strata, seed, lambda sums: sums[:, 0] / every.size),
            {cell: float(one.mean()) if one.size else None for cell, one in times.items()})
    return ArmTotals(
        arm, share(one.success for episodes in runs.values() for one in episodes),
        {cell: share(one.success for one in episodes) for cell, episodes in runs.items()},
        percentile(every, 50) if every.size else None, mean)


def against(baseline: tuple[str, ByCell], arm: tuple[str, ByCell], seed: int = 0) -> ArmComparison:
    """
    Return what ``arm`` adds to ``baseline``; both are a name and episodes of the same cells.

    :param seed: Of the bootstrap.
    :raises ValueError: if the two were not run in the same cells from the same starts.
    """
    if set(baseline[1]) != set(arm[1]):
        raise ValueError(f'{baseline[0]} and {arm[0]} were not run in the same cells')
    pairs = {cell: paired((f'{baseline[0]} of {cell}', episodes),
                          (f'{arm[0]} of {cell}', arm[1][cell]))
             for cell, episodes in baseline[1].items()}
    pooled = compare_pairs(baseline[0], arm[0], [one for each in pairs.values() for one in each])
    of_cells = {cell: compare_pairs(baseline[0], arm[0], each) for cell, each in pairs.items()}
    low, high = difference_interval(pooled)
    ratio = _ratio(pooled)
    return ArmComparison(
        pooled,
        Estimate(_points(pooled), (100.0 * low, 100.0 * high),
                 {cell: _points(one) for cell, one in of_cells.items()}),
        None if ratio is None else Estimate(
            ratio, ratio_interval(pooled), {cell: _ratio(one) for cell, one in of_cells.items()}),
        _cycle_percent(pairs, seed))


def _points(pairs: Comparison) -> float:
    return 100.0 * (pairs.only_second - pairs.only_first) / pairs.pairs


def _ratio(pairs: Comparison) -> float | None:
    solved = pairs.both + pairs.only_first
    return (pairs.both + pairs.only_second) / solved if solved else None


def _cycle_percent(pairs: Mapping[str, Pairs], seed: int) -> Estimate | None:
    # A ratio of sums, not a mean of ratios: that would call two arms different which take
    # 5 s and 10 s, and then 10 s and 5 s.
    times = {cell: np.array([(one.duration_s, other.duration_s) for one, other in each
                             if one.success and other.success], np.float64).reshape(-1, 2)
             for cell, each in pairs.items()}
    sums = np.sum([one.sum(axis=0) for one in times.values()], axis=0)
    if not sums[0] > 0.0:
        return None
    return Estimate(
        float(_percent(sums[None])[0]),
        _resampled([one for one in times.values() if len(one)], seed, _percent),
        {cell: float(_percent(one.sum(axis=0)[None])[0]) if len(one) else None
         for cell, one in times.items()})


def _percent(sums: FloatArray) -> FloatArray:
    """Return by how much the second column is more than the first, (B, 2) to (B,), in [%]."""
    more: FloatArray = 100.0 * (sums[:, 1] / sums[:, 0] - 1.0)
    return more


def _resampled(strata: Sequence[FloatArray], seed: int,
               statistic: Callable[[FloatArray], FloatArray]) -> Interval | None:
    if sum(map(len, strata)) < FEWEST_RESAMPLED:
        return None
    return middle_95(statistic(resampled_sums(strata, seed)))
