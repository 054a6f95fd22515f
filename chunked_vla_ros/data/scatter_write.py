"""
Write many pieces to a file in few calls, without putting them together first.

Knows nothing about what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
import itertools
import os

PIECES_AT_ONCE = os.sysconf('SC_IOV_MAX')


def write_all(fd: int, buffers: Sequence[bytes], offset: int) -> int:
    """
    Write ``buffers`` to ``fd`` from ``offset`` on; return how many bytes.

    :raises OSError: not all could be written; some may have been.
    """
    start, first = offset, 0
    while first < len(buffers):
        batch: list[bytes | memoryview] = list(buffers[first:first + PIECES_AT_ONCE])
        first += len(batch)
        while batch:
            written = os.pwritev(fd, batch, offset)
            offset += written
            batch = _rest(batch, written)
    return offset - start


def _rest(batch: list[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """Return what is left of ``batch`` after ``written`` bytes of it."""
    ends = itertools.accumulate(map(len, batch))
    for place, end in enumerate(ends):
        if end > written:
            return [memoryview(batch[place])[len(batch[place]) - (end - written):],
                    *batch[place + 1:]]
    return []
