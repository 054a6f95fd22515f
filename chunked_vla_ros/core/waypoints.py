"""
Where a demonstration is heading: the row of its next turning point.

A turning point is where a gripper (any binary joint) is told to switch, as grasping and letting go
are what the motion before them is for; after the last one it is the episode's end. Known in
hindsight from any demonstration (keyframe discovery, James and Davison 2022). Knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import DimKind


class Headings(NamedTuple):
    """
    Where each of R rows is heading.

    :ivar rows: (R,) of `waypoint_rows`.
    :ivar begun: (R,) of `just_begun`.
    """

    rows: NDArray[np.int64]
    begun: NDArray[np.bool_]


def waypoint_rows(action: NDArray[np.floating], starts: NDArray[np.int64],
                  lengths: NDArray[np.int64], dim_kinds: Sequence[DimKind],
                  ) -> NDArray[np.int64]:
    """
    Return the row of the next turning point for each of R rows, (R,); its own where it turns.

    :param action: (R, J) commanded; a binary joint switches at the middle of its range.
    :param starts: (E,) first row of each episode.
    :param lengths: (E,) rows of each episode.
    """
    binary = np.array([kind is DimKind.BINARY for kind in dim_kinds])
    told = action[:, binary]
    middle = (told.min(axis=0) + told.max(axis=0)) / 2 if len(told) else 0.0
    high = told > middle
    turns = np.zeros(len(action), bool)
    turns[1:] = (high[1:] != high[:-1]).any(axis=1)
    rows = np.empty(len(action), np.int64)
    for first, length in zip(starts, lengths, strict=True):
        last = first + length - 1
        inside = np.flatnonzero(turns[first + 1:last]) + first + 1
        rows[first:last + 1] = np.append(inside, last)[
            np.searchsorted(inside, np.arange(first, last + 1))]
    return rows


def just_begun(waypoints: NDArray[np.int64], starts: NDArray[np.int64], rows: int,
               ) -> NDArray[np.bool_]:
    """
    Return where a motion has only begun, (R,): what follows must be seen, it cannot be felt yet.

    :param waypoints: (R,) of `waypoint_rows`.
    :param starts: (E,) first row of each episode.
    :param rows: So many after an episode's start, or after a turning point.
    """
    turns = np.flatnonzero(np.diff(waypoints)) + 1
    begins = np.unique(np.concatenate([starts, turns]))
    number = np.arange(len(waypoints))
    latest = begins[np.searchsorted(begins, number, side='right') - 1]
    fresh: NDArray[np.bool_] = number - latest < rows
    return fresh
