"""Signals that ask a process to end: noted, and acted on where its work can be left in order."""

from __future__ import annotations

import signal


def note_signals(*numbers: int) -> list[int]:
    """
    Return a list to which each of these signals is added as it comes, from now on.

    :raises ValueError: this is not the main thread.
    """
    # No threading.Event: a second signal while the first one sets it would wait for itself.
    noted: list[int] = []
    for number in numbers:
        signal.signal(number, lambda caught, _: noted.append(caught))
    return noted
