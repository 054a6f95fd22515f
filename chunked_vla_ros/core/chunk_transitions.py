"""
What a chunk of actions earned and where it led: the data of a critic over action chunks.

The one home of the discount: whoever uses `Chunks` multiplies rewards or values by nothing more.
Legend: R rows, E episodes, N chunks, B of them asked for, h points of a chunk. Row numbers count
the rows of all episodes one after another. Knows no observation, no action and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]


class EndRule(Enum):
    """
    What becomes of a chunk that meets the end of its episode.

    SAFE: it keeps the rewards up to there; nothing is bootstrapped after a termination, and after
    a truncation with the discount of the steps that were taken.
    PUBLISHED: as Q-chunking's released code has it: the critic does not learn from it at all.
    """

    SAFE = 'safe'
    PUBLISHED = 'published'


@dataclass(frozen=True)
class Trajectories:
    """
    Rewards and ends of E episodes.

    A step begins at a row and leads to the next row of its episode. The last row of an episode
    begins one only if it is ``terminated``; otherwise the episode was cut off there, and its last
    row is no more than the observation that it was left at.

    :ivar rewards: Shape (R,), of the step that begins at a row.
    :ivar terminated: Shape (R,), whether that step ends the task, so that nothing after it counts.
        May be true in the middle of an episode whose robot went on.
    :ivar succeeded: Shape (R,), whether that end is a success; ``None``: every end is one.
    :ivar starts: Shape (E,), first row of each episode, ascending. Rows that lie in no episode
        are left out.
    :ivar lengths: Shape (E,) in rows.
    :raises ValueError: they do not fit together, or a reward is not finite.
    """

    rewards: Float32Array
    terminated: BoolArray
    starts: IntArray
    lengths: IntArray
    succeeded: BoolArray | None = None

    def __post_init__(self) -> None:
        for name, kind in (('rewards', np.float32), ('terminated', np.bool_),
                           ('succeeded', np.bool_), ('starts', np.int64), ('lengths', np.int64)):
            if getattr(self, name) is None:
                continue
            given = np.asarray(getattr(self, name))
            if given.ndim != 1:
                raise ValueError(f'{name} has shape {given.shape}, expected one dimension')
            with np.errstate(over='ignore', invalid='ignore'):    # told below, by row
                array = given.astype(kind)
            if name != 'rewards' and not np.array_equal(array, given):
                raise ValueError(f'{name} are {given.dtype}, expected {array.dtype}')
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        rows = len(self.rewards)
        for ends in (self.terminated, self.succeeded):
            if ends is not None and len(ends) != rows:
                raise ValueError(f'there are {rows} rewards and {len(ends)} ends, expected one of '
                                 'each for every row')
        bad = np.flatnonzero(~np.isfinite(self.rewards))
        if len(bad):
            raise ValueError(f'the reward of row {bad[0]} is {self.rewards[bad[0]]}, expected a '
                             'finite number')
        if len(self.starts) != len(self.lengths) or not len(self.starts):
            raise ValueError(f'there are {len(self.starts)} starts and {len(self.lengths)} '
                             'lengths, expected one of each for every episode')
        _check_places(self.starts, self.lengths, rows)

    @property
    def last_rows(self) -> IntArray:
        """Return the last row of each episode, (E,)."""
        found: IntArray = self.starts + self.lengths - 1
        return found

    @property
    def steps(self) -> IntArray:
        """Return how many steps each episode has, (E,), those after a termination included."""
        found: IntArray = self.lengths - 1 + self.terminated[self.last_rows]
        return found

    def only(self, episodes: Sequence[int] | IntArray) -> Trajectories:
        """Return these with only some of their episodes; rows keep their numbers."""
        chosen = np.sort(np.asarray(episodes, np.int64))
        return replace(self, starts=self.starts[chosen], lengths=self.lengths[chosen])


@dataclass(frozen=True)
class Chunks:
    """
    What a critic learns from B chunks; column i is about the prefix of i + 1 points.

    :ivar rows: Shape (B,), row of the observation.
    :ivar action_rows: Shape (B, h), row of each action; where no step begins any more, that of
        the last step is repeated.
    :ivar valid: Shape (B, h), whether a step begins there; by the safe rule, before a termination.
    :ivar returns: Shape (B, h), discounted rewards of the steps of a prefix.
    :ivar next_rows: Shape (B, h), row that a prefix leads to; the last that there is after an end.
    :ivar bootstrap: Shape (B, h), what the value at ``next_rows`` counts: a power of the discount,
        0 after a termination.
    :ivar counted: Shape (B, h), whether the critic learns from a prefix.
    """

    rows: IntArray
    action_rows: IntArray
    valid: BoolArray
    returns: Float32Array
    next_rows: IntArray
    bootstrap: Float32Array
    counted: BoolArray


class ChunkTransitions:
    """
    Chunks of ``horizon`` points at every row at which a step begins.

    Point k is ``stride * k`` rows after the observation. A step then lasts ``stride`` rows and
    earns the sum of their rewards; the last one before an end may be shorter and counts as one.

    :param discount: Of one step, in (0, 1].
    :param success_repeats: How often a chunk is listed that reaches a success, whatever that
        earns: CO-RFT's reward upsampling (Huang et al. 2025, arXiv 2508.02219).
    :raises ValueError: one line that names the value and what would do.
    """

    def __init__(self, trajectories: Trajectories, horizon: int, discount: float,
                 rule: EndRule = EndRule.SAFE, stride: int = 1, success_repeats: int = 1) -> None:
        for name, value in (('horizon', horizon), ('stride', stride),
                            ('success_repeats', success_repeats)):
            if value < 1:
                raise ValueError(f'{name} is {value}, expected 1 or more')
        if not 0.0 < discount <= 1.0:
            raise ValueError(f'discount is {discount:g}, expected more than 0 and at most 1')
        self.trajectories, self.rule = trajectories, rule
        self.horizon, self.stride, self.discount = horizon, stride, discount
        self._episodes = _EpisodeEnds(trajectories)
        ends = self._episodes
        self._limits = ends.first_stops if rule is EndRule.SAFE else ends.step_limits
        self._rewards, self._ended = _steps(trajectories, self._limits, stride)
        self._furthest = np.minimum(self._limits, ends.last_rows)
        self._powers = discount ** np.arange(horizon + 1)
        rows = self._starting_rows()
        repeats = np.where(self._reach_success(rows), success_repeats, 1)
        self._rows: IntArray = np.repeat(rows, repeats)
        self._rows.setflags(write=False)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> IntArray:
        """Return the row of each chunk's observation, (N,), ascending, repeats side by side."""
        return self._rows

    def at(self, which: npt.ArrayLike) -> Chunks:
        """Return the chunks of numbers ``which`` (B,), among those of `rows`."""
        rows = self._rows[np.asarray(which, np.int64)]
        limits, furthest = self._limits[rows, None], self._furthest[rows, None]
        points = rows[:, None] + self.stride * np.arange(self.horizon)
        valid = points < limits
        action_rows = np.minimum(points, limits - 1)
        earned = np.where(valid, self._rewards[action_rows], 0.0)
        over = np.logical_or.accumulate(valid & self._ended[action_rows], axis=1)
        safe = self.rule is EndRule.SAFE
        taken = np.cumsum(valid, axis=1) if safe else np.arange(1, self.horizon + 1)
        return Chunks(
            rows=rows, action_rows=action_rows, valid=valid,
            returns=np.cumsum(earned * self._powers[:-1], axis=1).astype(np.float32),
            next_rows=np.minimum(points + self.stride, furthest),
            bootstrap=np.where(over, 0.0, self._powers[taken]).astype(np.float32),
            counted=np.ones_like(valid) if safe else valid)

    @property
    def paid_once(self) -> bool:
        """
        Return whether whatever is earned is at most 1 and ends the task: no value leaves 0..1.

        It is not enough that no return does: where a task goes on after a reward, another policy
        may earn it again.
        """
        of, rows = self.trajectories, np.arange(len(self._limits))
        # By the published rule what comes after an end is summed as well.
        ends = of.terminated & (self._limits == rows + 1)
        fit = (of.rewards == 0.0) | (ends & (of.rewards > 0.0) & (of.rewards <= 1.0))
        return bool(fit[rows < self._episodes.step_limits].all())

    def returns_to_go(self) -> Float32Array:
        """
        Return the discounted rewards from each row to the first termination or the end, (R,).

        Where an episode was cut off nothing is added for what would have followed. 0 at a row at
        which no step begins.
        """
        rewards, ended = _steps(self.trajectories, self._episodes.first_stops, self.stride)
        stops = self._episodes.first_stops
        found = np.zeros(len(rewards) + self.stride)
        starts, lengths = self.trajectories.starts, self.trajectories.lengths
        for offset in range(int(lengths.max()) - 1, -1, -1):
            rows = starts[lengths > offset] + offset
            rows = rows[rows < stops[rows]]
            onward = ~ended[rows] & (rows + self.stride < stops[rows])
            found[rows] = rewards[rows] + np.where(
                onward, self.discount * found[rows + self.stride], 0.0)
        return found[:len(rewards)].astype(np.float32)

    def _starting_rows(self) -> IntArray:
        """
        Return every row at which a step begins.

        :raises ValueError: there is none, or by the published rule none for the critic.
        """
        steps = self.trajectories.steps
        longest = int(steps.max())
        if not longest:
            raise ValueError(f'none of {len(steps)} episodes has a step, expected 2 rows or more')
        rows = np.flatnonzero(np.arange(len(self._limits)) < self._limits)
        if self.rule is EndRule.SAFE:
            return rows.astype(np.int64)
        span = (self.horizon - 1) * self.stride + 1
        if longest < span:
            raise ValueError(
                f'horizon {self.horizon} at stride {self.stride} spans {span} steps and the '
                f'longest episode has {longest}: the published rule would drop every chunk, '
                'shorten the horizon or take the safe rule')
        # At the last steps of all no whole window fits; at others it may cross an end.
        return rows[:len(rows) - span + 1].astype(np.int64)

    def _reach_success(self, rows: IntArray) -> BoolArray:
        of, last = self.trajectories, self._episodes.first_stops[rows] - 1
        good = of.terminated if of.succeeded is None else of.terminated & of.succeeded
        reached: BoolArray = good[last] & (last < rows + self.stride * self.horizon)
        return reached


