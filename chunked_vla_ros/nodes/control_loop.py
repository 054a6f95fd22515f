"""
Run a function at absolute deadlines in a thread of its own.

An rclpy timer loses ticks (930 of 1000 Hz were measured), a deadline loop does not drift. With
simulated time the loop is woken by /clock instead. Knows nothing about what it runs.
"""

from __future__ import annotations

from collections.abc import Callable
import threading
import time

import numpy as np
from rclpy.node import Node

from chunked_vla_ros.nodes.clock_listener import ClockListener
from chunked_vla_ros.nodes.realtime import name_thread

WINDOW = 1000
# After so many ticks percentiles are worth computing anew.
REFRESH = 100
THREAD_NAME = 'control_loop'
# How soon what waits between ticks of simulated time is served.
IDLE_PERIOD_S = 0.02
# Preempted between two readings, a command would be stamped milliseconds off its motion.
TORN_READING_NS = 50_000
READ_ATTEMPTS = 4


class ControlLoop:
    """Call ``tick(node_ns, steady_ns)`` every ``period_ns`` on ``node``'s clock until `stop`."""

    def __init__(self, node: Node, period_ns: int, tick: Callable[[int, int], None],
                 on_error: Callable[[BaseException], None],
                 idle: Callable[[], None] = lambda: None) -> None:
        """Prepare; ``idle`` is called about every 20 ms while nothing ticks."""
        self._period_ns = period_ns
        self._tick, self._on_error, self._idle = tick, on_error, idle
        self._lateness_s = np.zeros(WINDOW)
        self._served = self._judged_at = 0
        self._percentiles = 0.0, 0.0
        self._stopping = threading.Event()
        self._clock_moved = threading.Event()
        self._ros_time_ns = 0
        self._listener: ClockListener | None = None
        run = self._run_steady
        if node.get_clock().ros_time_is_active:
            run = self._run_ros_time
            self._listener = ClockListener(node.get_name(), node.context, self._on_ros_time)
        self._thread = threading.Thread(target=run, name=THREAD_NAME, daemon=True)

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
        if self._served - self._judged_at >= REFRESH or self._judged_at == 0:
            recent = np.sort(self._lateness_s[:self._served])
            if recent.size:
                last = recent.size - 1
                self._percentiles = float(recent[last // 2]), float(recent[round(0.99 * last)])
            self._judged_at = self._served
        return self._percentiles

    def _run_steady(self) -> None:
        name_thread(THREAD_NAME)
        deadline_ns = time.monotonic_ns()
        while not self._stopping.is_set():
            deadline_ns += self._period_ns
            wait_ns = deadline_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns * 1e-9)
            node_ns, now_ns = self._read_clocks()
            self._note_lateness((now_ns - deadline_ns) * 1e-9)
            if not self._serve(node_ns, now_ns):
                break
            # Of deadlines that a stall has swallowed the last is served at once, which keeps the
            # mean rate, and those before it are skipped: every tick uses the true time.
            missed = (time.monotonic_ns() - deadline_ns) // self._period_ns
            deadline_ns += max(missed - 1, 0) * self._period_ns
        self._outlive()

    def _note_lateness(self, lateness_s: float) -> None:
        self._lateness_s[self._served % WINDOW] = lateness_s
        self._served += 1

    def _read_clocks(self) -> tuple[int, int]:
        """Return node and steady time of one instant: readings that were torn apart are redone."""
        for _ in range(READ_ATTEMPTS):
            before_ns = time.monotonic_ns()
            node_ns = time.time_ns()    # what the node's clock reads without simulated time
            steady_ns = time.monotonic_ns()
            if steady_ns - before_ns < TORN_READING_NS:
                break
        return node_ns, steady_ns

    def _on_ros_time(self, now_ns: int) -> None:
        self._ros_time_ns = now_ns
        self._clock_moved.set()

    def _run_ros_time(self) -> None:
        name_thread(THREAD_NAME)
        served_ns = 0
        while not self._stopping.is_set():
            if not self._clock_moved.wait(IDLE_PERIOD_S):
                self._idle()
                continue
            self._clock_moved.clear()
            now_ns = self._ros_time_ns
            # 1 % short of a period counts: /clock ticks are not exact multiples of ours.
            if now_ns < served_ns or now_ns - served_ns >= 0.99 * self._period_ns:
                served_ns = now_ns
                self._note_lateness(0.0)
                if not self._serve(now_ns, now_ns):
                    break
        self._outlive()

    def _outlive(self) -> None:
        """Go on telling what ended the ticks."""
        while not self._stopping.wait(IDLE_PERIOD_S):
            self._idle()

    def _serve(self, node_ns: int, steady_ns: int) -> bool:
        try:
            self._tick(node_ns, steady_ns)
        except Exception as error:  # noqa: BLE001 - a dead loop must be reported, not silent
            self._on_error(error)
            return False
        return True
