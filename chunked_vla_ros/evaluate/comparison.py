"""
Two policies on the same starts: who succeeds where the other fails, and who is quicker.

Pure: records in, numbers out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chunked_vla_ros.core.statistics import mcnemar_exact, Spread, spread, wilson_interval
from chunked_vla_ros.evaluate.episode import EpisodeRecord

Pairs = Sequence[tuple[EpisodeRecord, EpisodeRecord]]


@dataclass(frozen=True)
class Comparison:
    """
    The outcome per pair of episodes with one start.

    :ivar first: What the first of each pair was run by.
    :ivar second: The same of the second.
    :ivar both: Pairs in which both policies succeeded.
    :ivar cycle_difference: Second minus first, over the pairs that both solved, in [s].
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    cycle_difference: Spread | None

    @property
    def pairs(self) -> int:
        """Return how many pairs there are."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def p(self) -> float:
        """Return the two-sided p of McNemar's exact test."""
        return mcnemar_exact(self.only_first, self.only_second)

    @property
    def intervals_overlap(self) -> bool:
        """Return whether the two success rates agree within their intervals."""
        low, high = (wilson_interval(self.both + only, self.pairs)
                     for only in (self.only_first, self.only_second))
        return max(low[0], high[0]) <= min(low[1], high[1])

    def to_json(self) -> dict[str, Any]:
        """Return counts, p and the difference of cycle times."""
        return {
            'first': self.first, 'second': self.second, 'pairs': self.pairs,
            'both': self.both, 'only_first': self.only_first,
            'only_second': self.only_second, 'neither': self.neither, 'mcnemar_exact_p': self.p,
            'intervals_overlap': self.intervals_overlap,
            'cycle_time_difference_s':
                asdict(self.cycle_difference) if self.cycle_difference else None}


def compare(first: tuple[str, Sequence[EpisodeRecord]],
            second: tuple[str, Sequence[EpisodeRecord]]) -> Comparison:
    """
    Return the comparison of what two names stand for.

    :raises ValueError: if an episode of the one has no twin with the same start.
    """
    return compare_pairs(first[0], second[0], paired(first, second))


def paired(first: tuple[str, Sequence[EpisodeRecord]],
           second: tuple[str, Sequence[EpisodeRecord]]) -> Pairs:
    """
    Return each episode of the first with its twin from the same start, in the first's order.

    :raises ValueError: if an episode of the one has no twin with the same start.
    """
    twins = {_start(one): one for one in second[1]}
    if len(first[1]) != len(second[1]) or {_start(one) for one in first[1]} != set(twins):
        raise ValueError(f'{first[0]} and {second[0]} were not run from the same starts')
    return [(one, twins[_start(one)]) for one in first[1]]


def compare_pairs(first: str, second: str, pairs: Pairs) -> Comparison:
    """Return what ``pairs`` of episodes show of the two that the names stand for."""
    outcomes = [(one.success, other.success) for one, other in pairs]
    differences = [other.duration_s - one.duration_s
                   for one, other in pairs if one.success and other.success]
    return Comparison(
        first, second, outcomes.count((True, True)), outcomes.count((True, False)),
        outcomes.count((False, True)), outcomes.count((False, False)),
        spread(differences) if differences else None)


def _start(record: EpisodeRecord) -> tuple[int, str, str]:
    return record.seed, record.position_set, record.task
