"""Ticks that take a chunk are told from the others; how long they took is not asserted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chunked_vla_ros.bench.take_time import tick_times

MS = 1_000_000
START = 10**9

Make = Callable[..., Any]


def ramps(make_chunk: Make, count: int, **fields: Any) -> list[Any]:
    """Return chunks of 0.75 s every 0.4 s along one motion at 0.1 rad/s."""
    starts_s = 0.4 * np.arange(count)
    due_s = 0.05 * np.arange(16)
    return [
        make_chunk(np.stack([0.1 * (start_s + due_s)] * 2, axis=1), chunk_id=index + 1,
                   start_ns=START + round(start_s * 1e9), **fields)
        for index, start_s in enumerate(starts_s)]


def test_every_chunk_that_is_taken_is_one_tick(make_robot: Make, make_chunk: Make) -> None:
    times = tick_times(make_robot(), ramps(make_chunk, 5))
    assert times.taking_s.shape == (5,)
    # 1.6 s to the last chunk and half a second more at 200 Hz; five ticks took a chunk.
    assert times.others_s.shape == (420 - 5,)
    assert times.taking_s.min() > 0.0


def test_a_chunk_is_sent_when_its_inference_was_done(make_robot: Make, make_chunk: Make) -> None:
    late = tick_times(make_robot(), ramps(make_chunk, 3, inference_latency_ns=100 * MS))
    assert late.taking_s.shape == (3,)
    # So late every point is past: nothing can be taken.
    missed = tick_times(make_robot(), ramps(make_chunk, 3, inference_latency_ns=900 * MS))
    assert missed.taking_s.shape == (0,)


def test_without_chunks_there_is_nothing_to_time(make_robot: Make) -> None:
    assert tick_times(make_robot(), []).others_s.shape == (0,)
