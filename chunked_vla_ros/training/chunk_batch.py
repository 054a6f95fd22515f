"""
Batches that a chunked critic and its actor learn from, and a table in memory that they come from.

All tensors of a table lie on the device from the start: a batch is a few look-ups there, without
a copy from or a wait for the processor. Knows no network; the discount is already in `returns`
and `bootstrap`. Legend: B batch, h points of a chunk, A action width, S observation features,
R rows of all episodes, N chunks of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

from chunked_vla_ros.core.chunk_transitions import Chunks, ChunkTransitions

# Chunks that a table asks for at once, which bounds what making it needs in passing.
CHUNKS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class ChunkBatch:
    """
    B chunks; column i is about the prefix of i + 1 points.

    :ivar observation: (B, S), where the chunk begins.
    :ivar actions: (B, h, A), normalised to about [-1, 1]; past the end of an episode the last one
        that there is.
    :ivar valid: (B, h) bool, False past the end.
    :ivar returns: (B, h) float32, discounted rewards.
    :ivar bootstrap: (B, h) float32, what the value of the next state counts; 0 after termination.
    :ivar counted: (B, h) bool, whether the critic learns from a prefix.
    :ivar next_observation: (B, S), after the whole chunk.
    :ivar next_observations: (B, h, S), after each prefix; ``None`` where nobody asked.
    :ivar return_to_go: (B,) Monte-Carlo return of the data; ``None`` where nobody asked.
    :ivar next_row: (B,), of `next_observation` in its table; ``None`` where it is not of one.
    """

    observation: torch.Tensor
    actions: torch.Tensor
    valid: torch.Tensor
    returns: torch.Tensor
    bootstrap: torch.Tensor
    counted: torch.Tensor
    next_observation: torch.Tensor
    next_observations: torch.Tensor | None = None
    return_to_go: torch.Tensor | None = None
    next_row: torch.Tensor | None = None

    @staticmethod
    def joined(first: ChunkBatch, second: ChunkBatch) -> ChunkBatch:
        """Return the chunks of both, such as half prior data and half one's own (RLPD)."""
        pairs = {item.name: (getattr(first, item.name), getattr(second, item.name))
                 for item in fields(ChunkBatch) if item.name != 'next_row'}
        return ChunkBatch(**{
            name: None if one is None or other is None else torch.cat([one, other])
            for name, (one, other) in pairs.items()})


class StateTable:
    """
    Observations, actions and chunks of a whole data set, on one device.

    :ivar device: Where its tensors lie.
    """

    def __init__(self, observations: np.ndarray, actions: np.ndarray,
                 transitions: ChunkTransitions, device: torch.device | str = 'cpu') -> None:
        """
        Copy ``observations`` (R, S) and ``actions`` (R, A) of all rows to ``device``.

        :raises ValueError: the arrays have other rows than ``transitions``.
        """
        rows = len(transitions.trajectories.rewards)
        for name, array in (('observations', observations), ('actions', actions)):
            if array.ndim != 2 or len(array) != rows:
                raise ValueError(f'{name} have shape {array.shape}, expected ({rows}, features): '
                                 'one row for each reward')
        self.device = torch.device(device)
        self._observations = self._there(observations, np.float32)
        self._actions = self._there(actions, np.float32)
        self._to_go = self._there(transitions.returns_to_go(), np.float32)
        # Row numbers of 4 bytes where they suffice: they are most of what a table holds.
        kind = np.int32 if rows < 2**31 else np.int64
        parts = [transitions.at(np.arange(first, min(first + CHUNKS_AT_ONCE, len(transitions))))
                 for first in range(0, len(transitions), CHUNKS_AT_ONCE)]
        self._rows = self._joined(parts, 'rows', kind)
        self._action_rows = self._joined(parts, 'action_rows', kind)
        self._next_rows = self._joined(parts, 'next_rows', kind)
        self._valid = self._joined(parts, 'valid', np.bool_)
        self._counted = self._joined(parts, 'counted', np.bool_)
        self._returns = self._joined(parts, 'returns', np.float32)
        self._bootstrap = self._joined(parts, 'bootstrap', np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def sample(self, generator: torch.Generator, count: int) -> torch.Tensor:
        """Return ``count`` numbers of chunks; the generator is of `device`."""
        return torch.randint(len(self), (count,), generator=generator, device=self.device)

    def batch(self, which: torch.Tensor, prefixes: bool = False) -> ChunkBatch:
        """
        Return the chunks of numbers ``which`` (B,) on `device`.

        :param prefixes: Whether to look up the observation after each prefix too.
        """
        rows = self._rows.index_select(0, which)
        next_rows = self._next_rows.index_select(0, which)
        return ChunkBatch(
            observation=self._observations.index_select(0, rows),
            actions=_rows_of(self._actions, self._action_rows.index_select(0, which)),
            valid=self._valid.index_select(0, which),
            returns=self._returns.index_select(0, which),
            bootstrap=self._bootstrap.index_select(0, which),
            counted=self._counted.index_select(0, which),
            next_observation=self._observations.index_select(0, next_rows[:, -1]),
            next_observations=_rows_of(self._observations, next_rows) if prefixes else None,
            return_to_go=self._to_go.index_select(0, rows), next_row=next_rows[:, -1])

    def _joined(self, parts: list[Chunks], name: str, kind: type) -> torch.Tensor:
        return self._there(np.concatenate([getattr(part, name) for part in parts]), kind)

    def _there(self, array: np.ndarray, kind: type) -> torch.Tensor:
        # A copy: the caller may go on with its own, and arrays may be read-only.
        return torch.from_numpy(np.array(array, kind)).to(self.device)


def _rows_of(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return table.index_select(0, rows.flatten()).unflatten(0, rows.shape)
