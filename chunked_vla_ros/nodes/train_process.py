"""
A child process that does the offline trainer's work, its words and its end.

Started by `chunked-vla`'s own module, tied to this process's life: a trainer that is killed leaves
no conversion or training behind. Decides nothing; what a line means is `core.training_words`'s
business.
"""

from __future__ import annotations

from collections import deque
import os
import signal
import subprocess
import sys
import threading
import time

from chunked_vla_ros.core.training_job import Command, Stage, Termination
from chunked_vla_ros.core.training_words import JobEnd, parse_line, ProcessEnd, Progress
from chunked_vla_ros.graph import tied_process

# A video encoder finishes its frame, a worker its table; a training its step and a checkpoint,
# gigabytes to a slow disk. Then it is made to end.
STOP_PATIENCE_S = {Stage.CONVERT: 20.0, Stage.IMITATION: 180.0, Stage.OFFLINE_RL: 180.0}
# A grandchild may hold a pipe open: so long the last words of an ended child are waited for.
LAST_WORDS_S = 2.0


class TrainProcess:
    """
    One command under way.

    :ivar log: The newest lines of the child's log.
    """

    def __init__(self, command: Command, patience_s: float | None = None) -> None:
        """
        Start it.

        :param patience_s: From being asked to end to being made to, by default as its stage needs.
        :raises OSError: no process can be started.
        """
        self.stage = command.stage
        self.log: deque[str] = deque(maxlen=100)
        self._patience_s = STOP_PATIENCE_S[self.stage] if patience_s is None else patience_s
        self._said: JobEnd | None = None
        self._last_step = 0
        self._progress: deque[Progress] = deque(maxlen=1)
        self._stopped: Termination | None = None
        self._stop_asked_s = 0.0
        self._ended_s: float | None = None
        self._process = subprocess.Popen(
            [sys.executable, '-S', '-E', tied_process.__file__, str(os.getpid()), sys.executable,
             '-m', 'chunked_vla_ros', *command.arguments],
            env={**os.environ, 'PYTHONUNBUFFERED': '1', 'COLUMNS': '200'},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors='replace', start_new_session=True)
        self._readers = [
            threading.Thread(target=self._read_words, name='train-words', daemon=True),
            threading.Thread(target=self._read_log, name='train-log', daemon=True)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._process.pid

    def newest_progress(self) -> Progress | None:
        """Return once what was said last of how far the job is."""
        try:
            return self._progress.popleft()
        except IndexError:
            return None

    def stop(self, why: Termination) -> None:
        """Ask the child to end; what it has finished is kept."""
        if self._stopped is None:
            self._stopped, self._stop_asked_s = why, time.monotonic()
            self._signal(signal.SIGINT)

    def poll(self) -> ProcessEnd | None:
        """Return how the child ended, ``None`` while it goes on; never waits."""
        code = self._process.poll()
        if code is None:
            overdue = time.monotonic() - self._stop_asked_s > self._patience_s
            if self._stopped is not None and overdue:
                self._signal(signal.SIGKILL)
            return None
        if self._ended_s is None:
            self._ended_s = time.monotonic()
        if (any(reader.is_alive() for reader in self._readers)
                and time.monotonic() - self._ended_s < LAST_WORDS_S):
            return None
        return ProcessEnd(self._said, code, self._stopped, self.log[-1] if self.log else '',
                          self._last_step)

    def _signal(self, number: signal.Signals) -> None:
        try:
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)
        except ProcessLookupError:
            pass    # it ended by itself

    def _read_words(self) -> None:
        assert self._process.stdout is not None    # PIPE above
        with self._process.stdout as stream:
            for line in stream:
                said = parse_line(line)
                if isinstance(said, Progress):
                    self._last_step = said.step
                    self._progress.append(said)
                elif said is not None:
                    self._said = said

    def _read_log(self) -> None:
        assert self._process.stderr is not None    # PIPE above
        with self._process.stderr as stream:
            for line in stream:
                if line.strip():
                    self.log.append(line.strip())
