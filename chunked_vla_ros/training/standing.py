"""
How far a training is: what its curves, its progress bar and its checkpoints are told.

Plain numbers; knows no network and no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import math
from typing import Any

Row = dict[str, float]


@dataclass(frozen=True)
class Standing:
    """
    How far a training is.

    :ivar step: Steps done.
    :ivar eta_s: Until the last step in [s], -1 while unknown.
    :ivar metrics: Numbers by name; empty before the first step.
    :ivar message: What is being done besides, '' if nothing.
    """

    step: int
    steps: int
    eta_s: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    message: str = ''


Tell = Callable[[Standing], None]


@dataclass
class History:
    """
    The curves so far: a row of numbers each, ``step`` among them.

    :ivar training: One row every ``log_every`` steps.
    :ivar validation: One row for each look at the episodes held out.
    """

    training: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the curves for JSON, each table by its columns."""
        return {'training': _columns(self.training), 'validation': _columns(self.validation)}

    @staticmethod
    def from_dict(said: Any) -> History:
        """
        Return the curves that `to_dict` described.

        :raises ValueError: it describes none.
        """
        try:
            return History(_rows(said['training']), _rows(said['validation']))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'no curves: {error}') from error


def _columns(rows: list[Row]) -> dict[str, list[float | None]]:
    # What is no number, such as a loss that became infinite, JSON can only leave out.
    # Nor does every phase of a training have the same numbers.
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row[name] if math.isfinite(row.get(name, math.nan)) else None for row in rows]
            for name in names}


def _rows(columns: dict[str, list[float | None]]) -> list[Row]:
    return [dict(zip(columns, map(_number, values), strict=True))
            for values in zip(*columns.values(), strict=True)]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
