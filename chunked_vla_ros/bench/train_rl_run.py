"""
The Q-chunking benchmark's runs: both sides checked against each other, then timed in turns.

Each side is a process of its own that waits while the other one works. Knows no table and imports
neither framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Any

import numpy as np

from chunked_vla_ros.bench.train_rl_inputs import (
    Arrays,
    Losses,
    make_inputs,
    QC,
    Sizes,
    write_inputs,
)
from chunked_vla_ros.bench.train_rl_side import CACHED, JAX, OURS

PROGRAM = 'chunked_vla_ros.bench.train_rl_side'
# A thread that waits for work sleeps; otherwise the idle side's would take the other one's cores.
ENVIRONMENT = {'OMP_WAIT_POLICY': 'PASSIVE'}
ANSWER_LIMIT_S = 1200.0
END_LIMIT_S = 20.0
# Largest difference of a loss, over 1 or the loss, and of weights, over how far they moved.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-4, 1e-2
WARM_UP_UPDATES = 2
TAIL_LINES = 3


class SideError(RuntimeError):
    """A side does not run, or computes something else than the other one; one line."""


@dataclass(frozen=True)
class UpdateRun:
    """
    What some updates took.

    :ivar cpu_s: Of all threads together.
    """

    side: str
    updates: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Return updates per second."""
        return self.updates / self.seconds


@dataclass(frozen=True)
class Agreement:
    """
    How far two sides are apart after a few updates from the same start.

    :ivar loss: Largest difference of a loss over 1 or the loss, whichever is more.
    :ivar weight: Of the tensor that differs most: root mean square over that of how far it moved.
    """

    loss: float
    weight: float

    def refuse(self) -> None:
        """:raises SideError: they do not do the same work."""
        # Not `>`: NaN is no agreement.
        if not (self.loss <= LOSS_TOLERANCE and self.weight <= WEIGHT_TOLERANCE):
            raise SideError(
                f'the sides differ: losses by {self.loss:.1e}, expected {LOSS_TOLERANCE:.0e} at '
                f'most; weights by {self.weight:.1e} of how far they moved, expected '
                f'{WEIGHT_TOLERANCE:.0e} at most; a time would compare different work')


@dataclass(frozen=True)
class Measured:
    """
    All that the benchmark found.

    :ivar once: Drawing the candidates; empty where there is no such side.
    :ivar facts: Of each side: framework and device.
    """

    runs: list[UpdateRun]
    once: list[UpdateRun]
    agreement: Agreement
    facts: dict[str, dict[str, str]]


class SideProcess:
    """A side in its process; leaving the block ends it."""

    def __init__(self, name: str, inputs: Path) -> None:
        """Start it; `ready` waits until it can work."""
        self._name = name
        # Closed by `_end`.
        self._log = tempfile.TemporaryFile('w+', errors='replace')    # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, '-m', PROGRAM, name, str(inputs)], text=True, stderr=self._log,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **ENVIRONMENT})

    def ready(self) -> dict[str, str]:
        """
        Wait until it can work, once; return its facts.

        :raises SideError: it does not start; its last words say why.
        """
        facts: dict[str, str] = self._answer()
        return facts

    def __enter__(self) -> SideProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end()

    def check(self, out: Path) -> tuple[Losses, Arrays]:
        """Return losses and weights of the first updates; ``out`` is written in between."""
        losses: Losses = self._ask({'check': str(out)})['losses']
        with np.load(out) as file:
            return losses, {name: file[name] for name in file.files}

    def run(self, updates: int) -> UpdateRun:
        """Make at least so many updates."""
        return UpdateRun(self._name, **self._ask({'updates': updates}))

    def once(self) -> UpdateRun:
        """Do what is done once."""
        return UpdateRun(self._name, **self._ask({'once': True}))

    def _ask(self, request: Mapping[str, object]) -> Any:
        assert self._process.stdin is not None    # PIPE above
        try:
            self._process.stdin.write(json.dumps(request) + '\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            pass    # `_answer` tells why
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None    # PIPE above
        watchdog = threading.Timer(ANSWER_LIMIT_S, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            code = self._process.wait()
            self._log.seek(0)
            words = ' | '.join(self._log.read().strip().splitlines()[-TAIL_LINES:])
            raise SideError(f'{self._name} ended with exit code {code}: {words}')
        return json.loads(line)

    def _end(self) -> None:
        assert self._process.stdin is not None    # PIPE above
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


def compare(start: Arrays, ours: tuple[Losses, Arrays],
            theirs: tuple[Losses, Arrays]) -> Agreement:
    """
    Return how far two sides are apart.

    :param start: The weights that both began with, and other arrays.
    :param ours: Losses of each update and the weights after the last; ``theirs`` as well.
    """
    losses = [abs(mine[name] - other[name]) / max(1.0, abs(other[name]))
              for mine, other in zip(ours[0], theirs[0], strict=True) for name in other]
    weights = [_rms(ours[1][name] - found) / max(_rms(found - start[name]), 1e-12)
               for name, found in theirs[1].items()]
    # numpy's maximum keeps NaN, which the built-in one may lose.
    return Agreement(float(np.max(losses)), float(np.max(weights)))


def measure(sizes: Sizes, order: Sequence[tuple[int, str]], updates: int, folder: Path,
            tell: Callable[[UpdateRun], None]) -> Measured:
    """
    Check the sides, then time runs of them in ``order``.

    :param order: (round, side) of each run.
    :param updates: Of a run, at least.
    :param folder: What the sides share is written here.
    :param tell: Called with each run.
    :raises SideError: a side does not run, or the two do not do the same work.
    """
    inputs, arrays = folder / 'inputs.npz', make_inputs(sizes)
    write_inputs(inputs, sizes, arrays)
    with ExitStack() as stack:
        sides = {name: stack.enter_context(SideProcess(name, inputs))
                 for name in sides_of(sizes.method)}
        facts = {name: side.ready() for name, side in sides.items()}
        if facts[OURS]['platform'] != facts[JAX]['platform']:
            raise SideError(f"torch runs on {facts[OURS]['platform']} and JAX on "
                            f"{facts[JAX]['platform']}; install both for the same")
        agreement = compare(arrays, sides[OURS].check(folder / 'ours.npz'),
                            sides[JAX].check(folder / 'jax.npz'))
        agreement.refuse()
        once = [sides[CACHED].once()] if CACHED in sides else []
        for side in sides.values():    # compiled, and all memory taken
            side.run(WARM_UP_UPDATES)
        runs = []
        for _, name in order:
            runs.append(sides[name].run(updates))
            tell(runs[-1])
    return Measured(runs, once, agreement, facts)


def sides_of(method: str) -> tuple[str, ...]:
    """Return the sides that are compared for a method."""
    return (OURS, JAX, *((CACHED,) if method == QC else ()))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))
