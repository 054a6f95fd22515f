"""The curves of a training as TensorBoard's event files, while it goes on."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from chunked_vla_ros.training.standing import Row


class EventFiles:
    """Writes into ``folder``; what a training that was killed wrote beyond ``step`` is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, part: str, row: Row) -> None:
        """Add a point to each of the curves of ``part``, 'training' or 'validation'."""
        for name, value in row.items():
            if name != 'step':
                self._writer.add_scalar(f'{part}/{name}', value, int(row['step']))

    def close(self) -> None:
        """Write what is not yet written."""
        self._writer.close()
