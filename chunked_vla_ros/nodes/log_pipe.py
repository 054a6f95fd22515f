"""
Keep whoever reads a process's log from stopping the process.

rclpy writes its log holding the interpreter lock: a terminal paused with Ctrl-S, or a pager that
nobody scrolls, fills the pipe and then stops every thread, the emergency stop's too. Here the log
goes through a pipe of our own that never blocks its writers: a thread empties it, and when that
thread is held up, lines are lost instead of motion. Knows nothing about what is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import faulthandler
import os
import signal
import sys
import threading
from typing import TextIO

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
PIECE_BYTES = 65536
FLUSH_LIMIT_S = 1.0


@contextmanager
def unblockable_log() -> Iterator[None]:
    """Until the block ends, what is written to standard output and error is never waited for."""
    drains = [_Drain(number) for number in (STANDARD_OUTPUT, STANDARD_ERROR)]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        for drain in drains:
            drain.close()


class _Drain:
    """A pipe in the place of one file descriptor, and the thread that empties it."""

    def __init__(self, number: int) -> None:
        self._number, self._target = number, os.dup(number)
        self._source, entrance = os.pipe()
        os.set_blocking(entrance, False)
        os.dup2(entrance, number)
        os.close(entrance)
        if number == STANDARD_ERROR:
            faulthandler.enable(file=self._target)    # a crash is told without the thread
            _tell_where_it_hangs(self._target)
        self._thread = threading.Thread(target=self._run, name='log', daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while piece := os.read(self._source, PIECE_BYTES):
            try:
                while piece:
                    piece = piece[os.write(self._target, piece):]
            except OSError:    # nobody reads any more: go on emptying, so that nobody waits
                continue

    def close(self) -> None:
        """Give the descriptor back and pass on the rest, unless that is held up."""
        if self._number == STANDARD_ERROR:
            faulthandler.disable()
        os.dup2(self._target, self._number)    # closes the entrance: the thread sees the end
        self._thread.join(FLUSH_LIMIT_S)


def _tell_where_it_hangs(target: int) -> None:
    """
    At SIGQUIT write where every thread is, past the pipe, as its thread may hang too.

    Until the end of the process, which may be what hangs. Through an opening of its own, which
    can be one that nobody waits for; what has none, as a socket, gets nothing.
    """
    with suppress(OSError):
        own = os.open(f'/proc/self/fd/{target}', os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        faulthandler.register(signal.SIGQUIT, file=own)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):    # full, or closed: the lines are lost
        return
