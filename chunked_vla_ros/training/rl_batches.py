"""
Batches of offline RL on cached features: chunks for a critic, windows for the action expert.

No picture is read: a batch is a few look-ups. Made ahead by `BatchStream`, as those of imitation
are. Legend: B batch, h points of the critic's chunk, H of the policy's, J joints. Knows no loss.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions
from chunked_vla_ros.core.training_windows import IntArray, Windows
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.training.batches import BatchStream
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.vla import ActionScale, Context
from chunked_vla_ros.training.vla_features import Features, on
from chunked_vla_ros.training.vla_observation import demonstrated_chunk


@dataclass
class CriticBatch:
    """
    Chunks that a critic learns from.

    :ivar rows: (B,) int64, of the observation; ``next_rows`` (B, h), after each prefix.
    :ivar window: What the policy learns from at the same rows; ``None`` where it does not.
    """

    chunks: ChunkBatch
    rows: torch.Tensor
    next_rows: torch.Tensor
    window: FlowBatch | None = None

    def to(self, device: torch.device) -> CriticBatch:
        """Return the batch on ``device``."""
        return CriticBatch(
            _moved(self.chunks, device), self.rows.to(device), self.next_rows.to(device),
            self.window.to(device) if self.window else None)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all that is in it by name, for a file."""
        return {'rows': self.rows, 'next_rows': self.next_rows, **{
            spec.name: getattr(self.chunks, spec.name) for spec in fields(self.chunks)
            if getattr(self.chunks, spec.name) is not None}}


@dataclass
class FlowBatch:
    """
    Chunks that the action expert learns to imitate.

    :ivar rows: (B,) int64.
    :ivar state: (B, J) raw; ``actions`` (B, H, J) raw targets; ``valid`` (B, H) bool.
    """

    rows: torch.Tensor
    known: Context
    state: torch.Tensor
    actions: torch.Tensor
    valid: torch.Tensor

    def to(self, device: torch.device) -> FlowBatch:
        """Return the batch on ``device``."""
        return FlowBatch(self.rows, on(self.known, device), self.state.to(device),
                         self.actions.to(device), self.valid.to(device))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all that is in it by name, for a file."""
        return {'rows': self.rows, 'tokens': self.known.tokens, 'goals': self.known.goals,
                'state': self.state, 'actions': self.actions, 'valid': self.valid}


class FlowLoader:
    """Windows by number, with what the frozen policy knows where they begin."""

    def __init__(self, rows: TrainingRows, windows: Windows, features: Features,
                 workers: int = 1) -> None:
        self._rows, self.windows, self._features = rows, windows, features
        self._workers = workers

    def rows(self, indices: npt.ArrayLike) -> IntArray:
        """Return where the windows ``indices`` (B,) begin, (B,)."""
        return self.windows.rows[np.asarray(indices, np.int64)]

    def batch(self, indices: npt.ArrayLike) -> FlowBatch:
        """Return the windows ``indices`` (B,)."""
        which = np.asarray(indices, np.int64)
        rows = self.windows.rows[which]
        return FlowBatch(
            torch.from_numpy(rows), self._features.context(rows),
            torch.from_numpy(self._rows.state[rows]),
            torch.from_numpy(self._rows.action[self.windows.action_rows(which)]),
            torch.from_numpy(self.windows.valid(which)))

    def steps(self, order: WindowOrder, first: int, last: int,
              part: slice | None = None) -> BatchStream:
        """Return the batches of steps ``first`` to ``last`` - 1, to be used by ``with``."""
        return BatchStream(self, order, range(first, last), part, self._workers)


class ChunkLoader:
    """
    Chunks by number, as a critic learns from them.

    :param flow: Where the policy's windows at the same rows come from, if it learns from them:
        one window for each chunk, in their order.
    """

    def __init__(self, rows: TrainingRows, transitions: ChunkTransitions, features: Features,
                 scale: ActionScale, flow: FlowLoader | None = None, workers: int = 1) -> None:
        self._rows, self._transitions, self._features = rows, transitions, features
        self._scale, self._flow = scale, flow
        self._to_go = transitions.returns_to_go()
        self._workers = workers

    def rows(self, indices: npt.ArrayLike) -> IntArray:
        """Return where the chunks ``indices`` (B,) begin, (B,)."""
        return self._transitions.rows[np.asarray(indices, np.int64)]

    def batch(self, indices: npt.ArrayLike) -> CriticBatch:
        """Return the chunks ``indices`` (B,)."""
        which = np.asarray(indices, np.int64)
        found, seen = self._transitions.at(which), self._features.observation
        with torch.no_grad():
            actions = demonstrated_chunk(
                self._scale, torch.from_numpy(self._rows.action[found.action_rows]),
                torch.from_numpy(self._rows.state[found.rows]))
        chunks = ChunkBatch(
            observation=torch.from_numpy(seen[found.rows]), actions=actions,
            valid=torch.from_numpy(found.valid), returns=torch.from_numpy(found.returns),
            bootstrap=torch.from_numpy(found.bootstrap),
            counted=torch.from_numpy(found.counted),
            next_observation=torch.from_numpy(seen[found.next_rows[:, -1]]),
            return_to_go=torch.from_numpy(self._to_go[found.rows]))
        return CriticBatch(
            chunks, torch.from_numpy(found.rows), torch.from_numpy(found.next_rows),
            self._flow.batch(which) if self._flow else None)

    def steps(self, order: WindowOrder, first: int, last: int,
              part: slice | None = None) -> BatchStream:
        """Return the batches of steps ``first`` to ``last`` - 1, to be used by ``with``."""
        return BatchStream(self, order, range(first, last), part, self._workers)


def windows_at(windows: Windows, rows: IntArray) -> IntArray:
    """
    Return the number of a window that begins at each of ``rows`` (N,).

    :param windows: In rising order of their rows, as `make_windows` makes them.
    :raises ValueError: at one of them none begins.
    """
    found = np.searchsorted(windows.rows, rows)
    if (found == len(windows)).any() or (windows.rows[found] != rows).any():
        raise ValueError('a chunk begins where no window of the policy does')
    places: IntArray = found.astype(np.int64)
    return places


def windows_of(windows: Windows, which: IntArray) -> Windows:
    """Return the windows of numbers ``which`` alone, in that order."""
    return Windows(windows.rows[which], windows.ends[which], windows.stride, windows.horizon)


def _moved(chunks: ChunkBatch, device: torch.device) -> ChunkBatch:
    values: dict[str, Any] = {spec.name: getattr(chunks, spec.name) for spec in fields(chunks)}
    return ChunkBatch(**{name: None if value is None else value.to(device)
                         for name, value in values.items()})
