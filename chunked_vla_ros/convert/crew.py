"""
The worker processes of a conversion: give each a bag, hear what they say, replace one that dies.

They end with this process, whatever kills it. Knows the lines that pass, not what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import json
import os
from pathlib import Path
import selectors
import signal
import subprocess
import sys
from typing import Any, TextIO

from chunked_vla_ros.graph import tied_process

PROGRAM = 'chunked_vla_ros.convert.worker'
CHUNK = 1 << 16


class Worker:
    """
    One worker process.

    :ivar bag: Number of the bag that it is at, ``None`` if it has none.
    """

    def __init__(self, setup: Mapping[str, Any], log: TextIO) -> None:
        self.bag: int | None = None
        self._rest = b''
        self._process = subprocess.Popen(
            [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
             sys.executable, '-m', PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            # Ctrl-C is for whoever leads: workers are ended, not interrupted.
            start_new_session=True)
        assert self._process.stdout is not None
        self.output = self._process.stdout
        self.tell(setup)

    def tell(self, content: Mapping[str, Any]) -> None:
        """Send a line; a worker that is dead does not hear it, and its end will be read."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content).encode() + b'\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def heard(self) -> list[dict[str, Any]] | None:
        """Return what it said since, ``None`` once it has ended."""
        piece = os.read(self.output.fileno(), CHUNK)
        if not piece:
            return None
        *lines, self._rest = (self._rest + piece).split(b'\n')
        return [json.loads(line) for line in lines]

    def end(self) -> str:
        """End the process, if it has not ended by itself; return how it ended."""
        if self._process.poll() is None:
            # Its output may end a moment before itself.
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        code = self._process.wait()
        self.output.close()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        return signal.Signals(-code).name if code < 0 else f'exit code {code}'

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self.end()


class Crew:
    """
    Up to ``size`` workers, started as they are needed.

    :param setup: The first line that each gets.
    :param log: Takes what they write to standard error.
    """

    def __init__(self, size: int, setup: Mapping[str, Any], log: TextIO) -> None:
        self._size, self._setup, self._log = size, setup, log
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()

    def free(self) -> Worker | None:
        """Return a worker without a bag, a new one if need be, ``None`` if all are at work."""
        for worker in self._workers:
            if worker.bag is None:
                return worker
        if len(self._workers) == self._size:
            return None
        worker = Worker(self._setup, self._log)
        self._workers.append(worker)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def at_work(self) -> bool:
        """Return whether a worker has a bag."""
        return any(worker.bag is not None for worker in self._workers)

    def hear(self, timeout_s: float) -> Iterator[tuple[Worker, dict[str, Any]]]:
        """Yield what workers say; of one that has ended ``{kind: 'ended', how}``."""
        for key, _ in self._selector.select(timeout_s):
            worker: Worker = key.data
            said = worker.heard()
            if said is None:
                self._selector.unregister(worker.output)
                self._workers.remove(worker)
                yield worker, {'kind': 'ended', 'how': worker.end()}
            else:
                yield from ((worker, line) for line in said)

    def close(self) -> None:
        """End all of them at once: what they had not finished is done again another time."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._selector.close()
