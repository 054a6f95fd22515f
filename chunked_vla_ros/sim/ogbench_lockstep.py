"""
Episodes of one task in lock-step: all of them act for a chunk, then one call plans the next.

A chunk is carried out open loop, as Q-chunking's experiments do. A place whose episode is over
takes the next start, so that the calls stay wide. What an episode meets depends on its seed alone,
not on its place nor on how many there are. Legend: B episodes that are planned for, S observation
features, h points of a chunk, A action width. Knows nothing of how a chunk comes about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.sim.ogbench_task import Float32Array, Step, Task, TaskEpisodes
from chunked_vla_ros.sim.served import Served

IntArray = NDArray[np.int64]
# (observations (B, S), seeds (B,), how many chunks each episode has had (B,)) -> (B, h, A)
Plan = Callable[[Float32Array, IntArray, IntArray], Float32Array]


@dataclass(frozen=True)
class Outcome:
    """How the episode of a seed ended: ``steps`` are those until then."""

    seed: int
    success: bool
    steps: int
    reward: float


class Places:
    """Environments side by side in one process, each at an episode of its own."""

    def __init__(self, first: TaskEpisodes, count: int) -> None:
        self._episodes = [first.twin() for _ in range(count)]

    def start(self, seeds: Sequence[tuple[int, int]]) -> list[Float32Array]:
        """Begin episodes, of pairs (place, seed); return their observations."""
        return [self._episodes[place].start(seed) for place, seed in seeds]

    def advance(self, chunks: Sequence[tuple[int, Float32Array]]) -> list[list[Step]]:
        """Carry out chunks, of pairs (place, chunk (h, A)); return the steps of each."""
        return [self._episodes[place].advance(chunk) for place, chunk in chunks]


class LockStep:
    """
    ``places`` episodes at a time like ``first``, spread over ``processes``, or 1: in this one.

    Use it in a ``with``, or call `close`.
    """

    def __init__(self, first: TaskEpisodes, places: int, processes: int = 1) -> None:
        self._places = places
        count = min(processes, places)
        self._here = Places(first, places) if count == 1 else None
        self._others = [] if count == 1 else [
            Served(_places, first.task, first.limit, len(range(number, places, count)))
            for number in range(count)]

    def __enter__(self) -> LockStep:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        for other in self._others:
            other.close()

    def run(self, seeds: Sequence[int], plan: Plan,
            tell: Callable[[Outcome], None] = lambda outcome: None) -> list[Outcome]:
        """
        Return the outcome of the episode of each seed, in their order.

        :param tell: Hears of each outcome as it comes.
        :raises ServedError: a process died.
        """
        waiting = list(reversed(range(len(seeds))))
        running: dict[int, _Running] = {}
        done: dict[int, Outcome] = {}
        while waiting or running:
            free = [place for place in range(self._places) if place not in running]
            begun = {place: waiting.pop() for place in free if waiting}
            for place, seen in zip(begun, self._all(
                    'start', [(place, seeds[number]) for place, number in begun.items()]),
                    strict=True):
                running[place] = _Running(begun[place], seeds[begun[place]], seen)
            now = sorted(running)
            chunks = plan(np.stack([running[place].seen for place in now]),
                          np.array([running[place].seed for place in now]),
                          np.array([running[place].chunks for place in now]))
            came = self._all('advance', list(zip(now, chunks, strict=True)))
            for place, steps in zip(now, came, strict=True):
                running[place].take(steps)
                if steps[-1].over:
                    ended = running.pop(place)
                    done[ended.number] = ended.outcome(steps[-1])
                    tell(done[ended.number])
        return [done[number] for number in range(len(seeds))]

    def _all(self, method: str, given: Sequence[tuple[int, Any]]) -> list[Any]:
        """Ask every process about its own places; return the answers in the order of ``given``."""
        if self._here is not None:
            found: list[Any] = getattr(self._here, method)(given)
            return found
        count = len(self._others)
        shares = [[(place // count, each) for place, each in given if place % count == number]
                  for number in range(count)]
        asked = [number for number in range(count) if shares[number]]
        for number in asked:
            self._others[number].ask(method, shares[number])
        answers = {number: iter(self._others[number].answer()) for number in asked}
        return [next(answers[place % count]) for place, _ in given]


def _places(task: Task, limit: int, count: int) -> Places:
    return Places(TaskEpisodes(task, limit), count)


@dataclass
class _Running:
    """An episode on its way: the ``number`` of its seed, and what is known of it so far."""

    number: int
    seed: int
    seen: Float32Array
    chunks: int = 0
    steps: int = 0
    reward: float = 0.0

    def take(self, steps: Sequence[Step]) -> None:
        """Note what a chunk came to."""
        self.seen = steps[-1].observation
        self.chunks += 1
        self.steps += len(steps)
        self.reward += sum(step.reward for step in steps)

    def outcome(self, last: Step) -> Outcome:
        """Return how it ended."""
        return Outcome(self.seed, last.terminated, self.steps, self.reward)
