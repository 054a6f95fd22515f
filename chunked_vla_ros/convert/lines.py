"""
How far a conversion is, as JSON lines for a program that started it: the offline trainer's node.

The lines are read by `core.training_job`. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import json
import time
from typing import Any, TextIO

from chunked_vla_ros.convert.bags import Bag
from chunked_vla_ros.convert.plan import ASSEMBLE, Standing, Tell
from chunked_vla_ros.convert.screen import verdict

PERIOD_S = 0.5


@contextmanager
def progress_lines(stream: TextIO, bags: Sequence[Bag]) -> Iterator[Tell]:
    """Give what is to be told how far the conversion is; a line of it twice a second."""
    began_s, said_s = time.monotonic(), -PERIOD_S
    told: set[int] = set()

    def tell(standing: Standing) -> None:
        nonlocal said_s
        now_s = time.monotonic()
        if now_s - said_s < PERIOD_S and len(standing.results) in (len(told), 0):
            return
        said_s = now_s
        fresh = [number for number in standing.results if number not in told]
        told.update(fresh)
        elapsed_s = now_s - began_s
        converting = standing.stage != ASSEMBLE
        _say(stream, {
            'event': 'progress', 'step': len(standing.results), 'steps': len(bags),
            # Putting together takes a small share of the time; its end cannot be told.
            'eta_s': (elapsed_s * (1.0 - standing.share) / standing.share
                      if converting and standing.share > 0.0 else -1.0),
            'metrics': {
                'rows': sum(result.rows for result in standing.results.values()),
                'frames': standing.frames, 'frames_per_s': standing.frames / elapsed_s
                if elapsed_s else 0.0, 'refused': standing.refused},
            'message': '; '.join(
                f'{bags[number].path.name}: {verdict(bags[number], standing.results[number])}'
                for number in fresh[-3:]) or standing.stage})

    yield tell


def say_end(stream: TextIO, bags: Sequence[Bag], standing: Standing, out: str) -> None:
    """Say in one line what came of the conversion."""
    found = standing.results.values()
    present = sum(result.present for result in found)
    _say(stream, {
        'event': 'end', 'dataset': out if standing.published or present == len(bags) else '',
        'episodes': sum(result.episodes for result in found),
        'rows': sum(result.rows for result in found),
        'refused': [f'{bags[number].path.name}: {verdict(bags[number], result)}'
                    for number, result in sorted(standing.results.items()) if result.refused],
        'message': f'{standing.refused} of {len(bags)} bags refused' if standing.refused
        else f'{len(bags)} bags'})


def _say(stream: TextIO, values: dict[str, Any]) -> None:
    print(json.dumps(values), file=stream, flush=True)
