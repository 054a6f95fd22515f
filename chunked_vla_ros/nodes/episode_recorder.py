"""
Carry out what `core.recording_control` decides: begin, end, label and discard episodes.

Everything that an operator is told is one line of text. Knows no services and no actions; called
by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
import shutil
import time

from chunked_vla_ros.core.disk_guard import DiskGuard, DiskLevel, DiskReport, size_text
from chunked_vla_ros.core.episode_name import checked_name, next_name
from chunked_vla_ros.core.recording import EpisodeFacts, Outcome
from chunked_vla_ros.core.recording_control import (
    Ending,
    EpisodeRequest,
    RecordingControl,
    RecordingRefused,
    Step,
)
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.data.episode_folder import (
    discard,
    EpisodeRecord,
    label,
    UnknownEpisodeError,
)
from chunked_vla_ros.data.episode_writer import EpisodeWriter
from chunked_vla_ros.nodes.recorder_loop import RecorderLoop
from chunked_vla_ros.nodes.recorder_writer import EpisodeRecording


@dataclass(frozen=True)
class Surroundings:
    """
    What an episode needs to know of the world around it.

    :ivar now_ns: The node's clock in [ns].
    :ivar facts: Returns the facts of an episode that is about to begin.
    :ivar announce: Tells everybody: kind of event, episode, text.
    :ivar remarks: Returns why a recording of now cannot be whole, one line each.
    :ivar ended: Told of every episode that has ended, and how.
    """

    now_ns: Callable[[], int]
    facts: Callable[[str, EpisodeRequest, int], EpisodeFacts]
    announce: Callable[[str, str, str], None]
    remarks: Callable[[], Sequence[str]]
    ended: Callable[[Ending, EpisodeRecord], None]


@dataclass(frozen=True)
class Limits:
    """
    How much and how long.

    :ivar queue_bytes: What may wait for the disk.
    :ivar reserve_bytes: What stays free on the disk.
    :ivar duration_ns: How long an episode lasts that is asked for without a limit; 0: for ever.
    """

    queue_bytes: int
    reserve_bytes: int
    duration_ns: int


class EpisodeRecorder:
    """
    Episodes in one folder.

    :ivar control: What may be done now.
    :ivar recording: The episode that is being written, ``None`` when idle.
    :ivar disk: How it stood with the disk when it was looked at last.
    """

    def __init__(self, out: Path, loop: RecorderLoop, selection: Selection, limits: Limits,
                 world: Surroundings) -> None:
        self.out, self.control = out, RecordingControl()
        self.recording: EpisodeRecording | None = None
        self._loop, self._selection, self._world = loop, selection, world
        self._limits, self._facts = limits, EpisodeFacts('')
        self._guard = DiskGuard(str(out), limits.reserve_bytes)
        self.disk = self.look_at_disk()

    def perform(self, step: Step) -> str:
        """
        Do what ``step`` says and return what was done.

        :raises RecordingRefused: it could not be done; the line says why.
        """
        try:
            return self._perform(step)
        except OSError as error:
            where = f'{error.filename}: ' if error.filename else ''
            raise RecordingRefused(f'{where}{error.strerror or error}') from error
        except (ValueError, UnknownEpisodeError) as error:
            raise RecordingRefused(str(error)) from error

    def check_start(self, request: EpisodeRequest) -> None:
        """
        Find out whether ``request`` could begin now, without beginning it.

        :raises RecordingRefused: it could not.
        """
        self.control.start(request, self._world.now_ns())
        try:
            if request.episode_id:
                checked_name(request.episode_id)
        except ValueError as error:
            raise RecordingRefused(str(error)) from error
        self._check()

    def look_at_disk(self) -> DiskReport:
        """Return how it stands with the disk now."""
        folder = next(path for path in (self.out, *self.out.parents) if path.exists())
        written = self.recording.bytes if self.recording is not None else 0
        self.disk = self._guard.check(
            shutil.disk_usage(folder).free, written, time.monotonic_ns())
        return self.disk

    def _perform(self, step: Step) -> str:
        answers, begin = [], step.begin
        if begin is not None and not begin.max_duration_ns:
            begin = replace(begin, max_duration_ns=self._limits.duration_ns)
        if step.ending is not None and step.ending.keep and begin is not None:
            return self._follow_up(step.ending, begin)
        if step.ending is not None:
            answers.append(self._end(step.ending))
        if step.discard_id:
            path = self.discard(step.discard_id)
            answers.append(f'{step.discard_id} is now in {path}')
        if step.label is not None:
            self.label(*step.label)
            answers.append(f'{step.label[0]} is labelled {step.label[1].value}')
        if begin is not None:
            answers.append(self._begin(begin))
        return '; '.join(answers)

    def discard(self, episode_id: str) -> Path:
        """
        Move a finished episode to the trash folder; return where it lies now.

        :raises ValueError: the name is none.
        :raises UnknownEpisodeError: there is no such episode.
        :raises OSError: it cannot be moved.
        """
        path = discard(self.out, episode_id)
        self.control.discarded(episode_id)
        return path

    def label(self, episode_id: str, outcome: Outcome, note: str = '') -> None:
        """
        Label a finished episode.

        :raises ValueError: the name is none.
        :raises UnknownEpisodeError: there is no such episode.
        :raises OSError: the label cannot be written.
        """
        label(self.out, episode_id, outcome, note, now_ns=time.time_ns())

    def note(self, text: str) -> None:
        """Mark ``text`` on the time line of the episode that is being recorded."""
        self._world.announce('NOTE', self._facts.episode_id, text)

    # --- beginning and ending ----------------------------------------------------------------

    def _begin(self, request: EpisodeRequest) -> str:
        recording, facts = self._prepare(request)
        self._loop.begin(recording)
        return self._begun(recording, facts, request)

    def _end(self, ending: Ending) -> str:
        """End the current episode; None is recorded afterwards."""
        self._announce_end(ending)
        self._loop.end()
        recording, facts = self.recording, self._facts
        self.recording = None
        self.control.ended(ending.keep)
        return self._finish(recording, facts, ending)

    def _follow_up(self, ending: Ending, request: EpisodeRequest) -> str:
        """End the current episode and begin the next; no message falls between the two."""
        try:
            recording, facts = self._prepare(request)
        except (OSError, ValueError):
            self._end(ending)
            raise
        self._announce_end(ending)
        self._loop.begin(recording)
        former, former_facts = self.recording, self._facts
        self.control.ended(kept=True)
        begun = self._begun(recording, facts, request)
        return f'{self._finish(former, former_facts, ending)}; {begun}'

    def _prepare(self, request: EpisodeRequest) -> tuple[EpisodeRecording, EpisodeFacts]:
        """Return a recording that waits for messages, and its facts."""
        self._check()
        taken = [path.name for path in self.out.iterdir()] if self.out.is_dir() else []
        name = checked_name(request.episode_id) if request.episode_id else next_name(taken)
        start_ns = self._world.now_ns()
        facts = self._world.facts(name, request, start_ns)
        writer = EpisodeWriter(self.out, facts)
        return EpisodeRecording(
            name, writer, self._selection, start_ns, self._limits.queue_bytes), facts

    def _begun(self, recording: EpisodeRecording, facts: EpisodeFacts,
               request: EpisodeRequest) -> str:
        self.recording, self._facts = recording, facts
        self._guard.restart()
        self.control.begun(facts.episode_id, request, recording.start_ns)
        self._world.announce('START', facts.episode_id, '')
        self._world.announce('TASK', facts.episode_id, facts.task)
        return f'{facts.episode_id} is being recorded'

    def _announce_end(self, ending: Ending) -> None:
        name = self._facts.episode_id
        if ending.outcome is not Outcome.UNLABELED:
            self._world.announce(ending.outcome.name, name, '')
        self._world.announce('END', name, ending.message)

    def _finish(self, recording: EpisodeRecording | None, facts: EpisodeFacts,
                ending: Ending) -> str:
        assert recording is not None
        record = recording.finish(
            ending.outcome, self._world.now_ns(), facts.task, self._world.remarks())
        answer = summary(record)
        if not ending.keep:
            record, answer = self._throw_away(record)
        self._world.ended(ending, record)
        return answer

    def _throw_away(self, record: EpisodeRecord) -> tuple[EpisodeRecord, str]:
        try:
            path = discard(self.out, record.episode_id)
        except OSError as error:
            fault = f'{record.path} cannot be moved to the trash folder: {error.strerror}'
            return replace(record, reasons=(fault, *record.reasons)), fault
        return replace(record, path=path), f'{record.episode_id} is now in {path}'

    def _check(self) -> None:
        """
        Find out whether anything could be recorded now.

        :raises RecordingRefused: it could not.
        """
        if self._loop.failure:
            raise RecordingRefused(
                f'nothing is heard any more ({self._loop.failure}): restart the recorder')
        report = self.look_at_disk()
        if report.level is DiskLevel.STOP:
            raise RecordingRefused(report.text)


def summary(record: EpisodeRecord) -> str:
    """Return what became of an episode in one line."""
    lost = f', {record.lost} lost' if record.lost else ''
    dropped = f', {record.dropped} dropped' if record.dropped else ''
    why = f': {"; ".join(record.reasons)}' if record.reasons else ''
    return (f'{record.episode_id}: {record.duration_s:.1f} s, {record.messages} messages, '
            f'{size_text(record.bytes)}{lost}{dropped}, {record.outcome.value}, '
            f'{record.verdict.value}{why}')