class _EpisodeEnds:
    """
    Where the steps of each row's episode end; 0 at rows that lie in no episode.

    :ivar last_rows: Shape (R,), last row of the episode.
    :ivar step_limits: Shape (R,), the first row after it at which no step of the episode begins.
    :ivar first_stops: Shape (R,), the same of the steps up to the first termination from the row.
    """

    def __init__(self, of: Trajectories) -> None:
        count = len(of.rewards)
        numbers = np.arange(count)
        inside = np.zeros(count, np.bool_)
        self.last_rows = np.zeros(count, np.int64)
        places = np.repeat(of.starts - (np.cumsum(of.lengths) - of.lengths), of.lengths)
        places += np.arange(len(places))
        inside[places] = True
        self.last_rows[places] = np.repeat(of.last_rows, of.lengths)
        self.step_limits = np.where(inside, self.last_rows + of.terminated[self.last_rows], 0)
        ends = np.where(of.terminated, numbers + 1, count + 1)
        next_ends = np.minimum.accumulate(ends[::-1])[::-1]
        self.first_stops = np.minimum(next_ends, self.step_limits)


def _steps(of: Trajectories, limits: IntArray,
           stride: int) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Return what the step of ``stride`` rows earns that begins at a row, and if it ends: (R,)."""
    numbers = np.arange(len(limits))
    rewards = of.rewards.astype(np.float64)
    sums, ended = np.zeros(len(limits)), np.zeros(len(limits), np.bool_)
    for offset in range(stride):
        rows = np.minimum(numbers + offset, len(limits) - 1)
        lasts = numbers + offset < limits
        sums += np.where(lasts, rewards[rows], 0.0)
        ended |= lasts & of.terminated[rows]
    return sums, ended


def _check_places(starts: IntArray, lengths: IntArray, rows: int) -> None:
    for index, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        if length < 1:
            raise ValueError(f'episode {index} has {length} rows, expected 1 or more')
        before = int(starts[index - 1] + lengths[index - 1]) if index else 0
        if start < before or start + length > rows:
            raise ValueError(
                f'episode {index} has rows {start} to {start + length - 1}, expected rows from '
                f'{before} to {rows - 1}')
