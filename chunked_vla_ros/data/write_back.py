"""
Make the system write a growing file to the disk while it grows, in a thread that may wait.

Else the kernel keeps gigabytes for later and closing waits for them all. Knows nothing about what
is in the file.
"""

from __future__ import annotations

from contextlib import suppress
import os
import queue
import threading

PAGE = os.sysconf('SC_PAGE_SIZE')


class WriteBack:
    """Follow the file ``fd``, which must stay open until `stop`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ends: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def advance(self, end: int) -> None:
        """Say that the file is written up to ``end``; never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name='write-back', daemon=True)
            self._thread.start()
        self._ends.put(end)

    def stop(self) -> None:
        """Return when the file descriptor is no longer used."""
        if self._thread is not None:
            self._ends.put(None)
            self._thread.join()
            self._thread = None

    def _follow(self) -> None:
        begun = 0
        while (end := self._ends.get()) is not None:
            # The last page is likely to be written once more.
            end -= end % PAGE
            # Linux takes the advice 'not needed' as 'begin to write it now'. What is not on the
            # disk yet stays in memory; the call waits only while the disk's queue is full.
            with suppress(OSError):
                os.posix_fadvise(self._fd, begun, end - begun, os.POSIX_FADV_DONTNEED)
            begun = end
