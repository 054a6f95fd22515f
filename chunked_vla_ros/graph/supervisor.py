"""
Run a graph as child processes: the stand-in for launch where launch is not installed.

Forwards the end exactly once, respawns what may be respawned, ends with what is required. Knows
processes and node specifications; nothing about ROS topics or command lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import os
import signal
import threading
import time
from types import TracebackType

from chunked_vla_ros.graph.child import Child
from chunked_vla_ros.graph.node_spec import NodeSpec, USAGE_EXIT_CODE

POLL_PERIOD_S = 0.05
KILL_AFTER_S = 2.0
# A process that was still starting when the interrupt came ends by it.
CLEAN_ENDS = (0, -signal.SIGINT, None)


class Supervisor:
    """
    Start ``specs`` on entry, stop them on exit; a thread of its own watches over them.

    :ivar failure: Why the graph ended by itself, one line, or empty.
    """

    def __init__(self, specs: Sequence[NodeSpec], *, env: Mapping[str, str] | None = None,
                 on_line: Callable[[str, str], None] = lambda name, line: None) -> None:
        environment = {**os.environ, **(env or {})}
        self.failure = ''
        self._on_line = on_line
        self._children = {spec.name: Child(spec, environment, on_line) for spec in specs}
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._finished = threading.Event()
        self._respawn_at: dict[str, float] = {}
        self._escalated: list[str] = []
        # Children are tied to the life of the thread that starts them: all start in this one.
        self._thread = threading.Thread(target=self._watch, name='supervisor')

    def __enter__(self) -> Supervisor:
        """Start every process."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Stop every process and wait for its end."""
        self.stop()

    def pid(self, name: str) -> int | None:
        """Return the process id of node ``name``, or None while it does not run."""
        return self._children[name].pid

    def poll(self) -> dict[str, int | None]:
        """Return each node's exit code, None while it runs."""
        return {name: child.exit_code for name, child in self._children.items()}

    def starts(self, name: str) -> int:
        """Return how often node ``name`` was started."""
        return self._children[name].starts

    def log_tail(self, name: str, lines: int = 20) -> list[str]:
        """Return the last ``lines`` lines of node ``name``."""
        return self._children[name].log_tail(lines)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the graph has ended; return whether it has."""
        return self._finished.wait(timeout_s)

    def stop(self) -> None:
        """Interrupt every process once, escalate what does not end, wait for all."""
        self._stopping.set()
        self._thread.join()

    @property
    def exit_code(self) -> int:
        """Return 0 after a clean end, 2 after a user's mistake, 1 after any other failure."""
        codes = [child.exit_code for child in self._children.values()]
        if self.failure and USAGE_EXIT_CODE in codes:
            return USAGE_EXIT_CODE
        clean = all(code in CLEAN_ENDS for code in codes)
        return 0 if clean and not self.failure and not self._escalated else 1

    def _watch(self) -> None:
        try:
            for child in self._children.values():
                child.start()
        except OSError as error:
            self._fail(f'cannot start a process: {error}')
        self._started.set()
        while not self._stopping.wait(POLL_PERIOD_S):
            for child in self._children.values():
                self._check(child)
        self._end()
        self._finished.set()

    def _check(self, child: Child) -> None:
        """Apply the respawn rule to ``child`` if it has ended."""
        name, code = child.spec.name, child.exit_code
        if code is None:
            return
        if code == USAGE_EXIT_CODE:
            self._fail(f'{name} refused its configuration')
        elif child.spec.required or not child.spec.respawn:
            self._fail(f'{name} {_ending(code)}')
        elif name not in self._respawn_at:
            delay_s = child.spec.respawn_delay_s
            self._on_line(name, f'{_ending(code)}, starting again in {delay_s:g} s')
            self._respawn_at[name] = time.monotonic() + delay_s
        elif time.monotonic() >= self._respawn_at[name]:
            del self._respawn_at[name]
            child.start()

    def _fail(self, reason: str) -> None:
        if not self.failure:
            self.failure = reason
        self._stopping.set()

    def _end(self) -> None:
        """Interrupt every process and wait for its end, as long as its patience lasts."""
        begun_s = time.monotonic()
        for child in self._running():
            child.signal(signal.SIGINT)
        past_s = 0.0
        while waited_for := [child for child in self._running()
                             if past_s < child.spec.stop_patience_s + 2 * KILL_AFTER_S]:
            time.sleep(POLL_PERIOD_S)
            past_s = time.monotonic() - begun_s
            for child in waited_for:
                self._press(child, past_s - child.spec.stop_patience_s)
        for child in self._children.values():
            child.close()

    def _press(self, child: Child, late_s: float) -> None:
        """Terminate a process that should have ended by now; kill it if that was long ago."""
        if late_s >= KILL_AFTER_S:
            child.kill_group()
        elif late_s >= 0.0 and child.pid is not None and child.spec.name not in self._escalated:
            self._escalated.append(child.spec.name)
            self._on_line(child.spec.name, 'does not end, terminating it')
            child.signal(signal.SIGTERM)

    def _running(self) -> list[Child]:
        return [child for child in self._children.values() if child.pid is not None]


def _ending(code: int) -> str:
    if code >= 0:
        return f'ended with exit code {code}'
    return f'was ended by {signal.Signals(-code).name}'
