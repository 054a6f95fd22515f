"""
The RL benchmark on the terminal: a bar with the time that is left, and a line for each finding.

Where the output is no terminal there are only the lines. Knows nothing about how it is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from chunked_vla_ros.bench.rl_results import RunRecord
from chunked_vla_ros.core.statistics import wilson_interval


class Screen:
    """Bars that come and go, one at a time, above them what was found."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn(), console=console,
            disable=not console.is_terminal)
        self._told = 0

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Yield a bar of ``total``, which goes away at the end."""
        task = self._progress.add_task(what, total=total)
        try:
            yield Bar(self._progress, task)
        finally:
            self._progress.remove_task(task)

    def say(self, line: str) -> None:
        """Print a line."""
        self._progress.console.print(line)


class Bar:
    """One bar."""

    def __init__(self, progress: Progress, task: object) -> None:
        self._progress, self._task = progress, task

    def advance(self, count: int) -> None:
        """Count up."""
        self._progress.advance(self._task, count)    # type: ignore[arg-type]

    def describe(self, what: str) -> None:
        """Say what is being done now."""
        self._progress.update(self._task, description=what)    # type: ignore[arg-type]


def in_words(record: RunRecord) -> str:
    """Return where a run stands after its last evaluation, in one line."""
    if not record.points:
        return f'{record.key}: not evaluated'
    point = record.points[-1]
    low, high = wilson_interval(point.successes, point.episodes)
    speed = record.learned / record.learn_s if record.learn_s else 0.0
    return (f'{record.key}: {point.successes} of {point.episodes} succeeded '
            f'[{100 * low:.0f} to {100 * high:.0f} %] after {point.updates} updates and '
            f'{point.online_steps} steps online, {speed:.1f} updates/s')
