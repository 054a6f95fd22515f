"""
Rewards, successes and ends of the rows that a training reads, out of the datasets' own columns.

Whatever is not aligned with the rows, or would teach that success is worth nothing, is refused
here, before a training begins. Knows no network and no algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, EndRule, Trajectories
from chunked_vla_ros.core.dataset_columns import DONE, REWARD, SUCCESS
from chunked_vla_ros.core.episode_marks import rewards_are_late
from chunked_vla_ros.core.rl_support import judge_support, Support
from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.data.dataset import ColumnArray, DatasetError
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.training_rows import TrainingRows

BoolArray = npt.NDArray[np.bool_]


class RewardSource(Enum):
    """
    Where rewards come from.

    AUTO: recorded ones if any is not 0, else the successes. RECORDED: the column next.reward.
    SUCCESS: 1 for the step that succeeds and 0 for all others, whatever was recorded.
    """

    AUTO = 'auto'
    RECORDED = 'recorded'
    SUCCESS = 'success'


@dataclass(frozen=True)
class RewardedRows:
    """
    The R rows of E episodes with what was earned at each.

    :ivar trajectories: An episode is over at the first row that succeeded: what was recorded after
        it belongs to no episode here. One that did not succeed was cut off at its last row.
    :ivar success: Shape (E,), whether an episode succeeded.
    :ivar labelled: Shape (E,), whether its outcome is known.
    :ivar source: RECORDED or SUCCESS.
    """

    rows: TrainingRows
    trajectories: Trajectories
    success: BoolArray
    labelled: BoolArray
    source: RewardSource

    def transitions(self, horizon: int, step_s: float, discount: float,
                    rule: EndRule = EndRule.SAFE, success_repeats: int = 1,
                    episodes: Sequence[int] | IntArray | None = None) -> ChunkTransitions:
        """
        Return the chunks of ``episodes``, by default of all, with points every ``step_s`` [s].

        :raises ValueError: one line; a step is no whole number of rows, or as `ChunkTransitions`.
        """
        of = self.trajectories if episodes is None else self.trajectories.only(episodes)
        return ChunkTransitions(of, horizon, discount, rule, self._stride(step_s),
                                success_repeats)

    def support(self, horizon: int, step_s: float, episodes: IntArray) -> Support:
        """Return whether ``episodes``, by number, can support an improvement over imitation."""
        of, rows = self.trajectories, self.rows
        return judge_support(
            replace(of, starts=of.starts[episodes], lengths=of.lengths[episodes]),
            self.success[episodes], self.labelled[episodes], horizon, self._stride(step_s),
            [rows.episode_ids[number] for number in episodes],
            [rows.instructions[rows.instruction_of[number]] for number in episodes])

    def _stride(self, step_s: float) -> int:
        return self.rows.windows(1, step_s, [0]).stride


def read_rewards(rows: TrainingRows, datasets: Sequence[str | Path],
                 source: RewardSource = RewardSource.AUTO,
                 failures_end: bool = False) -> RewardedRows:
    """
    Read what was earned in the ``datasets`` that ``rows`` were read from, in that order.

    :param failures_end: A labelled failure ends the task, so that its last state is worth nothing.
        Otherwise it was cut off, as by a time limit, and could have gone on.
    :raises DatasetError: one line with the dataset, the episode, what was found and the remedy.
    """
    episodes = [each for path in datasets for each in _episodes(Path(path))]
    _check_rows(rows, episodes)
    taken = _source(episodes, source)
    if taken is RewardSource.RECORDED:
        for each in episodes:
            each.check_recorded()
    rewards = np.zeros(len(rows.state))
    terminated, succeeded = np.zeros((2, len(rewards)), np.bool_)
    lengths = rows.episode_lengths.copy()
    for index, each in enumerate(episodes):
        lengths[index] = count = each.rows_to_success
        ended = each.succeeded or (failures_end and each.labelled)
        own = slice(rows.episode_starts[index], rows.episode_starts[index] + count)
        rewards[own] = (each.steps(ended) if taken is RewardSource.RECORDED
                        else each.success[:count])
        terminated[own.stop - 1], succeeded[own.stop - 1] = ended, each.succeeded
    return RewardedRows(
        rows, Trajectories(rewards.astype(np.float32), terminated, rows.episode_starts, lengths,
                           succeeded),
        np.array([each.succeeded for each in episodes]),
        np.array([each.labelled for each in episodes]), taken)


@dataclass(frozen=True)
class _Episode:
    """
    The columns of one episode of N rows.

    :ivar name: As `TrainingRows` names it.
    :ivar where: Dataset and episode, for messages.
    :ivar reward: Shape (N,), or ``None`` where none was recorded; so the others.
    :ivar late: Whether it is that of the time before each row.
    """

    name: str
    where: str
    reward: npt.NDArray[np.float64] | None
    success: BoolArray
    done: BoolArray
    late: bool

    @property
    def succeeded(self) -> bool:
        return bool(self.success.any())

    @property
    def labelled(self) -> bool:
        return bool(self.done[-1]) or self.succeeded

    @property
    def rows_to_success(self) -> int:
        """Return how many rows there are up to the first that succeeded, or in all."""
        return int(np.argmax(self.success)) + 1 if self.succeeded else len(self.success)

    @property
    def rewarded(self) -> bool:
        return self.reward is not None and bool(self.reward.any())

    def steps(self, ended: bool) -> npt.NDArray[np.float64]:
        """Return the recorded rewards of the steps that begin at each row up to the end."""
        assert self.reward is not None
        values: npt.NDArray[np.float64] = self.reward[:self.rows_to_success].copy()
        if not ended and len(values) > 1:
            # No step begins at the last row of an episode that was cut off: nobody saw where it
            # led. What it earned, such as the penalty for a failure, counts for the step before.
            values[-2] += values[-1]
            values[-1] = 0.0
        return values

    def check_recorded(self) -> None:
        """
        Refuse rewards that lie a row late, or come only when nothing counts any more.

        :raises DatasetError: one line.
        """
        if self.reward is None:
            raise DatasetError(f'{self.where}: has no {REWARD}, expected one for every row: '
                               'take the reward from the successes')
        if self.late and self.rewarded:
            raise DatasetError(
                f'{self.where}: was converted by an older version, whose {REWARD} is that of the '
                'step before its row: convert its bag again, or take the reward from the '
                'successes')
        before, after = np.split(self.reward, [self.rows_to_success])
        if len(after) and after.max() > 0.0 >= before.max():
            row = self.rows_to_success + int(np.argmax(after > 0.0))
            raise DatasetError(
                f'{self.where}: is rewarded first in row {row}, after it succeeded in row '
                f'{self.rows_to_success - 1}, expected {REWARD} aligned with rows: take the '
                'reward from the successes, or convert its bag again')


def _episodes(path: Path) -> list[_Episode]:
    """Return the columns of a dataset's episodes."""
    dataset = open_dataset(path)
    found = []
    for index in dataset.episodes:
        where, columns = f'{path}: episode {index}', dataset.columns(index)
        if REWARD not in columns and SUCCESS not in columns:
            raise DatasetError(
                f'{path}: has neither {REWARD} nor {SUCCESS} ({dataset.layout}), nothing tells '
                'better from worse: label the recorded episodes and convert their bags, or train '
                'by imitation')
        reward = _rewards(where, columns)
        count = len(columns[REWARD if REWARD in columns else SUCCESS])
        done = _flags(where, DONE, columns, np.zeros(count, np.bool_))
        success = _flags(where, SUCCESS, columns, done & _wins(reward, count))
        for name, values in ((DONE, done), (SUCCESS, success)):
            if len(values) != count:
                raise DatasetError(f'{where}: {name} has {len(values)} rows and {REWARD} {count}, '
                                   'expected the same: fetch it again')
        found.append(_Episode(f'{path.resolve().name}#{index}', where, reward, success, done,
                              _is_late(dataset.facts(index))))
    return found


