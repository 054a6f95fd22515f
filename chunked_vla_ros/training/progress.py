"""
How far a training is: a bar in a terminal, now and then a line without one, or JSON lines.

The JSON lines are read by `core.training_words`. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
import math
from pathlib import Path
import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from chunked_vla_ros.training.standing import Standing, Tell

STAGE_IMITATION, STAGE_OFFLINE_RL = 'imitation', 'offline_rl'
JSON_PERIOD_S, PLAIN_PERIOD_S = 0.5, 30.0


@contextmanager
def shown_progress(kind: str, stage: str = STAGE_IMITATION) -> Iterator[Tell]:
    """Give what is to be told how far a training is; ``kind`` is 'bar', 'json' or 'none'."""
    if kind == 'json':
        yield _json_lines(sys.stdout, stage)
    elif kind == 'none':
        yield lambda standing: None
    else:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        if console.is_terminal:
            with _bar(console) as tell:
                yield tell
        else:
            yield _plain_lines(sys.stderr)


def say_end(stream: TextIO, stage: str, step: int, checkpoint: Path | None, bundle: str,
            message: str) -> None:
    """Say in one line of JSON how a training ended."""
    _say(stream, {
        'event': 'end', 'stage': stage, 'step': step, 'bundle': bundle,
        'checkpoint': str(checkpoint.absolute()) if checkpoint else '', 'message': message})


def one_line(standing: Standing) -> str:
    """Return the numbers of a standing in words."""
    said = standing.metrics
    parts = [f'{name} {said[key]:{form}}' for key, name, form in (
        ('loss', 'loss', '.4f'), ('validation_loss', 'validation', '.4f'),
        ('action_error', 'action error', '.4f')) if key in said]
    if 'samples_per_s' in said:
        parts += [f'{said["samples_per_s"]:.0f} windows/s',
                  f'waiting for data {100 * said["data_wait_share"]:.0f} %']
    return ', '.join([*parts, *filter(None, [standing.message])])


@contextmanager
def _bar(console: Console) -> Iterator[Tell]:
    columns = (TextColumn('training'), BarColumn(), TextColumn('{task.completed}/{task.total}'),
               TimeRemainingColumn(), TextColumn('{task.fields[rest]}'))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('training', total=None, rest='')
        yield lambda standing: bar.update(
            task, completed=standing.step, total=standing.steps,
            rest=escape(one_line(standing)))


def _plain_lines(stream: TextIO) -> Tell:
    due = _Pace(PLAIN_PERIOD_S)

    def tell(standing: Standing) -> None:
        if due(standing):
            left = f', {standing.eta_s:.0f} s left' if standing.eta_s > 0.0 else ''
            print(f'step {standing.step}/{standing.steps}: {one_line(standing)}{left}',
                  file=stream, flush=True)

    return tell


def _json_lines(stream: TextIO, stage: str) -> Tell:
    due = _Pace(JSON_PERIOD_S)

    def tell(standing: Standing) -> None:
        if due(standing):
            _say(stream, {
                'event': 'progress', 'stage': stage, 'step': standing.step,
                'steps': standing.steps, 'eta_s': standing.eta_s,
                'metrics': {name: value for name, value in standing.metrics.items()
                            if name != 'step' and math.isfinite(value)},
                'message': standing.message})

    return tell


class _Pace:
    """Lets through the first step, the last one, what says something, and else one a period."""

    def __init__(self, period_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._period_s, self._now_s = period_s, now_s
        self._said_s = -math.inf
        self._said: Standing | None = None

    def __call__(self, standing: Standing) -> bool:
        """Return whether ``standing`` is to be said."""
        before, now_s = self._said, self._now_s()
        first = before is None or (before.step == 0 and standing.step > 0)
        # What is done before the first step: said once each, its numbers once a period.
        news = standing.step == 0 and before is not None and (
            standing.message.partition(',')[0] != before.message.partition(',')[0])
        if not (first or news or standing.step == standing.steps
                or now_s - self._said_s >= self._period_s):
            return False
        self._said_s, self._said = now_s, standing
        return True


def _say(stream: TextIO, values: dict[str, Any]) -> None:
    print(json.dumps(values), file=stream, flush=True)
