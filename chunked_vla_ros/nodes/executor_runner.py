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
import time

from rclpy.node import Node

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import Answer, Command, ExecutorStatus, Mode
from chunked_vla_ros.nodes.control_loop import ControlLoop

ANSWER_TIMEOUT_S = 1.0
# Beyond the longest stop that the limits allow.
STOP_MARGIN_S = 1.0
# Switch threads often: a callback that holds the interpreter for 5 ms would delay ticks.
SWITCH_INTERVAL_S = 0.0001

Request = Callable[[Executor, int], Answer]
Poll = Callable[[Executor, int], None]
Publish = Callable[[Executor, Command, int], None]
Tell = Callable[[ExecutorStatus, tuple[float, float]], None]


class ExecutorRunner:
    """
    Step ``executor`` on ``node``'s clock.

    :ivar status: Snapshot as last told; true of the last tick once `stop` has returned.
    """

    def __init__(self, node: Node, executor: Executor, poll: Poll, publish: Publish, tell: Tell,
                 tell_period_s: float, report: Callable[[str], None]) -> None:
        """
        Start; all callables are called by the control thread.

        :param poll: Hands over to the executor what has come since the last tick.
        :param publish: Gets each command and its tick's number.
        :param tell: Gets a snapshot and lateness every ``tell_period_s`` [s].
        :param report: Gets what is fatal.
        """
        self.executor = executor
        self._poll, self._publish, self._tell, self._report = poll, publish, tell, report
        self._tell_period_s, self._tell_at_s = tell_period_s, 0.0
        self._node_ns, self._failed, self._dead, self._inputs_work = 0, False, False, True
        self._requests: SimpleQueue[Callable[[int], None]] = SimpleQueue()
        self._ticks = 0
        self._stop_asked, self._at_rest = False, threading.Event()
        self.status: ExecutorStatus = executor.status(0)
        self._loop = ControlLoop(node, executor.period_ns, self._tick, self._fail,
                                 self._tell_if_due)
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
        reached = self._at_rest.wait(self.executor.longest_stop_s + STOP_MARGIN_S)
        self._loop.stop()
        gc.unfreeze()
        if not self._dead:
            self.status = self.executor.status(self._node_ns)
        return reached

    def lateness_s(self) -> tuple[float, float]:
        """Return median and 99th percentile of tick lateness in [s]."""
        return self._loop.lateness_s()

    def _tick(self, node_ns: int, steady_ns: int) -> None:
        self._node_ns = node_ns
        self._take_inputs(node_ns)
        try:
            command = self.executor.step(node_ns, steady_ns)
            if command is not None:
                self._publish(self.executor, command, self._ticks)
            self._failed = False
        except Exception as error:
            if self._failed:
                raise
            self._failed = True
            self._stop_for(error)
        self._ticks += 1
        self._tell_if_due()
        if self._stop_asked and self.executor.at_rest:
            self._at_rest.set()

    def _take_inputs(self, node_ns: int) -> None:
        """Serve requests and messages; after an error of theirs only once the arm is at rest."""
        if not (self._inputs_work or self.executor.at_rest):
            return
        try:
            self._serve_requests(node_ns)
            self._poll(self.executor, node_ns)
            self._inputs_work = True
        except Exception as error:  # noqa: BLE001 - the arm must come to rest whatever it is
            if self._inputs_work:
                self._stop_for(error)
            self._inputs_work = False

    def _stop_for(self, error: Exception) -> None:
        self._report(f'internal error, stopping: {error!r}')
        self.executor.fail(f'internal error: {error!r}')

    def _tell_if_due(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._tell_at_s:
            # Ticks and periods are no multiples of each other: the mean rate is kept.
            self._tell_at_s = max(self._tell_at_s + self._tell_period_s, now_s)
            if not self._dead:
                self.status = self.executor.status(self._node_ns)
            self._tell(self.status, self.lateness_s())

    def _serve_requests(self, node_ns: int) -> None:
        while not self._requests.empty():
            self._requests.get()(node_ns)

    def _fail(self, error: BaseException) -> None:
        self._dead = True
        self.status = replace(self.status, mode=Mode.FAULT, command=None,
                              reason=f'internal error, no more commands: {error!r}')
        self._report(self.status.reason)