def _wins(reward: npt.NDArray[np.float64] | None, count: int) -> BoolArray:
    """
    Return at which rows an end would be a success, (N,), where a format has no column for it.

    Of rewards there where something is earned; of costs, as -1 a step, where there is none for
    the first time.
    """
    if reward is None:
        return np.zeros(count, np.bool_)
    costly = np.logical_and.accumulate(reward < 0.0)
    wins: BoolArray = (reward > 0.0) | ((reward == 0.0) & np.append(False, costly[:-1]))
    return wins


def _is_late(facts: Mapping[str, str]) -> bool:
    try:
        said = json.loads(facts.get('facts', '{}'))
    except (ValueError, RecursionError):    # another writer's
        return False
    return isinstance(said, dict) and rewards_are_late(said)


def _rewards(where: str, columns: Mapping[str, ColumnArray]) -> npt.NDArray[np.float64] | None:
    if REWARD not in columns:
        return None
    values: npt.NDArray[np.float64] = columns[REWARD].astype(np.float64)
    bad = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max))
    if len(bad):
        raise DatasetError(f'{where}: {REWARD} in row {bad[0]} is {values[bad[0]]:g}, expected a '
                           'finite number: convert its bag again, or take the reward from the '
                           'successes')
    return values


def _flags(where: str, name: str, columns: Mapping[str, ColumnArray],
           otherwise: BoolArray) -> BoolArray:
    if name not in columns:
        return otherwise
    values = columns[name]
    bad = np.flatnonzero((values != 0) & (values != 1))
    if len(bad):
        raise DatasetError(f'{where}: {name} in row {bad[0]} is {values[bad[0]]:g}, expected true '
                           'or false')
    return values.astype(np.bool_)


def _check_rows(rows: TrainingRows, episodes: Sequence[_Episode]) -> None:
    """
    Refuse columns of other episodes, or of other lengths, than the rows have.

    :raises DatasetError: one line that names the first.
    """
    names = [each.name for each in episodes]
    if names != list(rows.episode_ids):
        raise DatasetError(
            f'the datasets have episodes {_shown(names)} and the rows were read from '
            f'{_shown(rows.episode_ids)}, expected the same in the same order')
    for each, length in zip(episodes, rows.episode_lengths, strict=True):
        if len(each.success) != length:
            raise DatasetError(f'{each.where}: has {len(each.success)} rewards and {length} rows, '
                               'expected one of each: fetch it again')


def _source(episodes: Sequence[_Episode], wanted: RewardSource) -> RewardSource:
    """
    Return where rewards come from, for all episodes alike.

    :raises DatasetError: some successes are rewarded and others are not.
    """
    rewarded = [each for each in episodes if each.rewarded]
    if wanted is RewardSource.SUCCESS or (wanted is RewardSource.AUTO and not rewarded):
        return RewardSource.SUCCESS
    bare = next((each for each in episodes if each.succeeded and not each.rewarded
                 and each.rows_to_success > 1), None)
    if bare is not None and rewarded:
        raise DatasetError(
            f'{bare.where}: succeeded and has no reward, while {rewarded[0].name} has one, as if '
            'its success were worth nothing: take the reward from the successes')
    return RewardSource.RECORDED


def _shown(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (f', ... {len(names)} in all' if len(names) > 3 else '')
