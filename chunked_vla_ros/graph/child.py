"""
One child process of a graph: starts it, keeps the end of its log, ends it.

The supervisor decides when; nothing here knows other children or respawn rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading

from chunked_vla_ros.graph import tied_process
from chunked_vla_ros.graph.installation import executable
from chunked_vla_ros.graph.node_spec import NodeSpec

LOG_LINES_KEPT = 200
LAST_WORDS_S = 0.5


class Child:
    """
    A node's process, started anew by each `start`.

    :ivar spec: What it runs.
    :ivar starts: How often it was started.
    """

    def __init__(self, spec: NodeSpec, environment: Mapping[str, str],
                 on_line: Callable[[str, str], None]) -> None:
        self.spec = spec
        self.starts = 0
        self._launcher: Path = executable(spec.executable)
        # Unbuffered, so that the log shows a line when it was said.
        self._environment = {
            **environment, **spec.environment, 'PYTHONUNBUFFERED': '1',
            'RCUTILS_LOGGING_BUFFERED_STREAM': '1'}
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """
        Start the process, tied to the calling thread's life.

        A session of its own keeps the terminal's Ctrl-C from it: the supervisor forwards one.
        """
        keys = self.spec.keys and in_foreground()
        self._join_reader()
        self.starts += 1
        self._process = subprocess.Popen(
            [sys.executable, '-S', '-E', tied_process.__file__, str(os.getpid()), sys.executable,
             str(self._launcher), *self.spec.ros_arguments()],
            env=self._environment, stdin=None if keys else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace', start_new_session=True)
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name=f'log-{self.spec.name}', daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int | None:
        """Return the running process's id, or None."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """Return the newest process's exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send ``number`` to the process if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the process and whatever it started; a node first says where it hangs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_WORDS_S)
            # Its own end, if the signal was that, leaves those that it started.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def log_tail(self, lines: int) -> list[str]:
        """Return the last ``lines`` lines that the process wrote."""
        return list(self._lines)[-lines:]

    def close(self) -> None:
        """Read the rest of the log of an ended process."""
        self._join_reader()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None    # PIPE above
        with process.stdout as stream:
            for line in stream:
                self._lines.append(line.rstrip('\n'))
                self._on_line(self.spec.name, line.rstrip('\n'))

    def _join_reader(self) -> None:
        if self._reader is not None:
            # A grandchild may hold the pipe open: the log is not worth waiting for it.
            self._reader.join(timeout=1.0)


def in_foreground() -> bool:
    """Return whether what is typed in the terminal, if there is one, is typed for this process."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:    # no standard input, none that is a terminal, or another session's
        return False
