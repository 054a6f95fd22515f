"""
Run a function at absolute deadlines in a thread of its own.

An rclpy timer loses ticks (930 of 1000 Hz were measured), a deadline loop does not drift. With
simulated time the loop is woken by /clock instead. Knows nothing about what it runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading
import time

import numpy as np
from rclpy.node import Node

from chunked_vla_ros.nodes.clock_listener import ClockListener

WINDOW = 1000
NO_CLOCK_TIMEOUT_S = 0.1
# Preempted between two readings, a command would be stamped milliseconds off its motion.
TORN_READING_NS = 50_000
READ_ATTEMPTS = 4


class ControlLoop:
    """Call ``tick(node_ns, steady_ns)`` every ``period_ns`` on ``node``'s clock until `stop`."""

    def __init__(self, node: Node, period_ns: int, tick: Callable[[int, int], None],
                 on_error: Callable[[BaseException], None]) -> None:
        self._clock, self._period_ns = node.get_clock(), period_ns
        self._tick, self._on_error = tick, on_error
        self._lateness_s: deque[float] = deque(maxlen=WINDOW)
        self._stopping = threading.Event()
        self._clock_moved = threading.Event()
        self._ros_time_ns = 0
        self._listener: ClockListener | None = None
        run = self._run_steady
        if self._clock.ros_time_is_active:
            run = self._run_ros_time
            self._listener = ClockListener(node.get_name(), node.context, self._on_ros_time)
        self._thread = threading.Thread(target=run, name='control_loop', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the tick under way."""
        self._stopping.set()
        self._clock_moved.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        if self._listener is not None:
            self._listener.close()

    def lateness_s(self) -> tuple[float, float]:
        """Return median and 99th percentile of the lateness of recent ticks in [s]."""
        recent = list(self._lateness_s)
        if not recent:
            return 0.0, 0.0
        p50, p99 = np.percentile(recent, (50, 99))
        return float(p50), float(p99)

    def _run_steady(self) -> None:
        deadline_ns = time.monotonic_ns()
        while not self._stopping.is_set():
            deadline_ns += self._period_ns
            wait_ns = deadline_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns * 1e-9)
            node_ns, now_ns = self._read_clocks()
            self._lateness_s.append((now_ns - deadline_ns) * 1e-9)
            if not self._serve(node_ns, now_ns):
                return
            # Deadlines that a stall has swallowed are skipped: the next tick uses the true time.
            missed = (time.monotonic_ns() - deadline_ns) // self._period_ns
            deadline_ns += missed * self._period_ns

    def _read_clocks(self) -> tuple[int, int]:
        """Return node and steady time of one instant: readings that were torn apart are redone."""
        for _ in range(READ_ATTEMPTS):
            before_ns = time.monotonic_ns()
            node_ns = int(self._clock.now().nanoseconds)
            steady_ns = time.monotonic_ns()
            if steady_ns - before_ns < TORN_READING_NS:
                break
        return node_ns, steady_ns

    def _on_ros_time(self, now_ns: int) -> None:
        self._ros_time_ns = now_ns
        self._clock_moved.set()

    def _run_ros_time(self) -> None:
        served_ns = 0
        while not self._stopping.is_set():
            self._clock_moved.wait(NO_CLOCK_TIMEOUT_S)
            self._clock_moved.clear()
            now_ns = self._ros_time_ns
            # 1 % short of a period counts: /clock ticks are not exact multiples of ours.
            if now_ns < served_ns or now_ns - served_ns >= 0.99 * self._period_ns:
                served_ns = now_ns
                self._lateness_s.append(0.0)
                if not self._serve(now_ns, now_ns):
                    return

    def _serve(self, node_ns: int, steady_ns: int) -> bool:
        try:
            self._tick(node_ns, steady_ns)
        except Exception as error:  # noqa: BLE001 - a dead loop must be reported, not silent
            self._on_error(error)
            return False
        return True
