"""
Whether data can support an improvement over imitating them: told before anything is trained.

Offline RL improves on demonstrations only where their rewards tell better from worse. Judges
counts, returns and lengths. Knows no file, no observation and no algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from chunked_vla_ros.core.chunk_transitions import Trajectories

# Of fewer, chance explains everything: n successes that all favour one way of doing it have the
# one-sided sign test's p of 0.5 ** n, which first falls below 0.05 at 5.
FEWEST_SUCCESSES = 5
# By how much of their median the faster half of the successes must be shorter. A gain below that
# does not show in 100 episodes: their mean length is only known to a few percent.
LEAST_SAVING = 0.05
# Names in a sentence.
NAMED = 3


class SupportVerdict(Enum):
    """What training on the rewards can be expected to improve."""

    SUCCESS_AND_SPEED = 'success and speed'
    SPEED = 'speed only'
    RETURN = 'recorded rewards only'
    NOTHING = 'nothing'


@dataclass(frozen=True)
class Support:
    """
    The judgement, for a terminal and for a report.

    :ivar reasons: Sentences of one line, the gravest first, each with its numbers and, where
        something can be done, the remedy.
    :ivar numbers: What was counted and measured, by name, in the order to show it in.
    """

    verdict: SupportVerdict
    reasons: tuple[str, ...]
    numbers: dict[str, float]

    @property
    def refused(self) -> bool:
        """Return whether imitation stays recommended."""
        return self.verdict is SupportVerdict.NOTHING

    @property
    def headline(self) -> str:
        """Return the judgement in one sentence."""
        if self.refused:
            return ('the data cannot support an improvement, imitation stays the recommended '
                    'policy')
        return f'the data can support an improvement of {self.verdict.value}'

    @property
    def line(self) -> str:
        """Return all of it in one line, as an error or a log has it."""
        return ': '.join([self.headline, '; '.join(self.reasons)] if self.reasons
                         else [self.headline])


def judge_support(trajectories: Trajectories, success: npt.ArrayLike, labelled: npt.ArrayLike,
                  horizon: int, stride: int = 1, names: Sequence[str] | None = None,
                  tasks: Sequence[str] | None = None) -> Support:
    """
    Return what the rewards of E episodes can improve.

    :param success: Shape (E,), whether an episode succeeded.
    :param labelled: Shape (E,), whether its outcome is known at all.
    :param horizon: Points of a chunk of the critic, ``stride`` rows apart.
    :param names: E names, by default their numbers.
    :param tasks: E instructions: how long an episode took is compared with others of its task.
    :raises ValueError: they are not one for each episode.
    """
    count = len(trajectories.starts)
    data = _Data(
        trajectories, np.asarray(success, np.bool_), np.asarray(labelled, np.bool_),
        horizon * stride, tuple(names or map(str, range(count))), tuple(tasks or ('',) * count))
    for name, given in (('success', data.success), ('labelled', data.labelled),
                        ('names', data.names), ('tasks', data.tasks)):
        if len(given) != count:
            raise ValueError(f'{name} has {len(given)} entries, expected one for each of {count} '
                             'episodes')
    verdict, reason = _verdict(data)
    reasons = [reason, *_task_reasons(data), *_label_reasons(data)]
    whole = data.too_long.all()
    reasons.insert(0 if whole else 1, _horizon_reason(data, horizon))
    if whole:
        verdict = SupportVerdict.NOTHING
    return Support(verdict, tuple(each for each in reasons if each), data.numbers())


@dataclass(frozen=True)
class _Data:
    trajectories: Trajectories
    success: npt.NDArray[np.bool_]
    labelled: npt.NDArray[np.bool_]
    chunk_rows: int
    names: tuple[str, ...]
    tasks: tuple[str, ...]

    @property
    def successes(self) -> int:
        return int(self.success.sum())

    @property
    def failures(self) -> int:
        return int((self.labelled & ~self.success).sum())

    @property
    def too_long(self) -> npt.NDArray[np.bool_]:
        """Return for each episode whether it has fewer steps than a chunk, (E,)."""
        found: npt.NDArray[np.bool_] = self.trajectories.steps < self.chunk_rows
        return found

    @property
    def totals(self) -> npt.NDArray[np.float64]:
        """Return the undiscounted rewards of each episode's steps, (E,)."""
        sums = np.concatenate([[0.0], np.cumsum(self.trajectories.rewards, dtype=np.float64)])
        starts = self.trajectories.starts
        found: npt.NDArray[np.float64] = sums[starts + self.trajectories.steps] - sums[starts]
        return found

    def saving(self) -> float:
        """Return by how much of the median the faster half of the successes is shorter."""
        return self._better_half(-self.trajectories.lengths.astype(np.float64))

    def surplus(self) -> float:
        """Return by how much of the median the better half of the successes earned more."""
        return self._better_half(self.totals)

    def _better_half(self, values: npt.NDArray[np.float64]) -> float:
        """Compare the higher half of each task's successes with all of them, by the median."""
        gains, weights = [0.0], [0.0]
        for task in dict.fromkeys(self.tasks):
            mine = np.array([each == task for each in self.tasks]) & self.success
            ordered = np.sort(values[mine])
            middle = float(np.median(ordered)) if len(ordered) > 1 else 0.0
            if middle:
                better = float(np.median(ordered[(len(ordered) + 1) // 2:]))
                gains.append((better - middle) / abs(middle))
                weights.append(len(ordered))
        return float(np.average(gains, weights=weights)) if sum(weights) else 0.0

    def numbers(self) -> dict[str, float]:
        """Return what was counted and measured, by name."""
        lengths = self.trajectories.lengths
        found = {
            'episodes': len(self.success), 'successes': self.successes,
            'failures': self.failures, 'unlabelled': int((~self.labelled).sum()),
            'median rows': float(np.median(lengths))}
        if self.successes:
            found['median rows of successes'] = float(np.median(lengths[self.success]))
            found['faster half is shorter by [%]'] = round(100.0 * self.saving(), 1)
        return {**found, 'episodes shorter than a chunk': int(self.too_long.sum())}


def _verdict(data: _Data) -> tuple[SupportVerdict, str]:
    """Return the verdict of successes, failures and speed, and why; '' where all is well."""
    episodes, nothing = len(data.success), SupportVerdict.NOTHING
    lowest, highest = float(data.totals.min()), float(data.totals.max())
    varied = highest - lowest > 1e-6 * max(abs(lowest), abs(highest))
    if not data.successes:
        if varied:
            return SupportVerdict.RETURN, (
                f'none of {episodes} episodes is a success and only the recorded rewards tell '
                f'better from worse, {lowest:.4g} to {highest:.4g} an episode')
        return nothing, (f'none of {episodes} episodes succeeded and all earned {lowest:.4g}: '
                         'record and label some that succeed')
    if data.successes < FEWEST_SUCCESSES:
        return nothing, (f'{data.successes} of {episodes} episodes succeeded, expected '
                         f'{FEWEST_SUCCESSES} or more: with fewer, what they have in common is '
                         'chance')
    if data.failures and not varied:
        return nothing, (f'{data.failures} of {episodes} episodes failed and earned {lowest:.4g} '
                         'as those that succeeded did: take the reward from the successes')
    if data.failures:
        return SupportVerdict.SUCCESS_AND_SPEED, ''
    saving, surplus = data.saving(), data.surplus()
    none_failed = f'none of {episodes} episodes failed'
    if saving >= LEAST_SAVING:
        return SupportVerdict.SPEED, (
            f'{none_failed}, so that only speed tells better from worse, the faster half is '
            f'{saving:.0%} shorter: expect shorter cycles, and keep failures for more')
    if surplus >= LEAST_SAVING:
        return SupportVerdict.RETURN, (
            f'{none_failed} and only the recorded rewards tell better from worse, the better half '
            f'earned {surplus:.0%} more')
    return nothing, (
        f'{none_failed} and the faster half is only {saving:.1%} shorter, expected failures or '
        f'{LEAST_SAVING:.0%}: record episodes of more varied quality and keep those that fail')


def _horizon_reason(data: _Data, horizon: int) -> str:
    which = np.flatnonzero(data.too_long)
    if not len(which):
        return ''
    shown = _few([f'{data.names[index]} ({data.trajectories.steps[index]} steps)'
                  for index in which])
    spans = f'a chunk of {horizon} points spans {data.chunk_rows} rows and is longer than'
    if len(which) == len(data.names):
        return f'{spans} every episode, {shown}: shorten the horizon'
    return f'{spans} {len(which)} of {len(data.names)} episodes, {shown}: it is cut off there'


def _few(names: Sequence[str]) -> str:
    more = f' and {len(names) - NAMED} more' if len(names) > NAMED else ''
    return ', '.join(names[:NAMED]) + more


def _task_reasons(data: _Data) -> list[str]:
    every = tuple(dict.fromkeys(data.tasks))
    won = {task for task, good in zip(data.tasks, data.success, strict=True) if good}
    lost = [task for task in every if task not in won and len(every) > 1]
    if not lost or not won:
        return []
    shown = _few([repr(task) for task in lost])
    return [f'{len(lost)} of {len(every)} tasks have no success: {shown}']


def _label_reasons(data: _Data) -> list[str]:
    unknown = int((~data.labelled).sum())
    if not unknown or not data.labelled.any():
        return []
    first = data.names[int(np.flatnonzero(~data.labelled)[0])]
    episodes = f'{unknown} of {len(data.names)} episodes are not labelled, such as {first}'
    return [f'{episodes}, and count as cut off']
