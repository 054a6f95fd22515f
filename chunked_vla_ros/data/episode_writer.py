"""
Write one episode as a rosbag2 directory that is never half a bag under its final name.

``<root>/<id>.partial`` is renamed to ``<root>/<id>`` when file, index and metadata.yaml are on the
disk. Messages are written as they came over the wire. Knows nothing about ROS's graph, queues or
when to record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
import errno
import json
import os
from pathlib import Path

from chunked_vla_ros.core.episode_name import checked_name, UNFINISHED
from chunked_vla_ros.core.loss_meter import NOT_NUMBERED
from chunked_vla_ros.core.recording import (
    EpisodeFacts,
    Outcome,
    StreamSpec,
    Verdict,
    WireMessage,
)
from chunked_vla_ros.core.stream_health import StreamReport
from chunked_vla_ros.data.bag_metadata import (
    BagMetadata,
    information_text,
    METADATA_FILE,
    metadata_text,
    qos_text,
    writable,
)
from chunked_vla_ros.data.durable_file import replace_file, sync_folder
from chunked_vla_ros.data.mcap_file import McapFile

# Name of our metadata record in the MCAP file: the facts when the episode begins, and again with
# the result when it ends; the last one counts.
RECORD = 'chunked_vla_ros'
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# MCAP numbers messages with 32 bits.
NUMBERS = 2**32 - 1
# How rosbag2 marks a definition in IDL.
IDL_HEADER = '=' * 80 + '\nIDL: '


class EpisodeWriter:
    """
    One episode while it is being recorded. For one thread.

    ``OSError`` names the file. After one, what was written before is whole, and `finish` still
    makes a bag of it: where the disk is full, from the room of the chunks that it gives up.

    :ivar folder: Where the bag is: ``<root>/<id>.partial`` until `finish` returns.
    :ivar verdict: As `finish` wrote it, with the writer's own reasons.
    :ivar reasons: Likewise.
    """

    def __init__(self, root: Path, facts: EpisodeFacts, specs: Iterable[StreamSpec] = (),
                 ros_distro: str | None = None) -> None:
        """
        Begin ``<root>/<facts.episode_id>.partial``; ``root`` is made where it is missing.

        :param ros_distro: For the metadata; ``None``: the environment's.
        :raises EpisodeNameError: the episode's name is none.
        :raises OSError: the episode exists, unfinished or not, or cannot be written.
        """
        self._name = checked_name(facts.episode_id)
        self._facts = replace(facts, episode_id=self._name)
        self._target = root / self._name
        self._distro = ros_distro or os.environ.get('ROS_DISTRO', 'unknown')
        self._channels: dict[str, int] = {}
        self._specs: list[StreamSpec] = []
        self._schemas: dict[tuple[str, str], int] = {}
        self._refusal = ''
        self._whole = False
        self.verdict, self.reasons = Verdict.BROKEN, ['not finished']
        self.folder = root / (self._name + UNFINISHED)
        self._make_folder()
        with ExitStack() as undo:
            undo.callback(self._unmake_folder)
            self._file = McapFile(self.path, f'chunked_vla_ros {facts.software_version}'.strip())
            undo.callback(self._file.close)
            self._file.add_metadata(RECORD, _texts(self._facts.as_text()))
            for spec in specs:
                self.add_stream(spec)
            undo.pop_all()

    @property
    def path(self) -> Path:
        """Return the MCAP file."""
        return self.folder / f'{self._name}_0.mcap'

    @property
    def messages(self) -> int:
        """Return how many messages were taken."""
        return self._file.messages

    @property
    def bytes(self) -> int:
        """Return how large the file is; the open chunk is not in it yet."""
        return self._file.bytes

    def add_stream(self, spec: StreamSpec) -> None:
        """
        Announce a topic, at any time before its first message; once more changes nothing.

        :raises ValueError: it was announced with another type.
        """
        if spec.topic in self._channels:
            known = next(known for known in self._specs if known.topic == spec.topic)
            if known.type_name != spec.type_name:
                raise ValueError(f'{spec.topic} is recorded as {known.type_name} and cannot be '
                                 f'{spec.type_name} in the same episode: stop its publisher')
            return
        key = spec.type_name, spec.definition
        if key not in self._schemas:
            # MCAP's word for 'no schema is available'; the type's name stays known by it.
            encoding = 'ros2idl' if spec.definition.startswith(IDL_HEADER) else 'ros2msg'
            self._schemas[key] = self._file.add_schema(
                spec.type_name, encoding if spec.definition else '',
                writable(spec.definition).encode())
        self._channels[spec.topic] = self._file.add_channel(
            spec.topic, self._schemas[key], 'cdr',
            {'offered_qos_profiles': qos_text(spec.offered_qos),
             'topic_type_hash': spec.type_hash})
        self._specs.append(spec)

    def write(self, message: WireMessage) -> None:
        """
        Take ``message``; it is in the file after the next `flush`.

        :raises ValueError: its topic was not announced, or a stamp is negative.
        """
        channel = self._channels.get(message.topic)
        if channel is None:
            raise ValueError(f'{self.folder}: {message.topic} is no stream of this episode: '
                             f'announce it with add_stream, before the episode is finished')
        number = 0 if message.sequence == NOT_NUMBERED else message.sequence & NUMBERS
        try:
            self._file.add_message(
                channel, message.data, message.log_ns, message.publish_ns, number)
        except OSError as error:
            self._refusal = str(error.strerror)
            raise

    def flush(self) -> None:
        """Put everything taken so far into the file: a SIGKILL no longer loses it."""
        try:
            self._file.flush()
        except OSError as error:
            self._refusal = str(error.strerror)
            raise

    def finish(self, outcome: Outcome, verdict: Verdict, reasons: Sequence[str],
               reports: Sequence[StreamReport]) -> Path:
        """
        Close the bag and give it its name; may be called again after an error.

        :param verdict: The recorder's; worse where the writer knows of a reason.
        :returns: The bag's directory.
        :raises OSError: it could not be closed, or the name was taken meanwhile; what is recorded
            stays in ``folder``.
        """
        if not self._whole:
            self._close(outcome, verdict, reasons, reports)
            self._whole = True
        if os.path.lexists(self._target):
            raise FileExistsError(
                errno.EEXIST, f'exists already; the new recording is whole in {self.folder}, '
                'give that another name', str(self._target))
        self.folder.rename(self._target)
        self.folder = self._target
        sync_folder(self._target.parent)
        return self._target

    def abandon(self) -> None:
        """Stop writing and leave everything in ``<id>.partial``; nothing is deleted."""
        self._channels.clear()
        with suppress(OSError):
            self.flush()
        self._file.close()

    def _close(self, outcome: Outcome, verdict: Verdict, reasons: Sequence[str],
               reports: Sequence[StreamReport]) -> None:
        try:
            self.flush()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
        while True:
            self._judge(verdict, reasons)
            facts = self._facts.as_text() | {
                'outcome': outcome.value, 'verdict': self.verdict.value,
                'reasons': json.dumps(self.reasons, ensure_ascii=False),
                'streams': json.dumps([asdict(report) for report in reports])}
            try:
                self._write_ending(_texts(facts))
                break
            except OSError as error:
                if error.errno not in NO_ROOM or not self._file.drop_last_chunk():
                    raise
                self._refusal = str(error.strerror)
        self._channels.clear()
        self._file.close()

    def _judge(self, verdict: Verdict, reasons: Sequence[str]) -> None:
        """Add what only the writer knows."""
        own = [f'{spec.topic} has no definition of {spec.type_name}: readers need its package'
               for spec in self._specs if not spec.definition]
        unwritten = self._file.unwritten.total()
        if unwritten:
            own.append(f'{unwritten} of {self.messages} messages could not be written: '
                       f'{self._refusal}')
        self.reasons = [*reasons, *(reason for reason in own if reason not in reasons)]
        self.verdict = Verdict.USABLE if own and verdict is Verdict.GOOD else verdict

    def _write_ending(self, facts: dict[str, str]) -> None:
        counts = self._file.counts
        first_ns, last_ns = self._file.span_ns
        bag = BagMetadata(
            file_name=self.path.name, start_ns=first_ns, duration_ns=last_ns - first_ns,
            topics=tuple((spec, counts[self._channels[spec.topic]]) for spec in self._specs),
            custom_data=facts, ros_distro=self._distro)
        self._file.add_metadata(RECORD, facts)
        # Where rosbag2 looks for it when metadata.yaml is gone.
        self._file.add_metadata('rosbag2', {'serialized_metadata': information_text(bag)})
        self._file.finish()
        replace_file(self.folder / METADATA_FILE, metadata_text(bag))

    def _make_folder(self) -> None:
        if os.path.lexists(self._target):
            raise FileExistsError(errno.EEXIST, 'exists already and is not overwritten; choose '
                                  'another name or discard it', str(self._target))
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir()
        except FileExistsError:
            raise FileExistsError(
                errno.EEXIST, 'an unfinished recording lies there; rescue it with '
                f'`chunked-vla bag recover {self.folder}` or discard it',
                str(self.folder)) from None

    def _unmake_folder(self) -> None:
        """Leave nothing behind that would bar the name: there is no message yet."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
            self.folder.rmdir()


def _texts(values: Mapping[str, str]) -> dict[str, str]:
    return {key: writable(text) for key, text in values.items()}
