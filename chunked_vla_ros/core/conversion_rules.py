"""
How a recording becomes a dataset: the numbers that a person chooses, each described and bounded.

Decides nothing. Knows neither files nor robots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

from chunked_vla_ros.core.settings import parameter


class ConversionRefused(ValueError):
    """A recording cannot become episodes; the message is one line with the remedy."""


class Anchor(str, Enum):
    """Where the rows of an episode are."""

    STREAM = 'stream'    # from the first state on at which every stream is there, 1/fps apart
    STATE = 'state'      # at the stamps of the state, which are 1/fps apart: row by row


@dataclass(frozen=True)
class ConversionRules:
    """Settings of a conversion; each is an option of ``chunked-vla convert``."""

    fps: float | None = parameter(
        None, 'rows per second [Hz]; left out: the rate of the slowest camera, else 30',
        minimum=0.1, maximum=1000.0)
    anchor: str = parameter(
        Anchor.STREAM.value, 'stream: rows on a grid from the first state at which every stream '
        'is there; state: a row at every stamp of the state, which must be evenly spaced',
        choices=tuple(anchor.value for anchor in Anchor))
    gap_s: float = parameter(
        0.0, "largest age of a sample [s] in place of the contract's tolerances; where there is "
        'none so young the episode is split; 0: those of the contract', minimum=0.0, maximum=60.0)
    min_rows: int = parameter(
        2, 'parts of a recording with fewer rows are left out', minimum=1, maximum=1_000_000)
    cameras: tuple[str, ...] | None = parameter(
        None, 'cameras to take; left out: all of the contract')
    namespace: str = parameter('', 'of the recorded topics, as of a robot among several')
    action_topic: str = parameter(
        '', 'where the action comes from; left out: the best source that was recorded')
    task: str = parameter('', 'instruction in place of what was recorded')
    include_failures: bool = parameter(True, 'also convert episodes that failed')
    include_broken: bool = parameter(
        False, 'also convert what its recorder judged to be broken')
    allow_damaged: bool = parameter(
        False, 'take what can still be read of a damaged or unfinished bag')

    def __post_init__(self) -> None:
        # Those of a derived class, too.
        for spec in fields(self):
            value, low = getattr(self, spec.name), spec.metadata.get('min')
            high, choices = spec.metadata.get('max'), spec.metadata.get('choices')
            if low is not None and value is not None and not low <= value <= high:
                raise ConversionRefused(f'{spec.name} is {value}, expected {low:g} to {high:g}')
            if choices and value not in choices:
                raise ConversionRefused(
                    f'{spec.name} is {value!r}, expected {" or ".join(choices)}')
