"""One finding of the doctor: how bad it is, what was found, what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad a finding is; only `BROKEN` makes the doctor's exit code 1."""

    OK = 'ok'
    INFO = 'info'
    WARN = 'warn'
    BROKEN = 'broken'


@dataclass(frozen=True)
class Finding:
    """
    Something that was looked at.

    :ivar subject: What was looked at, in a word or two.
    :ivar found: What is there, with numbers and units.
    :ivar remedy: What to do; empty where nothing needs doing.
    """

    level: Level
    subject: str
    found: str
    remedy: str = ''

    def __post_init__(self) -> None:
        if self.level in (Level.WARN, Level.BROKEN) and not self.remedy:
            raise ValueError(f'finding {self.subject!r} names no remedy')
