"""
One episode on its way to the disk: a bounded queue, and the thread that writes what is in it.

The thread that listens never waits for the disk: where the queue is full the newest message is
dropped and counted. Decides nothing about when to record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
import threading
import time

from chunked_vla_ros.core.loss_meter import NOT_NUMBERED
from chunked_vla_ros.core.recording import Outcome, StreamSpec, Verdict, WireMessage
from chunked_vla_ros.core.stream_health import StreamHealth, StreamReport, verdict
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.data.episode_streams import EpisodeStreams
from chunked_vla_ros.data.episode_writer import EpisodeWriter, NO_ROOM

WRITE_PERIOD_S = 0.02
# What a SIGKILL can cost.
FLUSH_PERIOD_S = 0.2
# A disk that does not answer for so long is not waited for any longer.
STALL_LIMIT_S = 30.0


class EpisodeRecording:
    """
    Take messages from one thread, write them in another.

    :ivar start_ns: When the episode began in [ns].
    :ivar health: Per topic, of what was offered.
    :ivar failure: Why nothing is written any more, in one line; '' while all is well.
    :ivar no_room: Whether that is because the disk is full.
    """

    def __init__(self, name: str, writer: EpisodeWriter, selection: Selection, start_ns: int,
                 limit_bytes: int) -> None:
        self._name, self.start_ns = name, start_ns
        self.failure, self.no_room = '', False
        self._writer, self._limit = writer, limit_bytes
        self.health = {
            topic: StreamHealth(StreamSpec(
                topic, '', expected_rate_hz=wish.expected_rate_hz, required=wish.required),
                start_ns)
            for topic in selection.expected() if (wish := selection.wish(topic)) is not None}
        self._announced: set[str] = set()
        self._queue: deque[StreamSpec | WireMessage] = deque()
        # Bytes in and out of the queue; each is written by one thread only.
        self._put = self._written = self._refused = 0
        self._streams = EpisodeStreams(writer, selection, self.health)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name='bag writer', daemon=True)
        self._thread.start()

    @property
    def queued_bytes(self) -> int:
        """Return how much waits to be written."""
        return self._put - self._written

    @property
    def bytes(self) -> int:
        """Return the size of the messages written so far."""
        return self._written

    @property
    def messages(self) -> int:
        """Return how many messages have been written."""
        return self._writer.messages

    def totals(self) -> tuple[int, int]:
        """Return how many messages were lost on the way, and how many dropped here."""
        lost = dropped = 0
        for health in tuple(self.health.values()):
            lost += health.lost_count
            dropped += health.dropped_count
        return lost, dropped

    def preload(self, entries: Iterable[tuple[StreamSpec, int, WireMessage]]) -> None:
        """Take what was kept from before the episode: it has been in memory anyway."""
        for spec, publishers, message in entries:
            self._limit += len(message.data)
            self.offer(spec, publishers, message)

    def offer(self, spec: StreamSpec, publishers: int, message: WireMessage) -> None:
        """Take a message of a topic that has so many publishers, if there is room in the queue."""
        if self.failure:
            self._refused += 1
            return
        health = self._announce(spec)
        health.publishers = publishers
        size = len(message.data)
        if self.queued_bytes + size > self._limit:
            health.dropped(message.log_ns, message.sequence)
            return
        health.add(message.log_ns, message.sequence, size)
        self._put += size
        self._queue.append(message)

    def found(self, topic: str, found_ns: int, sequence: int) -> None:
        """
        Take note that the first message of a topic has come; its publisher numbers it so.

        :param found_ns: When the topic was found in [ns]. If that was while recording, messages
            with lower numbers are missing.
        """
        if found_ns > self.start_ns and sequence != NOT_NUMBERED:
            self.health[topic].unheard = max(sequence - 1, 0)

    def finish(self, outcome: Outcome, end_ns: int, task: str,
               remarks: Sequence[str]) -> EpisodeRecord:
        """
        Write what is queued, close the bag and return what became of it.

        :param remarks: Why the recording is not whole, apart from what is counted here.
        """
        duration_s = max(end_ns - self.start_ns, 0) / NS_PER_S
        self._closing.set()
        self._thread.join(STALL_LIMIT_S)
        reports = [health.report(end_ns) for health in self.health.values()]
        found, reasons = verdict(reports, duration_s)
        reasons = [*filter(None, [self.failure, self._unwritten()]), *reasons, *remarks]
        if reasons and found is Verdict.GOOD:
            found = Verdict.USABLE
        path, found, reasons = self._close(outcome, found, reasons, reports)
        return EpisodeRecord(
            self._name, path, complete=path.name == self._name, start_ns=self.start_ns,
            duration_s=duration_s, task=task, outcome=outcome, verdict=found,
            reasons=tuple(reasons), messages=self._writer.messages,
            lost=sum(report.lost for report in reports),
            dropped=sum(report.dropped for report in reports), bytes=self._writer.bytes)

    def _unwritten(self) -> str:
        """Return how many messages came after the disk had failed, or waited for it then."""
        lost = self._refused + sum(isinstance(item, WireMessage) for item in tuple(self._queue))
        return f'{lost} messages came too late to be written' if self.failure and lost else ''

    def _close(self, outcome: Outcome, found: Verdict, reasons: list[str],
               reports: list[StreamReport]) -> tuple[Path, Verdict, list[str]]:
        if self._thread.is_alive():
            self.failure = (f'{self._writer.folder}: the disk has not answered for '
                            f'{STALL_LIMIT_S:g} s')
            return self._writer.folder, Verdict.BROKEN, [self.failure, *reasons]
        try:
            path = self._writer.finish(outcome, found, reasons, reports)
        except OSError as error:
            self._fail(error)
            self._writer.abandon()
            return self._writer.folder, Verdict.BROKEN, [self.failure, *reasons]
        return path, self._writer.verdict, list(self._writer.reasons)

    def _announce(self, spec: StreamSpec) -> StreamHealth:
        """Return the health of a topic; its first message announces it to the writer."""
        if spec.topic not in self._announced:
            self._announced.add(spec.topic)
            self.health.setdefault(spec.topic, StreamHealth(spec, self.start_ns))
            self._queue.append(spec)
        return self.health[spec.topic]

    # --- the writer's thread -----------------------------------------------------------------

    def _run(self) -> None:
        flushed_s = time.monotonic()
        try:
            while True:
                closing = self._closing.wait(WRITE_PERIOD_S)
                self._drain()
                now_s = time.monotonic()
                if now_s - flushed_s >= FLUSH_PERIOD_S:
                    self._writer.flush()
                    flushed_s = now_s
                if closing and not self._queue:
                    break
        except OSError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: told to the node
            self.failure = f'{type(error).__name__}: {error}'

    def _drain(self) -> None:
        queue, deadline_s = self._queue, time.monotonic() + FLUSH_PERIOD_S
        while queue and time.monotonic() < deadline_s:
            item = queue.popleft()
            if isinstance(item, StreamSpec):
                self._streams.open(item)
            else:
                self._streams.write(item)
                self._written += len(item.data)

    def _fail(self, error: OSError) -> None:
        self.no_room = self.no_room or error.errno in NO_ROOM
        self.failure = f'{error.filename or self._writer.folder}: {error.strerror or error}'
