"""
Run many episodes by several processes, each fetching the next job when it is done with one.

The processes end with this one, whatever kills it. Results come back in the order of the jobs and
do not depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
import json
import os
from pathlib import Path
from queue import Empty, SimpleQueue
import subprocess
import sys
from threading import Event, Timer
from typing import Any

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.evaluate.episode import EpisodeJob, EpisodeRecord, record_from_json
from chunked_vla_ros.evaluate.setup import StationSetup
from chunked_vla_ros.evaluate.station import Station
from chunked_vla_ros.graph import tied_process

PROGRAM = 'chunked_vla_ros.evaluate.worker'
Tell = Callable[[EpisodeRecord], None]
# What a question is about, for messages, and the question.
Question = tuple[str, Mapping[str, Any]]
# Wall time in which an episode must be over [s]: many times what a slow machine needs, start of
# the process and loading of the policy included. It is there for a process that hangs.
SPARE_S, WALL_PER_SIMULATED = 300.0, 20.0


class EvaluationError(ValueError):
    """The episodes cannot be run; the message is one line."""


def run_jobs(setup: StationSetup, jobs: Sequence[EpisodeJob], workers: int, log: Path, tell: Tell,
             policies: Sequence[Policy] | None = None) -> list[EpisodeRecord]:
    """
    Return a record for each of ``jobs``; ``tell`` hears of each as it comes, in this thread.

    :param policies: Those of ``setup``, ready to be used if one process does it all: this one.
    :param log: Takes what the processes write to standard error.
    :raises EvaluationError: if one of them cannot run a job, dies or hangs; one that is this one
        is not watched.
    """
    if workers == 1:
        return _run_here(Station(setup, policies), jobs, tell)
    records: dict[int, EpisodeRecord] = {}

    def take(number: int, content: Mapping[str, Any]) -> None:
        records[number] = record_from_json(content)
        tell(records[number])

    crew = Crew(
        PROGRAM, asdict(setup), log, wall_limit_s(setup.timing.timeout_s), 'the evaluation')
    crew.ask([(f'seed {job.seed}', job.to_json()) for job in jobs], workers, take)
    return [records[number] for number in range(len(jobs))]


def wall_limit_s(timeout_s: float) -> float:
    """Return the wall time in which an episode of at most ``timeout_s`` must be over [s]."""
    return SPARE_S + WALL_PER_SIMULATED * timeout_s


@dataclass(frozen=True)
class Crew:
    """
    Processes that are told a setup first, and then answer questions, in lines of JSON.

    :ivar program: Module that each of them runs.
    :ivar log: Takes what they write to standard error.
    :ivar limit_s: Wall time for one answer in [s].
    :ivar name: What they are processes of, for messages.
    """

    program: str
    setup: Mapping[str, Any]
    log: Path
    limit_s: float
    name: str

    def ask(self, questions: Sequence[Question], workers: int,
            take: Callable[[int, Mapping[str, Any]], None]) -> None:
        """
        Have ``questions`` answered; ``take`` gets number and answer as they come, in this thread.

        :raises EvaluationError: a process answers with an ``error``, dies or hangs.
        """
        pending: SimpleQueue[tuple[int, Question]] = SimpleQueue()
        for numbered in enumerate(questions):
            pending.put(numbered)
        done: SimpleQueue[tuple[int, Mapping[str, Any]]] = SimpleQueue()
        processes: list[subprocess.Popen[str]] = []
        left = len(questions)
        with (self.log.open('a', encoding='utf-8') as lines,
              ThreadPoolExecutor(workers) as threads):
            try:
                processes += [_start(self.program, self.setup, lines.fileno())
                              for _ in range(min(workers, left))]
                served = [threads.submit(self._serve, one, pending, done) for one in processes]
                while left:
                    left -= _collect(done, take)
                    for ended in [one for one in served if one.done()]:
                        ended.result()
                for _ in as_completed(served):
                    pass
            finally:
                for one in processes:
                    _end(one)

    def _serve(self, process: subprocess.Popen[str],
               pending: SimpleQueue[tuple[int, Question]],
               done: SimpleQueue[tuple[int, Mapping[str, Any]]]) -> None:
        """Hand questions to one process until there are none left."""
        assert process.stdout is not None
        while True:
            try:
                number, (what, question) = pending.get_nowait()
            except Empty:
                return
            with _limit(process, self.limit_s) as hung:
                _tell_line(process, json.dumps(question))
                line = process.stdout.readline()
            if hung.is_set():
                raise EvaluationError(
                    f'a process of {self.name} hung in {what}: no answer within '
                    f'{self.limit_s:g} s; what it said is in {self.log}')
            if not line:
                raise EvaluationError(
                    f'a process of {self.name} died ({process.wait()}) in {what}; '
                    f'what it said is in {self.log}')
            content = json.loads(line)
            if 'error' in content:
                raise EvaluationError(content['error'])
            done.put((number, content))


def _run_here(station: Station, jobs: Sequence[EpisodeJob], tell: Tell) -> list[EpisodeRecord]:
    records = []
    try:
        for job in jobs:
            records.append(station.run(job))
            tell(records[-1])
    finally:
        station.close()
    return records


def _collect(done: SimpleQueue[tuple[int, Mapping[str, Any]]],
             take: Callable[[int, Mapping[str, Any]], None]) -> int:
    """Take what has come, waiting a moment for it; return how many answers that was."""
    try:
        number, content = done.get(timeout=0.2)
    except Empty:
        return 0
    take(number, content)
    return 1


def _start(program: str, setup: Mapping[str, Any], log: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
         sys.executable, '-m', program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        # Ctrl-C is for whoever leads: workers are ended, not interrupted.
        start_new_session=True)
    _tell_line(process, json.dumps(setup))
    return process


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
