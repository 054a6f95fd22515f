"""
Rescue what is whole in a damaged MCAP bag into a new bag, and say what was lost.

Every chunk whose CRC is right and every complete message outside of chunks is kept, byte for byte.
The input is only read, the output never overwrites. Knows nothing of terminals.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
import os
from pathlib import Path
import shutil

from chunked_vla_ros.core.recording import OfferedQos, StreamSpec
from chunked_vla_ros.data.bag_directory import BagError, BagPlace
from chunked_vla_ros.data.bag_holes import Holes, TopicLoss
from chunked_vla_ros.data.bag_metadata import (
    BagMetadata,
    information_text,
    METADATA_FILE,
    metadata_text,
    qos_text,
)
from chunked_vla_ros.data.bag_metadata_check import EPISODE_KEY, ROSBAG2_RECORD
from chunked_vla_ros.data.bag_qos import QosError, read_qos
from chunked_vla_ros.data.bag_recovered_facts import recovered_facts
from chunked_vla_ros.data.bag_scan import (
    BagScan,
    FACTS_RECORD,
    FileScan,
    HASH_KEY,
    LATEST_NS,
    Progress,
    QOS_KEY,
    require_mcap,
    scan_mcap,
    Watcher,
)
from chunked_vla_ros.data.durable_file import replace_file, sync_folder
from chunked_vla_ros.data.episode_labels import LABELS_FILE
from chunked_vla_ros.data.mcap_events import Damage, Event, LooseMessage, SoundChunk
from chunked_vla_ros.data.mcap_file import McapFile
from chunked_vla_ros.data.mcap_records import Channel, MessageHeader, Schema

# What readers know; '' is a type without definition.
ENCODINGS = frozenset({'ros2msg', 'ros2idl', 'omgidl', ''})


@dataclass
class Recovery:
    """
    What was rescued and what was not.

    :ivar path: The new bag's directory.
    :ivar bytes: Size of the damaged files; ``lost_bytes`` of them could not be used.
    :ivar notes: What else is worth knowing, one line each.
    """

    path: Path
    messages: int = 0
    bytes: int = 0
    lost_bytes: int = 0
    start_ns: int = 0
    damages: list[tuple[Path, Damage]] = field(default_factory=list)
    topics: list[TopicLoss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recover_bag(place: BagPlace, out: Path, ros_distro: str = 'unknown',
                progress: Progress | None = None) -> Recovery:
    """
    Write everything that is whole in the bag at ``place`` to a new bag at ``out``.

    :raises BagError: there is nothing to rescue, or ``out`` exists.
    :raises OSError: a file cannot be read or written; nothing is left behind at ``out``.
    """
    if place.storage != 'mcap':
        raise BagError(f'{place.files[0]}: is sqlite3, recover rescues MCAP; try: sqlite3 '
                       f'{place.files[0].name} .recover | sqlite3 new.db3')
    if os.path.lexists(out):
        raise BagError(f'{out}: exists and is not overwritten, choose another --out')
    if place.is_directory and place.path.resolve() in out.resolve().parents:
        raise BagError(f'{out}: lies inside of the damaged bag, which is only read; choose '
                       f'another --out')
    # Hidden until it is whole; `<out>.partial` may be what is being recovered.
    folder = out.with_name(f'.{out.name}.recovering')
    if os.path.lexists(folder):
        raise BagError(f'{folder}: is left from a recovery that was cut off, or one is going on; '
                       f'delete it or choose another --out')
    try:
        folder.mkdir(parents=True)
        recovery = _Rescue(place, out, folder, ros_distro).run(progress)
        folder.rename(out)
    except BaseException as error:
        with suppress(OSError):
            shutil.rmtree(folder)
        if isinstance(error, OSError) and str(error.filename).startswith(str(folder)):
            raise BagError(f'{out}: cannot be written ({error.strerror}), choose another '
                           '--out') from error
        raise
    sync_folder(out.parent)
    return recovery


class _Rescue:
    def __init__(self, place: BagPlace, out: Path, folder: Path, ros_distro: str) -> None:
        self._place, self._folder, self._distro = place, folder, ros_distro
        self._file = McapFile(folder / f'{out.name}_0.mcap', 'chunked_vla_ros recover')
        self._recovery = Recovery(out)
        self._schemas: dict[Schema, int] = {}
        self._numbers: dict[tuple[str, Schema, str], int] = {}
        # Of the file at hand: in another one the same number may mean something else.
        self._channels: dict[int, tuple[Channel, int]] = {}
        self._specs: dict[int, StreamSpec] = {}
        self._holes = Holes()
        self._bag = BagScan('mcap')

    def run(self, progress: Progress | None) -> Recovery:
        """Copy everything whole, then write the end of the file and metadata.yaml."""
        try:
            scan_mcap(self._place.files, self._watch, progress, self._bag)
            require_mcap(self._bag)
            if not self._bag.messages:
                raise BagError(f'{self._place.path}: holds no whole message, nothing to recover')
            for scan in self._bag.files:
                for channel in scan.definitions.channels.values():
                    self._add_channel(scan, channel)    # topics without messages, too
            self._report()
            self._finish()
        finally:
            self._file.close()
        return self._recovery

    def _watch(self, scan: FileScan) -> Watcher:
        self._channels.clear()

        def watch(event: Event) -> None:
            if isinstance(event, SoundChunk):
                for _, record, data in event.records:
                    if isinstance(record, MessageHeader):
                        self._message(scan, record, data)
                self._file.flush()
            elif isinstance(event, LooseMessage):
                self._message(scan, event.header, event.data)
            elif isinstance(event, Damage):
                self._damage(scan, event)
        return watch

    def _message(self, scan: FileScan, header: MessageHeader, data: memoryview) -> None:
        channel = scan.definitions.channel(header.channel_id)
        if channel is None or max(header.log_ns, header.publish_ns) > LATEST_NS:
            return
        self._file.add_message(self._number(scan, channel), bytes(data), header.log_ns,
                               header.publish_ns, header.sequence)
        self._holes.message(channel.topic, header.log_ns)

    def _number(self, scan: FileScan, channel: Channel) -> int:
        """Return the number that ``channel`` of the file at hand has in the new file."""
        known, number = self._channels.get(channel.id, (None, 0))
        if known is not channel:
            number = self._add_channel(scan, channel)
            self._channels[channel.id] = channel, number
        return number

    def _add_channel(self, scan: FileScan, channel: Channel) -> int:
        schema = self._schema(channel.topic, scan.definitions.schema(channel))
        # One channel for a topic, whoever published it in which split: readers look by the QoS
        # that metadata.yaml states, and it states one.
        key = channel.topic, schema, channel.encoding
        if key not in self._numbers:
            metadata = dict(channel.metadata)
            qos = self._qos(channel.topic, metadata.get(QOS_KEY, ''))
            metadata[QOS_KEY] = qos_text(qos) if qos else ''
            if any(spec.topic == channel.topic for spec in self._specs.values()):
                self._note(f'{channel.topic} has several types or encodings: readers will take '
                           f'one of them')
            number = self._file.add_channel(
                channel.topic, self._schemas[schema], channel.encoding, metadata)
            self._numbers[key] = number
            self._specs[number] = StreamSpec(
                channel.topic, schema.name, type_hash=metadata.get(HASH_KEY, ''), offered_qos=qos)
            if channel.encoding != 'cdr':
                self._note(f'{channel.topic} is encoded as {channel.encoding!r}: ROS readers '
                           f'expect cdr')
        return self._numbers[key]

    def _schema(self, topic: str, found: Schema | None) -> Schema:
        """Return the type of ``topic`` as it is in the new file."""
        schema = found or Schema(0, '', '', b'')
        if schema.encoding not in ENCODINGS or not _is_text(schema.data):
            self._note(f'{topic}: the definition of its type is not readable and left out')
            schema = Schema(0, schema.name, '', b'')
        schema = replace(schema, id=0)
        if schema not in self._schemas:
            self._schemas[schema] = self._file.add_schema(
                schema.name, schema.encoding, schema.data)
        return schema

    def _qos(self, topic: str, text: str) -> tuple[OfferedQos, ...]:
        try:
            return read_qos(text)
        except QosError as error:
            self._note(f'{topic}: its offered QoS is left out ({error})')
            return ()

    def _note(self, note: str) -> None:
        if note not in self._recovery.notes:
            self._recovery.notes.append(note)

    def _damage(self, scan: FileScan, damage: Damage) -> None:
        recovery = self._recovery
        recovery.lost_bytes += damage.length
        if len(scan.damages) >= scan.damage_count:    # the walk keeps no more than so many
            recovery.damages.append((scan.path, damage))
        self._holes.damage(self._bag, damage)
        for number, count in damage.messages.items():
            channel = scan.definitions.channel(number)
            if channel is not None:
                self._holes.counted[channel.topic] = (
                    self._holes.counted.get(channel.topic, 0) + count)

    def _report(self) -> None:
        bag, recovery = self._bag, self._recovery
        recovery.messages, recovery.start_ns = bag.messages, bag.start_ns
        recovery.bytes = sum(scan.size for scan in bag.files)
        recovery.topics = self._holes.losses(bag)
        for scan in bag.files:
            saved = sum(damage.saved for damage in scan.damages)
            if saved:
                recovery.notes.append(f'{scan.path.name}: {saved} messages are from the '
                                      f'incomplete chunk at its end, its CRC is unknown')
            if scan.strays:
                recovery.notes.append(f'{scan.path.name}: {scan.strays} messages are left out, '
                                      f'nothing says of which topic they are')
            if scan.timeless:
                recovery.notes.append(f'{scan.path.name}: {scan.timeless} messages are left out, '
                                      f'no clock can show their stamps')
            if scan.attachments:
                recovery.notes.append(f'{scan.path.name}: {scan.attachments} attachments are left '
                                      f'out, bags have none')
            recovery.notes += [f'{topic}: its definition is from a chunk with a wrong CRC'
                               for topic in scan.definitions.fallbacks]

    def _finish(self) -> None:
        self._file.flush()    # what came outside of chunks
        counts, (first_ns, last_ns) = self._file.counts, self._file.span_ns
        topics: dict[str, tuple[StreamSpec, int]] = {}
        for number, spec in self._specs.items():
            before = topics.get(spec.topic, (spec, 0))
            topics[spec.topic] = before[0], before[1] + counts[number]
        facts = recovered_facts(self._place, self._bag, self._recovery.lost_bytes)
        bag = BagMetadata(
            file_name=self._file.path.name, topics=tuple(topics.values()), start_ns=first_ns,
            duration_ns=last_ns - first_ns, custom_data=facts, ros_distro=self._distro)
        for scan in self._bag.files:
            for record in scan.metadata:
                # rosbag2's counts the messages of the damaged file: it is written anew.
                if record.name not in (FACTS_RECORD, ROSBAG2_RECORD):
                    self._file.add_metadata(record.name, dict(record.values))
        if EPISODE_KEY in facts:
            self._file.add_metadata(FACTS_RECORD, facts)
        self._file.add_metadata(ROSBAG2_RECORD, {'serialized_metadata': information_text(bag)})
        self._file.finish()
        replace_file(self._folder / METADATA_FILE, metadata_text(bag))
        labels = self._place.path / LABELS_FILE
        if self._place.is_directory and labels.is_file():
            shutil.copyfile(labels, self._folder / LABELS_FILE)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
