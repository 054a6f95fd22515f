"""
Own the executor and the thread that steps it.

Only the control thread touches the executor; everyone else hands over or asks. It also takes the
snapshots, so that what is published was true at one instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import gc
from queue import SimpleQueue
import sys
import threading

from rclpy.node import Node

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Answer, Command, ExecutorStatus, Mode
from chunked_vla_ros.nodes.control_loop import ControlLoop

ANSWER_TIMEOUT_S = 1.0
STOP_TIMEOUT_S = 1.5
# Switch threads often: a callback that holds the interpreter for 5 ms would delay ticks.
SWITCH_INTERVAL_S = 0.0005

Request = Callable[[Executor, int], Answer]


class ExecutorRunner:
    """
    Step ``executor`` on ``node``'s clock.

    :ivar status: Snapshot of the newest tick.
    """

    def __init__(self, node: Node, executor: Executor,
                 publish: Callable[[Executor, Command, int], None],
                 report: Callable[[str], None]) -> None:
        """Start; ``publish`` gets each command and its tick's number, ``report`` what is fatal."""
        self.executor = executor
        self._publish, self._report = publish, report
        self._requests: SimpleQueue[Callable[[int], None]] = SimpleQueue()
        self._ticks = 0
        self._stop_asked, self._at_rest = False, threading.Event()
        self.status: ExecutorStatus = executor.status(0)
        self._loop = ControlLoop(node, executor.period_ns, self._tick, self._fail)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()
        self._loop.start()

    def ask(self, request: Request) -> Answer:
        """Let the control thread serve ``request(executor, node_ns)`` and return its answer."""
        answered = threading.Event()
        answers: list[Answer] = []

        given_up = threading.Event()

        def serve(node_ns: int) -> None:
            # Nobody waits any more: what was answered with a failure must not happen later.
            if not given_up.is_set():
                answers.append(request(self.executor, node_ns))
                answered.set()

        self._requests.put(serve)
        if not answered.wait(ANSWER_TIMEOUT_S):
            given_up.set()
            return Answer(False, 'the control loop does not tick; is /clock running?')
        return answers[0]

    def stop(self, reason: str) -> bool:
        """Bring the arm to rest, end the thread; return whether rest was reached in time."""
        def begin(_: int) -> None:
            self.executor.request_stop(reason)
            self._stop_asked = True

        self._requests.put(begin)
        reached = self._at_rest.wait(STOP_TIMEOUT_S)
        self._loop.stop()
        gc.unfreeze()
        return reached

    def lateness_s(self) -> tuple[float, float]:
        """Return median and 99th percentile of tick lateness in [s]."""
        return self._loop.lateness_s()

    def _tick(self, node_ns: int, steady_ns: int) -> None:
        self._serve_requests(node_ns)
        command = self.executor.step(node_ns, steady_ns)
        if command is not None:
            self._publish(self.executor, command, self._ticks)
        self.status = self.executor.status(node_ns)
        self._ticks += 1
        if self._stop_asked and self.executor.at_rest:
            self._at_rest.set()

    def _serve_requests(self, node_ns: int) -> None:
        while not self._requests.empty():
            self._requests.get()(node_ns)

    def _fail(self, error: BaseException) -> None:
        self.status = replace(self.status, mode=Mode.FAULT, command=None,
                              reason=f'internal error, no more commands: {error!r}')
        self._report(self.status.reason)
