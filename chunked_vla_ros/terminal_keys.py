"""
Read single keys from the terminal, without Enter, in a thread of its own.

The terminal gets its old settings back when reading ends, also at the process's exit. Ctrl-C stays
an interrupt; Ctrl-Z is switched off, as a process that is stopped holds nothing. Knows nothing
about what keys mean.
"""

from __future__ import annotations

import atexit
import codecs
from collections.abc import Callable, Iterator
import os
import re
import select
import sys
import termios
import threading
from typing import Any, TextIO

PIECE_BYTES = 256
JOIN_LIMIT_S = 1.0
# What terminals send for keys that are no characters (ECMA-48); others are dropped.
ARROWS = {'A': 'up', 'B': 'down', 'C': 'right', 'D': 'left'}
KEY = re.compile(r'\x1b[\[O](?P<number>[0-9;]*)(?P<end>[@-~])|(?P<plain>.)', re.DOTALL)


class NoTerminalError(OSError):
    """There is no terminal to read keys from; the message is one line that says why."""


def split_keys(text: str) -> Iterator[str]:
    """Yield the keys behind ``text``: characters, 'up', 'down', 'left', 'right' and 'escape'."""
    for match in KEY.finditer(text):
        plain = match['plain']
        if plain is not None:
            yield 'escape' if plain == '\x1b' else plain
        elif match['end'] in ARROWS:
            yield ARROWS[match['end']]


class TerminalKeys:
    """
    Call ``on_key`` with every key, from a thread, until `close`.

    Usable as a context manager.
    """

    def __init__(self, on_key: Callable[[str], None], stream: TextIO | None = None) -> None:
        """
        Begin to read ``stream``, by default standard input.

        :raises NoTerminalError: it is not a terminal, or one that another program is using.
        """
        self._on_key = on_key
        self._terminal = _terminal_of(sys.stdin if stream is None else stream)
        self._saved = termios.tcgetattr(self._terminal)
        self._wake_read, self._wake_write = os.pipe()
        self._closed = threading.Lock()
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, _single_keys(self._saved))
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._read, name='keys', daemon=True)
        self._thread.start()

    def __enter__(self) -> TerminalKeys:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Return whether keys can still come."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End reading and give the terminal its settings back; a second call does nothing."""
        if not self._closed.acquire(blocking=False):
            return
        atexit.unregister(self.close)
        os.write(self._wake_write, b'.')
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_LIMIT_S)
        try:
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._saved)
        except termios.error:    # the terminal window was closed
            pass
        if not self._thread.is_alive():
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder('utf-8')('ignore')
        while True:
            ready, _, _ = select.select([self._terminal, self._wake_read], [], [])
            if self._wake_read in ready:
                return
            try:
                piece = os.read(self._terminal, PIECE_BYTES)
            except OSError:    # the terminal window was closed
                return
            if not piece:
                return
            for key in split_keys(decoder.decode(piece)):
                self._on_key(key)


def _terminal_of(stream: TextIO) -> int:
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError) as error:
        raise NoTerminalError('standard input is closed') from error
    if not os.isatty(number):
        raise NoTerminalError('standard input is not a terminal')
    try:
        foreground = os.tcgetpgrp(number)
    except OSError:    # not the terminal that started this session: nobody else's either
        return number
    # Reading from the background would stop the whole process.
    if foreground != os.getpgrp():
        raise NoTerminalError('this process runs in the background of its terminal')
    return number


def _single_keys(settings: list[Any]) -> list[Any]:
    """Return terminal ``settings`` with keys passed on at once, unseen, and Ctrl-Z off."""
    changed = [*settings[:6], list(settings[6])]
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    changed[6][termios.VSUSP] = b'\x00'
    return changed
