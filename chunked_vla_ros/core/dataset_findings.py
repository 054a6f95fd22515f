"""
What is found in a dataset: a check's name, how grave, the value, its threshold and the remedy.

Words only; what is checked is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Grade(IntEnum):
    """How fit something is to train on; the gravest finding decides."""

    GOOD = 0        # nothing but notes
    SUSPECT = 1     # look at it before training
    BAD = 2         # it would teach something wrong, or cannot be read

    @property
    def word(self) -> str:
        """Return the grade as people and programs read it."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """
    One thing that was found.

    :ivar check: Name of the check, for programs.
    :ivar grade: GOOD: a note.
    :ivar text: What was found, one line without the remedy.
    :ivar value: What was measured, in ``unit``.
    :ivar threshold: What it was held against, in ``unit``.
    :ivar unit: '' for shares, ratios and counts.
    :ivar remedy: What to do about it.
    """

    check: str
    grade: Grade
    text: str
    value: float
    threshold: float
    unit: str
    remedy: str


def gravest(findings: Iterable[Finding]) -> Grade:
    """Return the grade that ``findings`` add up to."""
    return max((finding.grade for finding in findings), default=Grade.GOOD)
