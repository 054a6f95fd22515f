"""
Run many episodes by several processes, each fetching the next job when it is done with one.

The processes end with this one, whatever kills it. Results come back in the order of the jobs and
do not depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
import json
import os
from pathlib import Path
from queue import Empty, SimpleQueue
import subprocess
import sys
from threading import Event, Timer

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.evaluate.episode import EpisodeJob, EpisodeRecord, record_from_json
from chunked_vla_ros.evaluate.setup import StationSetup
from chunked_vla_ros.evaluate.station import Station
from chunked_vla_ros.graph import tied_process

PROGRAM = 'chunked_vla_ros.evaluate.worker'
Tell = Callable[[EpisodeRecord], None]
# Wall time in which an episode must be over [s]: many times what a slow machine needs, start of
# the process and loading of the policy included. It is there for a process that hangs.
SPARE_S, WALL_PER_SIMULATED = 300.0, 20.0


class EvaluationError(ValueError):
    """The evaluation cannot go on; the message is one line."""


def run_jobs(setup: StationSetup, jobs: Sequence[EpisodeJob], workers: int, log: Path, tell: Tell,
             policies: Sequence[Policy] | None = None) -> list[EpisodeRecord]:
    """
    Return a record for each of ``jobs``; ``tell`` hears of each as it comes, in this thread.

    :param policies: Those of ``setup``, ready to be used if one process does it all: this one.
    :param log: Takes what the processes write to standard error.
    :raises EvaluationError: if one of them cannot run a job, dies or hangs; one that is this one
        is not watched.
    """
    limit_s = SPARE_S + WALL_PER_SIMULATED * setup.timing.timeout_s
    if workers == 1:
        return _run_here(Station(setup, policies), jobs, tell)
    pending: SimpleQueue[tuple[int, EpisodeJob]] = SimpleQueue()
    for numbered in enumerate(jobs):
        pending.put(numbered)
    done: SimpleQueue[tuple[int, EpisodeRecord]] = SimpleQueue()
    records: dict[int, EpisodeRecord] = {}
    crew: list[subprocess.Popen[str]] = []
    with log.open('a', encoding='utf-8') as lines, ThreadPoolExecutor(workers) as threads:
        try:
            crew += [_start(setup, lines.fileno()) for _ in range(min(workers, len(jobs)))]
            served = [threads.submit(_serve, one, pending, done, log, limit_s) for one in crew]
            while len(records) < len(jobs):
                _collect(done, records, tell)
                for ended in [one for one in served if one.done()]:
                    ended.result()
            for _ in as_completed(served):
                pass
        finally:
            for one in crew:
                _end(one)
    return [records[number] for number in range(len(jobs))]


def _run_here(station: Station, jobs: Sequence[EpisodeJob], tell: Tell) -> list[EpisodeRecord]:
    records = []
    try:
        for job in jobs:
            records.append(station.run(job))
            tell(records[-1])
    finally:
        station.close()
    return records


def _collect(done: SimpleQueue[tuple[int, EpisodeRecord]], records: dict[int, EpisodeRecord],
             tell: Tell) -> None:
    """Take what has come, waiting a moment for the first."""
    try:
        number, record = done.get(timeout=0.2)
    except Empty:
        return
    records[number] = record
    tell(record)


def _start(setup: StationSetup, log: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
         sys.executable, '-m', PROGRAM],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        # Ctrl-C is for whoever leads: workers are ended, not interrupted.
        start_new_session=True)
    _tell_line(process, json.dumps(asdict(setup)))
    return process


def _serve(process: subprocess.Popen[str], pending: SimpleQueue[tuple[int, EpisodeJob]],
           done: SimpleQueue[tuple[int, EpisodeRecord]], log: Path, limit_s: float) -> None:
    """Hand jobs to one process until there are none left."""
    assert process.stdout is not None
    while True:
        try:
            number, job = pending.get_nowait()
        except Empty:
            return
        with _limit(process, limit_s) as hung:
            _tell_line(process, json.dumps(job.to_json()))
            line = process.stdout.readline()
        if hung.is_set():
            raise EvaluationError(
                f'a process of the evaluation hung in seed {job.seed}: no answer within '
                f'{limit_s:g} s; what it said is in {log}')
        if not line:
            raise EvaluationError(
                f'a process of the evaluation died ({process.wait()}) in seed {job.seed}; '
                f'what it said is in {log}')
        content = json.loads(line)
        if 'error' in content:
            raise EvaluationError(content['error'])
        done.put((number, record_from_json(content)))


@contextmanager
def _limit(process: subprocess.Popen[str], limit_s: float) -> Iterator[Event]:
    """End ``process`` if this takes longer than ``limit_s``; the event says so."""
    hung = Event()

    def end() -> None:
        hung.set()
        process.kill()

    timer = Timer(limit_s, end)
    timer.start()
    try:
        yield hung
    finally:
        timer.cancel()
        timer.join()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        # Closing writes what a process that died before could not take.
        with suppress(BrokenPipeError):
            stream.close()


def _tell_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(line + '\n')
        process.stdin.flush()
    except BrokenPipeError:    # its end is found when its answer is read
        pass
