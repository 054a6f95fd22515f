"""
Record the expert in simulated time, in one process or several, behind a progress bar.

Names are given before anything is recorded, so the folder does not depend on who is faster. Judges
no recording.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from chunked_vla_ros.core.episode_name import next_name
from chunked_vla_ros.evaluate.crew import Crew, wall_limit_s
from chunked_vla_ros.graph.options import entries
from chunked_vla_ros.record.options import LOG, RecordEpisodesOptions
from chunked_vla_ros.record.studio import Studio, StudioJob, StudioSetup
from chunked_vla_ros.record.table import episode_line

PROGRAM = 'chunked_vla_ros.record.studio_process'


def record_simulated(options: RecordEpisodesOptions, taken: Collection[str], out: Path,
                     console: Console, watch: Callable[[], None]) -> None:
    """
    Record ``options.episodes`` episodes into ``out``, where those named ``taken`` are already.

    :param watch: Called after every episode; what it raises ends the session.
    :raises ValueError: they cannot be recorded; one line.
    :raises OSError: they cannot be written.
    """
    jobs, setup = jobs_of(options, taken), setup_of(options, out)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TextColumn('left'), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task('episodes', total=len(jobs))

        def tell(line: str) -> None:
            progress.advance(bar)
            progress.console.print(line, markup=False, highlight=False)
            watch()

        def take(_: int, answer: Mapping[str, Any]) -> None:
            tell(answer['line'])

        if options.processes() == 1:
            _record_here(setup, jobs, tell)
        else:
            crew = Crew(PROGRAM, asdict(setup), out / LOG, wall_limit_s(options.timeout_s),
                        'the recording')
            crew.ask([(job.name, asdict(job)) for job in jobs], options.processes(), take)


def jobs_of(options: RecordEpisodesOptions, taken: Collection[str]) -> list[StudioJob]:
    """Return the episodes to record, named after all that are ``taken``."""
    prefix, _, number = next_name(taken).rpartition('_')
    return [StudioJob(f'{prefix}_{int(number) + index:0{len(number)}d}',
                      (options.seed or 0) + index) for index in range(options.episodes)]


def setup_of(options: RecordEpisodesOptions, out: Path) -> StudioSetup:
    """Return what makes the episodes of ``options``."""
    graph = options.graph()
    return StudioSetup(
        robot=graph.robot, out=str(out), operator=graph.operator, positions=options.positions,
        noise=options.noise, pushes_per_minute=options.pushes_per_minute,
        quality=options.quality, compression=tuple(entries(options.compression)),
        timeout_s=options.timeout_s)


def _record_here(setup: StudioSetup, jobs: list[StudioJob], tell: Callable[[str], None]) -> None:
    studio = Studio(setup)
    try:
        for job in jobs:
            tell(episode_line(job.seed, *studio.record(job)))
    finally:
        studio.close()
