"""
Batches of training examples, made ahead of the training in threads, always in the same order.

Legend: B batch, C cameras, H points of a chunk, J joints, L tokens, I instructions, E episodes,
N windows. Reading frames lets other threads run, so that one thread keeps up with a training.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
import time
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.training_windows import episode_of, IntArray, Windows
from chunked_vla_ros.core.waypoints import Headings
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.training_rows import TrainingRows

AHEAD = 3


@dataclass
class Batch:
    """
    Examples, all on one device.

    :ivar images: By camera, in the policy's order: (B, h, w, 3) RGB, uint8, or float 0 to 255.
    :ivar present: (B, C) bool; ``False``: the episode lacks the camera and its image is black.
    :ivar state: (B, J) float32, measured, in the joints' units.
    :ivar tokens: (B, L) int64; ``tokens_mask`` (B, L) int64, 1 where there is a token.
    :ivar actions: (B, H, J) float32, targets as they are in the dataset.
    :ivar valid: (B, H) bool, ``False`` past the end of the episode.
    :ivar waypoint: (B, J) float32, the target at the demonstration's next turning point.
    :ivar begun: (B,) bool, the motion to it has only begun.
    """

    images: dict[str, torch.Tensor]
    present: torch.Tensor
    state: torch.Tensor
    tokens: torch.Tensor
    tokens_mask: torch.Tensor
    actions: torch.Tensor
    valid: torch.Tensor
    waypoint: torch.Tensor
    begun: torch.Tensor

    def __len__(self) -> int:
        return len(self.state)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on ``device``."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def part(self, which: slice) -> Batch:
        """Return some of the examples; their memory is shared."""
        return self._each(lambda tensor: tensor[which])

    def _each(self, change: Any) -> Batch:
        rest = {spec.name: change(getattr(self, spec.name)) for spec in fields(self)
                if spec.name != 'images'}
        return Batch({name: change(image) for name, image in self.images.items()}, **rest)


class WindowLoader:
    """
    Reads the windows of ``rows`` into batches.

    :param tokens: (I, L) int64, of each of the rows' instructions, as ``masks``.
    :param headings: Of each row.
    :param workers: Threads that read ahead; 0: read when asked, in the caller's thread.
    """

    def __init__(self, rows: TrainingRows, windows: Windows, tokens: npt.ArrayLike,
                 masks: npt.ArrayLike, headings: Headings, workers: int = 1) -> None:
        self._rows, self._windows = rows, windows
        self._headings = headings
        self._tokens, self._masks = (np.array(table, np.int64) for table in (tokens, masks))
        if not len(self._tokens) == len(self._masks) == len(rows.instructions):
            raise ValueError(f'{len(rows.instructions)} instructions, {len(self._tokens)} rows of '
                             f'tokens and {len(self._masks)} of masks, expected as many of each')
        self._workers = workers

    def __len__(self) -> int:
        return len(self._windows)

    def rows(self, indices: npt.ArrayLike) -> IntArray:
        """Return where the windows ``indices`` (B,) begin, (B,)."""
        return self._windows.rows[np.asarray(indices, np.int64)]

    def batch(self, indices: npt.ArrayLike) -> Batch:
        """
        Return the windows ``indices`` (B,).

        :raises DatasetError: a frame cannot be read; one line.
        """
        which = np.asarray(indices, np.int64)
        rows = self._windows.rows[which]
        episodes = episode_of(rows, self._rows.episode_starts)
        said = self._rows.instruction_of[episodes]
        return Batch(
            images={camera.name: torch.from_numpy(self._rows.frames.read(rows, number))
                    for number, camera in enumerate(self._rows.cameras)},
            present=torch.from_numpy(self._rows.present[episodes]),
            state=torch.from_numpy(self._rows.state[rows]),
            tokens=torch.from_numpy(self._tokens[said]),
            tokens_mask=torch.from_numpy(self._masks[said]),
            actions=torch.from_numpy(self._rows.action[self._windows.action_rows(which)]),
            valid=torch.from_numpy(self._windows.valid(which)),
            waypoint=torch.from_numpy(self._rows.action[self._headings.rows[rows]]),
            begun=torch.from_numpy(self._headings.begun[rows]))

    def steps(self, order: WindowOrder, first: int, last: int,
              part: slice | None = None) -> BatchStream:
        """
        Return the batches of steps ``first`` to ``last`` - 1, to be used by ``with``.

        :param part: Of each batch only these examples: those of one process of several.
        """
        return BatchStream(self, order, range(first, last), part, self._workers)


class BatchSource(Protocol):
    """What makes a batch of the numbers of its examples."""

    def batch(self, indices: IntArray) -> Any:
        """Return the examples ``indices`` (B,)."""


class BatchStream:
    """
    Batches of successive steps, read ahead.

    :ivar waited_s: How long the caller has waited for batches so far, in [s].
    """

    def __init__(self, loader: BatchSource, order: WindowOrder, steps: range,
                 part: slice | None, workers: int) -> None:
        self._loader, self._order, self._part = loader, order, part
        self._left = iter(steps)
        self._ahead: deque[Future[Any]] = deque()
        self._threads = ThreadPoolExecutor(workers, 'batches') if workers else None
        self._depth = max(AHEAD, workers + 1)
        self.waited_s = 0.0

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next batch; wait for it if it is not there yet."""
        began_s = time.perf_counter()
        try:
            if self._threads is None:
                return self._read(next(self._left))
            self._fill()
            if not self._ahead:
                raise StopIteration
            batch = self._ahead.popleft().result()
            self._fill()
            return batch
        finally:
            self.waited_s += time.perf_counter() - began_s

    def close(self) -> None:
        """Stop reading ahead; return when no thread reads any more."""
        self._left = iter(range(0))
        self._ahead.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        while self._threads is not None and len(self._ahead) < self._depth:
            step = next(self._left, None)
            if step is None:
                return
            self._ahead.append(self._threads.submit(self._read, step))

    def _read(self, step: int) -> Any:
        indices = self._order.indices(step)
        return self._loader.batch(indices if self._part is None else indices[self._part])
