"""
Where a training keeps its checkpoints, and which is the newest whole one.

    OUT/checkpoints/step_000123/    there whole or not at all; state.json says what it is of

Knows nothing of what is in one: who asks needs no learning framework.
"""

from __future__ import annotations

from pathlib import Path
import re

CHECKPOINTS, STATE = 'checkpoints', 'state.json'
STEP = re.compile(r'step_([0-9]{1,12})')


def checkpoint_path(out: Path, step: int) -> Path:
    """Return where the checkpoint of a step is."""
    return out / CHECKPOINTS / f'step_{step:06}'


def checkpoint_step(path: Path) -> int | None:
    """Return the step that a checkpoint's name says, ``None`` if it is no such name."""
    match = STEP.fullmatch(path.name)
    return int(match[1]) if match else None


def checkpoints(out: Path) -> tuple[Path, ...]:
    """Return the whole checkpoints of a training, the oldest first."""
    try:
        found = [path for path in (out / CHECKPOINTS).iterdir()
                 if checkpoint_step(path) is not None and (path / STATE).is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(found, key=lambda path: checkpoint_step(path) or 0))


def newest_checkpoint(out: Path) -> Path | None:
    """Return the newest whole checkpoint of a training, ``None`` if there is none."""
    return next(reversed(checkpoints(out)), None)
