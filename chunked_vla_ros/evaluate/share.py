"""A number of successes among a number of trials, with the interval that belongs to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chunked_vla_ros.core.statistics import wilson_interval


@dataclass(frozen=True)
class Share:
    """``k`` of ``n``, with Wilson's 95 % interval."""

    k: int
    n: int

    @property
    def rate(self) -> float | None:
        """Return the share, ``None`` of nothing."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return Wilson's 95 % interval, ``None`` of nothing."""
        return wilson_interval(self.k, self.n) if self.n else None

    def to_json(self) -> dict[str, Any]:
        """Return counts, rate and interval."""
        return {'k': self.k, 'n': self.n, 'rate': self.rate,
                'interval_95': list(self.interval) if self.interval else None}


def share(outcomes: Iterable[object]) -> Share:
    """Return how many of ``outcomes`` are true."""
    counted = [bool(outcome) for outcome in outcomes]
    return Share(sum(counted), len(counted))
