"""
Chunks for a critic on cached features, with pictures for a policy of which every weight learns.

Read ahead as any other batch. What such a policy knows at a row no cache can say: it is looked
at anew. Legend: B batch, R rows. Knows no loss.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.training_windows import IntArray, Windows
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.training.batches import Batch, BatchStream, WindowLoader
from chunked_vla_ros.training.chunk_policies import known_at
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.rl_batches import ChunkLoader, CriticBatch, FlowBatch
from chunked_vla_ros.training.vla import Context, Vla
from chunked_vla_ros.training.vla_features import Features
from chunked_vla_ros.training.vla_observation import critic_observation


@dataclass
class SeenChunks:
    """
    Chunks, and what the policy sees where they begin.

    :ivar of_critic: B chunks; ``seen``: the policy's windows at the same rows.
    """

    of_critic: CriticBatch
    seen: Batch

    def to(self, device: torch.device) -> SeenChunks:
        """Return the batch on ``device``."""
        return SeenChunks(self.of_critic.to(device), self.seen.to(device))


class SeenChunkLoader:
    """
    Chunks and pictures by number.

    :param pictures: One window for each chunk, in their order.
    """

    def __init__(self, chunks: ChunkLoader, pictures: WindowLoader, workers: int = 1) -> None:
        self._chunks, self._pictures, self._workers = chunks, pictures, workers

    def rows(self, indices: npt.ArrayLike) -> IntArray:
        """Return where the chunks ``indices`` (B,) begin, (B,)."""
        return self._chunks.rows(indices)

    def batch(self, indices: npt.ArrayLike) -> SeenChunks:
        """
        Return the chunks ``indices`` (B,).

        :raises DatasetError: a frame cannot be read; one line.
        """
        return SeenChunks(self._chunks.batch(indices), self._pictures.batch(indices))

    def steps(self, order: WindowOrder, first: int, last: int,
              part: slice | None = None) -> BatchStream:
        """Return the batches of steps ``first`` to ``last`` - 1, to be used by ``with``."""
        return BatchStream(self, order, range(first, last), part, self._workers)


@dataclass
class LiveFeatures(Features):
    """
    Features whose `context` is that of ``vla`` as it is now, from the pictures.

    Rows that it was asked for are in `observation` as ``vla`` knows them; the others are 0.
    """

    vla: Vla
    pictures: WindowLoader

    @staticmethod
    def of(vla: Vla, material: Material, features: Features) -> LiveFeatures:
        """Return those of ``vla`` at the rows of ``material``, beside what is known of them."""
        first = np.arange(len(material.rows.state))
        pictures = windows_with_pictures(material, Windows(first, first + 1, 1, 1), workers=0)
        known = {spec.name: getattr(features, spec.name) for spec in fields(Features)}
        known |= {'observation': np.zeros_like(features.observation)}
        return LiveFeatures(**known, vla=vla, pictures=pictures)

    def context(self, rows: IntArray) -> Context:
        """
        Return what is known at ``rows`` (B,), on the network's device.

        :raises DatasetError: a frame cannot be read; one line.
        """
        batch = self.pictures.batch(rows).to(self.vla.summary.device)
        known = known_at(self.vla, batch)
        seen = critic_observation(known, self.vla.scale.felt(batch.state))
        self.observation[rows] = seen.detach().cpu().numpy()
        return known


def windows_with_pictures(material: Material, windows: Windows, workers: int) -> WindowLoader:
    """Return what reads ``windows`` of the rows of ``material`` with their pictures."""
    return WindowLoader(material.rows, windows, material.tokens, material.masks,
                        material.headings, workers)


def of_critic(batch: Any) -> CriticBatch | None:
    """Return what a critic learns from in a ``batch``; ``None``: nothing."""
    if isinstance(batch, SeenChunks):
        return batch.of_critic
    return batch if isinstance(batch, CriticBatch) else None


def of_policy(batch: CriticBatch | SeenChunks) -> FlowBatch | Batch:
    """Return the windows that a policy learns from in a ``batch``, which has some."""
    found = batch.seen if isinstance(batch, SeenChunks) else batch.window
    assert found is not None
    return found


def tensors_of(batch: SeenChunks | CriticBatch | FlowBatch | Batch) -> dict[str, torch.Tensor]:
    """Return all that is in ``batch`` by name, for a file."""
    if isinstance(batch, SeenChunks):
        seen = {f'seen.{name}': tensor for name, tensor in tensors_of(batch.seen).items()}
        return {**batch.of_critic.tensors(), **seen}
    if not isinstance(batch, Batch):
        return batch.tensors()
    rest = {spec.name: getattr(batch, spec.name) for spec in fields(batch)
            if spec.name != 'images'}
    return {**rest, **{f'image.{name}': image for name, image in batch.images.items()}}
