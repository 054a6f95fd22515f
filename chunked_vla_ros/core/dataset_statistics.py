"""
What a dataset says of its columns: smallest, largest, mean, spread, quantiles, as LeRobot does.

Of each episode exactly; of the whole dataset by putting episodes together one after another, as
LeRobot does, so that memory does not grow with them. Knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import FloatArray, ImageArray

QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}
EXTREMES = ('min', 'max')
MOMENTS = ('mean', 'std')
STATISTICS = (*EXTREMES, *MOMENTS, 'count', *QUANTILES)
CHANNELS, LEVELS = 3, 256
# Frames that are looked at: all of few, some of many; of large ones every n-th pixel.
FEWEST_FRAMES, MOST_FRAMES, SAMPLE_POWER = 100, 10_000, 0.75
LARGEST_WHOLE, SAMPLED_SIZE = 300, 150

Statistics = Mapping[str, Any]


def column_statistics(values: NDArray[Any]) -> dict[str, Any]:
    """
    Return the statistics of a column of shape (N,) or (N, D): lists of 1 or D numbers, by name.

    Smallest and largest of whole numbers stay whole.
    """
    rows = values.reshape(len(values), -1)
    whole = np.issubdtype(rows.dtype, np.integer)
    # Stamps need 61 bits and a float64 has 53: subtract before the conversion.
    base = rows.min(axis=0) if whole else np.zeros(rows.shape[1])
    since = (rows - base).astype(np.float64)
    origin = base.astype(np.float64)
    found: dict[str, Any] = {
        'min': rows.min(axis=0) if whole else since.min(axis=0),
        'max': rows.max(axis=0) if whole else since.max(axis=0),
        'mean': origin + since.mean(axis=0), 'std': since.std(axis=0),
        'count': np.array([len(rows)])}
    for name, share in QUANTILES.items():
        found[name] = origin + np.quantile(since, share, axis=0)
    return {name: found[name].tolist() for name in STATISTICS}


def sampled_rows(count: int) -> NDArray[np.int64]:
    """Return the rows, of ``count``, whose frames an episode's statistics look at."""
    wanted = max(min(FEWEST_FRAMES, count), min(int(count ** SAMPLE_POWER), MOST_FRAMES))
    return np.unique(np.round(np.linspace(0, count - 1, wanted)).astype(np.int64))


class FrameStatistics:
    """The statistics of a camera's frames, which pass by one after another, as shares of 255."""

    def __init__(self, count: int) -> None:
        """:param count: How many frames there will be."""
        self._wanted = set(sampled_rows(count).tolist())
        self._histogram = np.zeros((CHANNELS, LEVELS), np.int64)
        self._row, self._seen = 0, 0

    def see(self, frame: ImageArray) -> None:
        """Take the next frame into account, RGB (H, W, 3)."""
        if self._row in self._wanted:
            height, width, _ = frame.shape
            larger = max(height, width)
            step = 1 if larger < LARGEST_WHOLE else max(1, larger // SAMPLED_SIZE)
            small = frame[::step, ::step]
            for channel in range(CHANNELS):
                self._histogram[channel] += np.bincount(
                    small[..., channel].ravel(), minlength=LEVELS)
            self._seen += 1
        self._row += 1

    def result(self) -> dict[str, Any]:
        """Return the statistics, each of shape (3, 1, 1), and the number of frames looked at."""
        levels = np.arange(LEVELS) / (LEVELS - 1)
        share = self._histogram / self._histogram.sum(axis=1, keepdims=True)
        mean = share @ levels
        found = {'min': levels[(self._histogram > 0).argmax(axis=1)],
                 'max': levels[LEVELS - 1 - (self._histogram[:, ::-1] > 0).argmax(axis=1)],
                 'mean': mean, 'std': np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0))}
        below = share.cumsum(axis=1)
        for name, part in QUANTILES.items():
            found[name] = levels[(below >= part - 1e-12).argmax(axis=1)]
        shaped = {name: values.reshape(CHANNELS, 1, 1).tolist() for name, values in found.items()}
        return {name: [self._seen] if name == 'count' else shaped[name] for name in STATISTICS}


class RunningStatistics:
    """
    The statistics of a whole dataset out of those of its episodes, one feature.

    Mean and spread are exact; quantiles are means of the episodes' weighted by their length, which
    is LeRobot's way and not exact.
    """

    def __init__(self) -> None:
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._extremes: dict[str, NDArray[Any]] = {}
        self._mean: FloatArray = np.zeros(0)
        self._squares: FloatArray = np.zeros(0)
        self._quantiles: dict[str, FloatArray] = {}

    def add(self, statistics: Statistics) -> None:
        """Take another episode's in; a statistic that it lacks is left out of the result."""
        count = int(np.ravel(statistics['count'])[0])
        mean = np.asarray(statistics['mean'], np.float64)
        variance = np.asarray(statistics['std'], np.float64) ** 2
        quantiles = {name: np.asarray(statistics[name], np.float64) for name in QUANTILES
                     if statistics.get(name) is not None}
        extremes = {name: _numbers(statistics[name]) for name in EXTREMES}
        if not self._count:
            self._count, self._mean, self._squares = count, mean, variance * count
            self._extremes, self._quantiles = extremes, quantiles
            return
        total = self._count + count
        apart = mean - self._mean
        self._squares += variance * count + apart**2 * (self._count * count / total)
        self._mean += apart * (count / total)
        self._quantiles = {
            name: self._quantiles[name] + (quantiles[name] - self._quantiles[name]) * count / total
            for name in self._quantiles if name in quantiles}
        self._extremes = {'min': np.minimum(self._extremes['min'], extremes['min']),
                          'max': np.maximum(self._extremes['max'], extremes['max'])}
        self._count = total

    def result(self) -> dict[str, Any]:
        """Return the statistics so far, as lists."""
        found: dict[str, Any] = {
            **self._extremes, 'mean': self._mean, 'std': np.sqrt(self._squares / self._count),
            'count': np.array([self._count]), **self._quantiles}
        return {name: found[name].tolist() for name in STATISTICS if name in found}


def _numbers(values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    return array.astype(np.int64) if array.dtype == np.bool_ else array
