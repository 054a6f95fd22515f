"""
SIGINT and SIGTERM: before a training they end the program, in it the step that is being taken.

Imports nothing that takes long: it must be in force before that is imported.
"""

from __future__ import annotations

from contextlib import suppress
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# One press of Ctrl-C may come twice, from the terminal and from who started this process.
INSISTENT = 3


class StopRequest:
    """
    Whether a person, or who started this process, wants it to end.

    :ivar name: Of the first signal that came, '' while there was none.
    """

    def __init__(self) -> None:
        """Take both signals over; only the main thread can."""
        self.name = ''
        self._waits, self._heard_of = False, 0
        for number in SIGNALS:
            signal.signal(number, self._heard)

    def __call__(self) -> bool:
        """Return whether to end."""
        return bool(self.name)

    def let_steps_end(self, wait: bool) -> None:
        """From now on a signal waits for the step to end, or, where not ``wait``, does not."""
        self._waits = wait

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._heard_of += 1
        # The first one is enough: a second one would cut off the checkpoint that it leads to. Who
        # goes on asking has seen that it does not come.
        if self._waits and self._heard_of >= INSISTENT:
            raise KeyboardInterrupt
        if self.name:
            return
        self.name = signal.Signals(number).name
        if not self._waits:
            raise KeyboardInterrupt
        # Whoever read this may be gone, as when the process that started this one has died; or the
        # signal came in the middle of a print. Neither may cost the step and its checkpoint.
        with suppress(OSError, RuntimeError):
            print(f'{self.name}: ending after this step, with a checkpoint', file=sys.stderr,
                  flush=True)
