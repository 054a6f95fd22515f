"""
Summaries of measurements: percentiles, success rates and their difference, tracking errors.

Times are compared by their stamps and never aligned by search: a motion that lags shows its lag.
Knows nothing about where the numbers come from.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chunked_vla_ros.core.types import FloatArray, frozen_array, ShapeError

# Two-sided 95 % quantile of the normal distribution.
Z_95 = 1.959963984540054


def percentile(values: ArrayLike, percent: float) -> float:
    """
    Return the value below which ``percent`` [%] of ``values`` lie, linear between samples.

    :raises ValueError: if there are no values: "none measured" is not a number.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError('percentile of no values')
    return float(np.percentile(array, percent))


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """
    Return Wilson's score interval of a success rate; it stays honest at 0 and at ``trials``.

    :raises ValueError: unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f'expected 0 <= successes <= trials > 0, got {successes} of {trials}')
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """
    Return the two-sided p of McNemar's exact test on pairs of trials with equal starts.

    Pairs in which both succeeded or both failed say nothing about a difference; of the others,
    each would be as likely to favour the one as the other.

    :param only_first: Pairs in which only the first succeeded.
    :param only_second: Pairs in which only the second did.
    :raises ValueError: if a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f'expected counts, got {only_first} and {only_second}')
    differing = only_first + only_second
    tail, ways = 0, 1
    for k in range(min(only_first, only_second) + 1):
        tail, ways = tail + ways, ways * (differing - k) // (k + 1)
    # Of integers: of many pairs both overflow a float, their quotient does not.
    return min(1.0, 2 * tail / (1 << differing))


@dataclass(frozen=True)
class Spread:
    """Median and range of one quantity over ``count`` measurements, in the quantity's unit."""

    median: float
    low: float
    high: float
    count: int


def spread(values: ArrayLike) -> Spread:
    """
    Return median, smallest and largest of ``values``.

    :raises ValueError: if there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    return Spread(
        percentile(array, 50), percentile(array, 0), percentile(array, 100), array.size)


@dataclass(frozen=True)
class TrackingError:
    """
    How far a motion was from its reference at equal times.

    :ivar rms_rad: Root mean square over samples and joints in [rad].
    :ivar max_rad: Largest absolute error of any joint in [rad].
    :ivar joint_rms: Root mean square per joint in [rad], shape (J,).
    :ivar joint_max: Largest absolute error per joint in [rad], shape (J,).
    :ivar samples: How many samples lay within the reference's time span.
    """

    rms_rad: float
    max_rad: float
    joint_rms: FloatArray
    joint_max: FloatArray
    samples: int


def tracking_error(
        times_ns: NDArray[np.int64], motion: FloatArray,
        reference_times_ns: NDArray[np.int64], reference: FloatArray) -> TrackingError:
    """
    Compare ``motion`` (N, J) with ``reference`` (M, J) interpolated linearly at its stamps.

    Both in [rad], stamps in [ns] on one clock, the reference's in increasing order. Samples
    outside the reference's time span are left out, not extrapolated.

    :raises ShapeError: if the widths differ.
    :raises ValueError: if no sample lies within the reference's time span.
    """
    if motion.ndim != 2 or reference.ndim != 2 or motion.shape[1] != reference.shape[1]:
        raise ShapeError(
            f'expected (N, J) and (M, J) with equal J, got {motion.shape} and {reference.shape}')
    inside = (times_ns >= reference_times_ns[0]) & (times_ns <= reference_times_ns[-1])
    if not inside.any():
        raise ValueError('no sample lies within the time span of the reference')
    error = np.abs(motion[inside] - interpolate(reference_times_ns, reference, times_ns[inside]))
    joint_rms = np.sqrt(np.mean(error ** 2, axis=0))
    return TrackingError(
        rms_rad=float(np.sqrt(np.mean(error ** 2))), max_rad=float(error.max()),
        joint_rms=frozen_array(joint_rms, (None,), 'joint_rms'),
        joint_max=frozen_array(error.max(axis=0), (None,), 'joint_max'),
        samples=int(inside.sum()))


def interpolate(
        times_ns: NDArray[np.int64], values: FloatArray, at_ns: NDArray[np.int64]) -> FloatArray:
    """Return ``values`` (M, J) interpolated linearly at ``at_ns`` (N,), shape (N, J)."""
    # Stamps of today need 61 bits and a float64 has 53: subtract before the conversion.
    since = (times_ns - times_ns[0]).astype(np.float64)
    at = (at_ns - times_ns[0]).astype(np.float64)
    return np.stack([np.interp(at, since, column) for column in values.T], axis=1)
