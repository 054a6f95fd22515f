"""
A job of the offline trainer: its child processes one after the other, and what it notes on disk.

What is to be run, and what an end means, is decided in `core`; here processes are started, asked
to stop, and their folders looked at.
"""

from __future__ import annotations

from contextlib import suppress
import json
from pathlib import Path
import time

from chunked_vla_ros.core.training_job import (
    Command,
    Converted,
    JobRefused,
    JobRequest,
    Stage,
    Termination,
)
from chunked_vla_ros.core.training_words import (
    converted_before,
    ending,
    JobEnd,
    other_bags,
    Progress,
)
from chunked_vla_ros.data.bag_folders import list_bags
from chunked_vla_ros.data.checkpoint_folder import checkpoint_step, newest_checkpoint
from chunked_vla_ros.data.durable_file import replace_file
from chunked_vla_ros.nodes.train_process import TrainProcess

NOTE = 'job.json'
POLL_S = 0.02


class TrainJob:
    """
    One job under way.

    :ivar commands: Its command lines; those that are still to be run.
    """

    def __init__(self, request: JobRequest) -> None:
        """
        Begin it.

        :raises JobRefused: it is not complete, or its dataset is of other bags.
        :raises OSError: no process can be started, or the training's folder not be made.
        """
        self.commands = list(request.commands())
        self._request = request
        self._converted: JobEnd | None = None
        self._untold: Progress | None = None
        self._stopped: Termination | None = None
        self._bags: tuple[str, ...] = ()
        if len(self.commands) > 1:
            self._note_or_skip()
        self._process = TrainProcess(self.commands[0])

    @property
    def command(self) -> Command:
        """Return what is being run."""
        return self.commands[0]

    def newest_progress(self) -> Progress | None:
        """Return once what was said last of how far the job is."""
        said, self._untold = self._untold or self._process.newest_progress(), None
        return said

    def stop(self, why: Termination) -> None:
        """Ask the job to end; what it has finished is kept."""
        self._stopped = self._stopped or why
        self._process.stop(self._stopped)

    def poll(self) -> JobEnd | None:
        """Return how the job ended, ``None`` while it goes on."""
        found = self._process.poll()
        if found is None:
            return None
        end = ending(self.command.stage, found, self._checkpoint())
        if len(self.commands) > 1 and end.termination is Termination.DONE:
            self._converted = end
            if self._stopped is None:
                return self._go_on(end)
            # It was asked to stop when the conversion was done already.
            with suppress(OSError):
                self._note(end)
            end = JobEnd(self._stopped, message='stopped before the training; the same goal '
                         'again begins it')
        return end if self._converted is None else end.after(self._converted)

    def _go_on(self, converted: JobEnd) -> JobEnd | None:
        """Begin with what comes after the conversion; return the job's end where that fails."""
        try:
            self._note(converted)
            self._untold = self.newest_progress()
            self._process = TrainProcess(self.commands[1])
        except OSError as error:
            where = f'{error.filename}: ' if error.filename else ''
            return JobEnd(Termination.FAILED, message='the training cannot begin: '
                          f'{where}{error.strerror}').after(converted)
        del self.commands[0]
        return None

    def close(self) -> JobEnd:
        """Wait for the end of a job that was asked to stop, and return it."""
        while (end := self.poll()) is None:
            time.sleep(POLL_S)
        return end

    def _checkpoint(self) -> tuple[str, int]:
        if self.command.stage is Stage.CONVERT:
            return '', 0
        path = newest_checkpoint(Path(self._request.out).absolute())
        return ('', 0) if path is None else (str(path), checkpoint_step(path) or 0)

    def _note_or_skip(self) -> None:
        """Leave out a conversion that this job has done before; else note that it begins."""
        folder, dataset = Path(self._request.out), Path(self._request.dataset)
        # What is appended twice is left out by the conversion itself.
        if self._request.append:
            return
        noted = None
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            noted = Converted.from_dict(json.loads((folder / NOTE).read_text(encoding='utf-8')))
        self._bags = list_bags(filter(None, self._request.bags))
        if not dataset.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._write(Converted(self.command.arguments, bags=self._bags))
        elif noted is not None and noted.arguments == self.command.arguments:
            others = other_bags(noted, self._bags, str(dataset.absolute()))
            if others:
                raise JobRefused(others)
            self._converted = converted_before(noted, str(dataset.absolute()))
            del self.commands[0]

    def _note(self, end: JobEnd) -> None:
        if not self._request.append:
            self._write(Converted(
                self.command.arguments, end.episodes, end.rows, end.refused, self._bags))

    def _write(self, noted: Converted) -> None:
        replace_file(Path(self._request.out) / NOTE, json.dumps(noted.to_dict(), indent=1) + '\n')
