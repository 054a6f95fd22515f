"""
One side of the Q-chunking benchmark as a program: ``train_rl_side SIDE INPUTS``.

A process for each side: threads, allocators and what a framework sets up are its own. Works when
it is told to, by a line of JSON, and answers with one. Knows nothing of the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import sys
import time
from typing import Any, Protocol

from chunked_vla_ros.bench.train_rl_inputs import (
    Arrays,
    Losses,
    read_inputs,
    Sizes,
    write_arrays,
)

OURS, CACHED, JAX = 'ours', 'ours, cached candidates', 'JAX'


class Side(Protocol):
    """What is timed."""

    facts: dict[str, str]

    def run(self, updates: int) -> int:
        """Make at least so many updates and wait for the last; return how many they were."""


def main() -> None:
    """Answer every request until there are no more."""
    name, inputs = sys.argv[1], Path(sys.argv[2])
    side = make_side(name, *read_inputs(inputs))
    _say(side.facts)
    for line in sys.stdin:
        request = json.loads(line)
        if 'check' in request:
            losses, weights = _checked(side)
            write_arrays(Path(request['check']), weights)
            _say({'losses': losses})
        elif 'once' in request:
            _say(_timed(side, 0))
        else:
            _say(_timed(side, request['updates']))


def make_side(name: str, sizes: Sizes, arrays: Arrays) -> Side:
    """Return the side of that name; its framework is imported here and not before."""
    if name == JAX:
        from chunked_vla_ros.bench.train_rl_jax import JaxSide
        return JaxSide(sizes, arrays)
    if name == CACHED:
        from chunked_vla_ros.bench.train_rl_cached import CachedSide
        return CachedSide(sizes, arrays)
    from chunked_vla_ros.bench.train_rl_torch import TorchSide
    return TorchSide(sizes, arrays)


def _timed(side: Any, updates: int) -> dict[str, float]:
    """Make ``updates``, or with 0 what is done once; return what it took, of all threads too."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    made = side.run(updates) if updates else side.once()
    return {'updates': made or 0, 'seconds': time.perf_counter() - wall_s,
            'cpu_s': time.process_time() - cpu_s}


def _checked(side: Any) -> tuple[Losses, Arrays]:
    found: tuple[Losses, Arrays] = side.check()
    return found


def _say(answer: Mapping[str, object]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
