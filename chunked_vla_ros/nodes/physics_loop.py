"""
Run the simulated world in its own thread, paced to the wall clock.

The loop follows the wall clock by one cycle: when a cycle is run, all commands that arrived in it
are known and each acts at the instant it arrived. Only the loop's thread touches the world; others
hand it functions. Knows nothing about topics.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent import futures
import itertools
import threading
import time
from typing import Any

from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.sim.simulated_robot import SimulatedRobot

# Farther behind than this, simulated time is given up instead of run after.
MAX_BEHIND_NS = 250_000_000
# Wall clock readings scatter by this much; a larger change is a clock that was set.
CLOCK_SCATTER_NS = 500_000

Command = Callable[[SimulatedRobot, int], None]
Request = Callable[[SimulatedRobot], Any]


class PhysicsLoop:
    """
    Owns a world.

    :param period_ns: Simulated time of a cycle.
    :param after_cycle: Called in the loop's thread after each cycle, with the world.
    :ivar given_up_ns: Simulated time that was not run because the machine was too slow.
    """

    def __init__(self, world: SimulatedRobot, period_ns: int,
                 after_cycle: Callable[[SimulatedRobot], None]) -> None:
        self._world, self._period_ns, self._after_cycle = world, period_ns, after_cycle
        self._commands: deque[tuple[int, Command]] = deque()
        self._requests: deque[tuple[futures.Future[Any], Request]] = deque()
        self._stop = threading.Event()
        self.given_up_ns = 0
        self._first_ns = world.time_ns
        self._origin_ns = time.monotonic_ns() - self._first_ns
        self._offset_ns = time.time_ns() - self._first_ns
        self._thread = threading.Thread(target=self._run, name='physics', daemon=True)

    def start(self) -> None:
        """Let time run."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=2.0)

    @property
    def alive(self) -> bool:
        """Return whether time runs."""
        return self._thread.is_alive()

    @property
    def wall_offset_ns(self) -> int:
        """Return wall clock minus simulated time."""
        return self._offset_ns

    def command(self, arrived_wall_ns: int, apply: Command) -> None:
        """Have ``apply(world, arrived_ns)`` called when the world reaches that instant."""
        self._commands.append((arrived_wall_ns, apply))

    def request(self, function: Request, timeout_s: float) -> Any:
        """
        Return ``function(world)``, run between two cycles; what it raises is raised here.

        :raises TimeoutError: if the loop does not get to it.
        """
        future: futures.Future[Any] = futures.Future()
        self._requests.append((future, function))
        try:
            return future.result(timeout_s)
        except futures.TimeoutError as error:       # not the built-in one before Python 3.11
            future.cancel()
            raise TimeoutError('the simulation did not answer') from error

    def _run(self) -> None:
        step_ns = self._world.step_ns
        for cycle in itertools.count(1):
            steps = -(-cycle * self._period_ns // step_ns)      # rounded up to whole ones
            due_ns = self._first_ns + steps * step_ns
            self._wait_until(due_ns)
            if self._stop.is_set():
                return
            self._read_clock()
            self._serve_requests()
            self._apply_commands(due_ns)
            self._world.advance_to(due_ns)
            self._after_cycle(self._world)

    def _wait_until(self, due_ns: int) -> None:
        behind_ns = time.monotonic_ns() - self._origin_ns - due_ns
        if behind_ns < 0:
            time.sleep(-behind_ns / NS_PER_S)
        elif behind_ns > MAX_BEHIND_NS:
            self.given_up_ns += behind_ns
            self._origin_ns += behind_ns

    def _read_clock(self) -> None:
        """Keep the offset still against scatter, so that stamps are as regular as the cycles."""
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        offset_ns = wall_ns - before_ns + self._origin_ns
        interrupted = after_ns - before_ns > CLOCK_SCATTER_NS
        if not interrupted and abs(offset_ns - self._offset_ns) > CLOCK_SCATTER_NS:
            self._offset_ns = offset_ns

    def _serve_requests(self) -> None:
        while self._requests:
            future, function = self._requests.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(self._world))
            except ValueError as error:      # a request that cannot be met is its sender's matter
                future.set_exception(error)

    def _apply_commands(self, until_ns: int) -> None:
        while self._commands and self._commands[0][0] - self._offset_ns <= until_ns:
            arrived_wall_ns, apply = self._commands.popleft()
            arrived_ns = arrived_wall_ns - self._offset_ns
            self._world.advance_to(arrived_ns)
            apply(self._world, arrived_ns)
