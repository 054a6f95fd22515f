"""
Intervals around what two arms differ by on the same starts: rates, their ratio, cycle times.

Of rates in closed form, as an interval drawn from the pairs has no width where none differ.
Numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

import numpy as np

from chunked_vla_ros.core.statistics import wilson_interval, Z_95
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.evaluate.comparison import Comparison

RESAMPLES = 10_000
# So many drawn numbers at once stay within a few megabytes, however many pairs there are.
DRAWN_AT_ONCE = 1_000_000

Interval = tuple[float, float]


def difference_interval(pairs: Comparison) -> Interval:
    """
    Return the 95 % interval of the second's success rate less the first's.

    Newcombe (Statistics in Medicine 17, 1998), method 10: Wilson's intervals of both rates, put
    together as the outcomes of the pairs go together.

    :raises ValueError: if there is no pair.
    """
    one, other = pairs.both + pairs.only_first, pairs.both + pairs.only_second
    low_1, high_1 = wilson_interval(one, pairs.pairs)
    low_2, high_2 = wilson_interval(other, pairs.pairs)
    rate_1, rate_2 = one / pairs.pairs, other / pairs.pairs
    going = _together(pairs)

    def reach(here: float, there: float) -> float:
        return math.sqrt(max(0.0, here * here - 2.0 * going * here * there + there * there))
    return (rate_2 - rate_1 - reach(rate_2 - low_2, high_1 - rate_1),
            rate_2 - rate_1 + reach(high_2 - rate_2, rate_1 - low_1))


def _together(pairs: Comparison) -> float:
    """Return the correlation of the two outcomes, with Newcombe's correction."""
    margins = ((pairs.both + pairs.only_first) * (pairs.only_second + pairs.neither)
               * (pairs.both + pairs.only_second) * (pairs.only_first + pairs.neither))
    if not margins:
        return 0.0
    product = pairs.both * pairs.neither - pairs.only_first * pairs.only_second
    if product > 0:
        return max(product - pairs.pairs / 2.0, 0.0) / math.sqrt(margins)
    return product / math.sqrt(margins)


def ratio_interval(pairs: Comparison) -> Interval | None:
    """
    Return the 95 % interval of the second's success rate over the first's.

    Bonett and Price (Journal of Educational and Behavioral Statistics 31, 2006): a ratio of two
    Wilson intervals, narrowed as the pairs allow. ``None`` if the first never succeeded.
    """
    one, other = pairs.both + pairs.only_first, pairs.both + pairs.only_second
    solved = pairs.both + pairs.only_first + pairs.only_second
    if not one:
        return None
    spread = math.sqrt((pairs.only_first + pairs.only_second + 2) / ((one + 1) * (other + 1)))
    apart = sum(math.sqrt((1.0 - (count + 1) / (solved + 2)) / (count + 1))
                for count in (one, other))
    z = Z_95 * spread / apart
    low_1, high_1 = wilson_interval(one, solved, z)
    low_2, high_2 = wilson_interval(other, solved, z)
    return low_2 / high_1, high_2 / low_1


def resampled_sums(strata: Sequence[FloatArray], seed: int) -> FloatArray:
    """
    Return the sums of resampled rows, shape (`RESAMPLES`, K), for a bootstrap.

    :param strata: (N, K) each, N differing: rows are drawn with replacement within each of them,
        as many as it has. With three seeds there are too few to draw seeds as well.
    """
    random = np.random.default_rng(seed)
    sums = np.zeros((RESAMPLES, strata[0].shape[1]))
    for stratum in strata:
        count = len(stratum)
        block = max(1, DRAWN_AT_ONCE // max(1, count))
        for start in range(0, RESAMPLES, block):
            part = sums[start:start + block]
            part += stratum[random.integers(count, size=(len(part), count))].sum(axis=1)
    return sums


def middle_95(values: FloatArray) -> Interval:
    """Return what 95 % of ``values`` lie within, as many of the others below as above."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
