"""
Remove what a killed process leaves in Fast DDS's shared memory: 8 MiB each with our profile.

Fast DDS itself never does, and a container has 64 MB. A segment whose owner lives is locked by it
and is left alone. Knows nothing about who was killed, or why.
"""

from __future__ import annotations

from collections.abc import Iterable
import fcntl
from pathlib import Path
import re

SEGMENT = re.compile(r'/dev/shm/fastrtps_[0-9a-f]{16}')
LOCK_SUFFIX = '_el'


def segments_of(pid: int) -> set[Path]:
    """Return the segments that a process uses, its own and those of its peers."""
    found = SEGMENT.findall(Path(f'/proc/{pid}/maps').read_text(encoding='utf-8'))
    return {Path(each) for each in found}


def remove_ownerless(segments: Iterable[Path]) -> list[Path]:
    """Delete those of ``segments`` whose owner is dead; return them."""
    removed = []
    for segment in segments:
        lock = segment.with_name(segment.name + LOCK_SUFFIX)
        try:
            with lock.open('rb') as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segment.unlink()
                lock.unlink()
        except OSError:    # it is locked, or has gone already
            continue
        removed.append(segment)
    return removed
