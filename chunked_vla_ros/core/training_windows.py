"""
Which rows of a dataset make a training example: an observation and the chunk that follows it.

Legend: N windows, B of them asked for, H points of a chunk. Row numbers count the rows of all
episodes one after another. Knows no array that the rows are read from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# A rate is a whole number of rows per step up to this share of a row: 29.97 Hz is 30 Hz.
RATE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Windows:
    """
    Examples: point k of example i is row ``rows[i] + k * stride``, unless its episode is over.

    :ivar rows: Shape (N,), the row of the observation; point 0 is this very row.
    :ivar ends: Shape (N,), the first row after the window's episode.
    :ivar stride: Rows from a point to the next.
    :ivar horizon: Points in a chunk, H.
    """

    rows: IntArray
    ends: IntArray
    stride: int
    horizon: int

    def __post_init__(self) -> None:
        for name in ('rows', 'ends'):
            array = np.array(getattr(self, name), np.int64)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.rows.ndim != 1 or self.rows.shape != self.ends.shape:
            raise ValueError(f'rows and ends have shapes {self.rows.shape} and {self.ends.shape}, '
                             'expected (N,) both')
        if (self.rows < 0).any() or (self.rows >= self.ends).any():
            raise ValueError('a window begins outside its episode')
        if self.stride < 1 or self.horizon < 1:
            raise ValueError(f'stride {self.stride} and horizon {self.horizon}, expected 1 or '
                             'more')

    def __len__(self) -> int:
        return len(self.rows)

    def action_rows(self, which: npt.ArrayLike) -> IntArray:
        """
        Return the rows of the chunks of windows ``which`` (B,): (B, H).

        Past the end of the episode its last row is repeated; `valid` tells where.
        """
        chosen = np.asarray(which, np.int64)
        wanted: IntArray = np.minimum(self._wanted(chosen), self.ends[chosen, None] - 1)
        return wanted

    def valid(self, which: npt.ArrayLike) -> BoolArray:
        """Return (B, H): ``False`` where a point of the windows ``which`` (B,) is past the end."""
        chosen = np.asarray(which, np.int64)
        inside: BoolArray = self._wanted(chosen) < self.ends[chosen, None]
        return inside

    def repeated(self, times: npt.ArrayLike) -> Windows:
        """Return each window as many ``times`` (N,) as is said, one after the other."""
        counts = np.asarray(times, np.int64)
        return Windows(np.repeat(self.rows, counts), np.repeat(self.ends, counts), self.stride,
                       self.horizon)

    def _wanted(self, chosen: IntArray) -> IntArray:
        wanted: IntArray = self.rows[chosen, None] + self.stride * np.arange(self.horizon)
        return wanted


def make_windows(episode_starts: npt.ArrayLike, episode_lengths: npt.ArrayLike, horizon: int,
                 stride: int) -> Windows:
    """
    Return one window for every row of the given episodes, in their order.

    :param episode_starts: Shape (E,), first row of each.
    :param episode_lengths: Shape (E,) in rows.
    :raises ValueError: an episode has no row, or ``horizon`` or ``stride`` is below 1.
    """
    starts, lengths = (np.asarray(values, np.int64).reshape(-1)
                       for values in (episode_starts, episode_lengths))
    if starts.shape != lengths.shape or (lengths < 1).any():
        raise ValueError('every episode needs a start and a length of 1 row or more')
    rows = [np.arange(start, start + length) for start, length in zip(starts, lengths,
                                                                      strict=True)]
    return Windows(np.concatenate(rows) if rows else np.zeros(0, np.int64),
                   np.repeat(starts + lengths, lengths), stride, horizon)


def stride_of(fps: float, step_s: float) -> int:
    """
    Return how many rows at ``fps`` [Hz] a step of ``step_s`` [s] is; 1 where ``fps`` is 0.

    A dataset without times has ``fps`` 0: each row is a step, however long it took.

    :raises ValueError: it is no whole number; the message names both and what would do.
    """
    if fps == 0.0:
        return 1
    exact = fps * step_s
    stride = round(exact)
    if stride < 1 or abs(exact - stride) > RATE_TOLERANCE * stride:
        nearest = max(1, stride) / fps
        raise ValueError(
            f'{fps:g} rows per second and step_s {step_s:g} s make {exact:.3g} rows per step, '
            f'expected a whole number: set step_s to {nearest:.6g}')
    return stride


def episode_of(rows: npt.ArrayLike, episode_starts: Sequence[int] | IntArray) -> IntArray:
    """Return the number of the episode that each of ``rows`` (B,) is in; starts ascend."""
    found: IntArray = np.searchsorted(episode_starts, np.asarray(rows, np.int64), 'right') - 1
    return found.astype(np.int64)
