"""
What the runs of the RL benchmark came to: points of their learning curves, and their times.

Plain values, ready for JSON. Knows no network and no environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class RunKey:
    """One run: ``method`` learns ``task`` with the random numbers of ``seed``."""

    task: str
    method: str
    seed: int

    @property
    def folder(self) -> str:
        """Return the name of its folder."""
        return f'{self.task}_{self.method}_seed{self.seed}'

    def __str__(self) -> str:
        return f'{self.task} {self.method} seed {self.seed}'


@dataclass(frozen=True)
class Point:
    """
    One evaluation.

    :ivar updates: Offline updates before it.
    :ivar online_steps: Steps in the environment before it.
    :ivar mean_steps: Mean length of the episodes that succeeded, ``None`` if none did.
    :ivar metrics: Of the last update before it.
    """

    updates: int
    online_steps: int
    successes: int
    episodes: int
    mean_steps: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Return the share of successes."""
        return self.successes / self.episodes


@dataclass(frozen=True)
class RunRecord:
    """
    How far a run is.

    :ivar learn_s: Wall time of its updates, batches and draws included.
    :ivar act_s: Wall time of its own episodes online.
    :ivar evaluate_s: Wall time of its evaluations.
    :ivar learned: Updates, offline and online.
    """

    key: RunKey
    points: tuple[Point, ...] = ()
    updates: int = 0
    online_steps: int = 0
    online_episodes: int = 0
    learned: int = 0
    learn_s: float = 0.0
    act_s: float = 0.0
    evaluate_s: float = 0.0
    finished: bool = False

    def with_point(self, point: Point) -> RunRecord:
        """Return it with one more evaluation."""
        return replace(self, points=(*self.points, point))

    @property
    def offline(self) -> Point | None:
        """Return the last evaluation of the offline phase."""
        return next((point for point in reversed(self.points)
                     if point.updates and not point.online_steps), None)

    @property
    def online(self) -> Point | None:
        """Return the last evaluation of the online phase."""
        return next((point for point in reversed(self.points) if point.online_steps), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def record_from_json(said: Mapping[str, Any]) -> RunRecord:
    """
    Return the record that `RunRecord.to_json` made ``said`` of.

    :raises ValueError: it is none.
    """
    names = {each.name for each in fields(RunRecord)}
    if not isinstance(said, Mapping) or set(said) != names:
        raise ValueError('is no record of a run')
    try:
        return RunRecord(**{**said, 'key': RunKey(**said['key']),
                            'points': tuple(Point(**point) for point in said['points'])})
    except (TypeError, AttributeError) as error:
        raise ValueError('is no record of a run') from error
