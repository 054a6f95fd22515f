"""
The obvious way to training examples: for each, its frames are sought in the video and decoded.

As LeRobot's dataset does with PyAV: open the file, go to the key frame before, decode until the
time is reached, take the nearest, make it float32 of 0 to 1 with the channels first; PyTorch's
DataLoader puts a batch together. Numbers come from memory, which is faster than LeRobot's tables.
Written anew for the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from chunked_vla_ros.core.training_windows import episode_of, Windows
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.lerobot_files import LeRobotFiles
from chunked_vla_ros.data.training_rows import TrainingRows


class PlainExamples(Dataset):
    """Examples by number; each call of it decodes."""

    def __init__(self, dataset: LeRobotFiles, rows: TrainingRows, windows: Windows) -> None:
        self._rows, self._windows, self._fps = rows, windows, dataset.fps
        self._videos: list[list[tuple[Path, float]]] = [
            [dataset.video(episode, camera.name) for camera in rows.cameras]
            for episode in dataset.episodes]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the example: frames (3, h, w) float32, state (J,), chunk (H, J) and its mask."""
        which = np.array([index])
        row = int(self._windows.rows[index])
        episode = int(episode_of([row], self._rows.episode_starts)[0])
        at_s = (row - int(self._rows.episode_starts[episode])) / self._fps
        example: dict[str, Any] = {
            camera.name: decode_frame(file, from_s + at_s)
            for camera, (file, from_s) in zip(
                self._rows.cameras, self._videos[episode], strict=True)}
        return {**example, 'state': torch.from_numpy(self._rows.state[row]),
                'action': torch.from_numpy(self._rows.action[
                    self._windows.action_rows(which)[0]]),
                'valid': torch.from_numpy(self._windows.valid(which)[0]),
                'task': self._rows.instructions[self._rows.instruction_of[episode]]}

    def batches(self, order: WindowOrder, first: int, last: int,
                workers: int) -> Iterator[dict[str, Any]]:
        """Return the batches of steps ``first`` to ``last`` - 1, read by so many processes."""
        steps = [order.indices(step).tolist() for step in range(first, last)]
        return iter(DataLoader(self, batch_sampler=steps, num_workers=workers))


def decode_frame(file: Path, at_s: float) -> torch.Tensor:
    """Return the frame nearest to ``at_s`` [s]: (3, h, w) float32, 0 to 1."""
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        container.seek(int(at_s / stream.time_base), stream=stream)
        found = []
        for frame in container.decode(stream):
            found.append(frame)
            if (frame.time or 0.0) >= at_s:
                break
        nearest = min(found, key=lambda frame: abs((frame.time or 0.0) - at_s))
        pixels = torch.from_numpy(nearest.to_ndarray(format='rgb24'))
    return pixels.permute(2, 0, 1).contiguous().float() / 255.0
