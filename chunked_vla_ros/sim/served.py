"""
An object that lives in a process of its own and is asked there, one question at a time.

The process ends with whoever started it, whatever kills that: its end of the pipe then says so.
Knows nothing of what is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import multiprocessing
from multiprocessing.connection import Connection
import signal
from typing import Any

# How long the end of a process is waited for [s], before it is killed.
PATIENCE_S = 5.0


class ServedError(RuntimeError):
    """A process died or could not answer; the message is one line."""


class Served:
    """One object in one process; `ask` and `answer` go in pairs, so that several work at once."""

    def __init__(self, make: Callable[..., Any], *given: Any) -> None:
        """Start the process, which calls ``make(*given)`` on the first question."""
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, given), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, method: str, *given: Any) -> None:
        """
        Begin ``method(*given)`` there.

        :raises ServedError: the process is gone.
        """
        try:
            self._pipe.send((method, given))
        except OSError as error:
            raise self._gone() from error

    def answer(self) -> Any:
        """
        Return what the last question came to.

        :raises ServedError: it came to an exception, or the process is gone.
        """
        try:
            fault, found = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error
        if fault:
            raise ServedError(f'a process of the simulator could not go on: {fault}')
        return found

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _gone(self) -> ServedError:
        self._process.join(PATIENCE_S)
        return ServedError(f'a process of the simulator died ({self._process.exitcode}); '
                           'start again: what was finished is kept')


def _serve(pipe: Connection, make: Callable[..., Any], given: tuple[Any, ...]) -> None:
    # Ctrl-C is for whoever leads: this one ends when the pipe does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    served = None
    with suppress(EOFError, OSError):
        while True:
            method, arguments = pipe.recv()
            try:
                served = make(*given) if served is None else served
                reply = '', getattr(served, method)(*arguments)
            except Exception as error:    # noqa: BLE001  told to whoever asked
                reply = f'{type(error).__name__}: {" ".join(str(error).split())}', None
            pipe.send(reply)
