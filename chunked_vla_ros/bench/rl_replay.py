"""
The data of a run: what there was before, and episodes of its own that are added.

Windows are drawn evenly from both, or half of a batch from each (RLPD). The published code adds
each step as it is made; here an episode is added when it is over, and new ones come into the
table when they make up a hundredth of it, which costs a constant share of the steps. Legend: T
steps of an episode, S observation features, A action width. Knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from chunked_vla_ros.bench.rl_play import PlayData
from chunked_vla_ros.core.chunk_transitions import (
    BoolArray,
    ChunkTransitions,
    EndRule,
    Float32Array,
    Trajectories,
)
from chunked_vla_ros.training.chunk_batch import ChunkBatch, StateTable

GROWTH = 0.01
# As the published experiments clip the actions of the data.
LARGEST_ACTION = 1.0 - 1e-5


@dataclass(frozen=True)
class Windows:
    """How windows are cut: h, discount, and what becomes of those that meet an end."""

    horizon: int
    discount: float
    rule: EndRule

    def table(self, observations: Float32Array, actions: Float32Array, labels: Trajectories,
              device: torch.device) -> StateTable:
        """Return the table of all windows of rows (R, S) and (R, A)."""
        clipped = np.clip(actions, -LARGEST_ACTION, LARGEST_ACTION)
        return StateTable(observations, clipped, ChunkTransitions(
            labels, self.horizon, self.discount, self.rule), device)


def play_labels(data: PlayData, rewards: Float32Array, done: BoolArray) -> Trajectories:
    """
    Return play data as trajectories of a task, of the reward and the end of each row, (R,).

    The last row of an episode begins no step, as in the published data.
    """
    terminated = done.copy()
    terminated[data.rows - 1::data.rows] = False
    starts = np.arange(0, len(rewards), data.rows)
    return Trajectories(rewards, terminated, starts, np.full(len(starts), data.rows))


@dataclass(frozen=True)
class OwnEpisode:
    """
    One episode online.

    :ivar observations: Shape (T + 1, S).
    :ivar actions: Shape (T, A).
    :ivar rewards: Shape (T,).
    :ivar terminated: Whether its last step ended the task.
    """

    observations: Float32Array
    actions: Float32Array
    rewards: Float32Array
    terminated: bool


class Replay:
    """
    Data from before and own episodes.

    :ivar in_table: How many own episodes can be drawn from already.
    """

    def __init__(self, before: StateTable, windows: Windows, half: bool) -> None:
        """``half``: draw half of each batch from own episodes, or else from all windows alike."""
        self._before, self._windows, self._half = before, windows, half
        self._episodes: list[OwnEpisode] = []
        self._own: StateTable | None = None
        self.in_table = 0

    @property
    def ready(self) -> bool:
        """Return whether batches can be drawn: half of nothing cannot."""
        return self._own is not None or not self._half

    def add(self, episode: OwnEpisode) -> None:
        """Take in an episode that is over."""
        self._episodes.append(episode)
        rows = [len(each.observations) for each in self._episodes]
        new = sum(rows[self.in_table:])
        # By the published rule a table of windows that all cross an end would be empty.
        if (new >= GROWTH * sum(rows[:self.in_table])
                and max(rows) > self._windows.horizon):
            self._make_table(len(rows))

    def batch(self, generator: torch.Generator, count: int) -> ChunkBatch:
        """Return a batch of ``count`` windows."""
        before, own = self._before, self._own
        if own is None:
            return before.batch(before.sample(generator, count))
        if self._half:
            return ChunkBatch.joined(
                before.batch(before.sample(generator, count - count // 2)),
                own.batch(own.sample(generator, count // 2)))
        which = torch.randint(len(before) + len(own), (count,), generator=generator,
                              device=before.device)
        of_own = which >= len(before)
        return ChunkBatch.joined(
            before.batch(which[~of_own]), own.batch(which[of_own] - len(before)))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all own episodes for a checkpoint."""
        if not self._episodes:
            return {}
        found = {name: np.concatenate([getattr(each, name) for each in self._episodes])
                 for name in ('observations', 'actions', 'rewards')}
        found['terminated'] = np.array([each.terminated for each in self._episodes])
        found['steps'] = np.array([len(each.rewards) for each in self._episodes])
        return {name: torch.from_numpy(array) for name, array in found.items()}

    def load(self, tensors: Mapping[str, torch.Tensor], in_table: int) -> None:
        """Take over what `tensors` returned, with ``in_table`` of the episodes to draw from."""
        said = {name: tensor.numpy() for name, tensor in tensors.items()}
        ends = np.cumsum(said['steps']) if said else np.zeros(0, np.int64)
        self._episodes = [OwnEpisode(
            said['observations'][end - steps + number:end + number + 1],
            said['actions'][end - steps:end], said['rewards'][end - steps:end], bool(terminated))
            for number, (end, steps, terminated) in enumerate(
                zip(ends, said['steps'], said['terminated'], strict=True))] if said else []
        if in_table:
            self._make_table(in_table)

    def _make_table(self, count: int) -> None:
        """Put the first ``count`` episodes into the table."""
        parts = [_rows(each) for each in self._episodes[:count]]
        observations, actions, rewards, terminated = (
            np.concatenate(column) for column in zip(*parts, strict=True))
        lengths = np.array([len(part[0]) for part in parts])
        labels = Trajectories(rewards, terminated, np.cumsum(lengths) - lengths, lengths)
        self._own = self._windows.table(observations, actions, labels, self._before.device)
        self.in_table = count


def _rows(of: OwnEpisode) -> tuple[Float32Array, Float32Array, Float32Array, BoolArray]:
    """Return an episode as rows: T of them if it terminated, or else its last observation too."""
    left = 0 if of.terminated else 1
    rows = len(of.rewards) + left
    terminated = np.zeros(rows, np.bool_)
    terminated[-1] = of.terminated
    return (of.observations[:rows], np.pad(of.actions, ((0, left), (0, 0))),
            np.pad(of.rewards, (0, left)), terminated)
