"""
What is in a bag, topic by topic, read from the messages themselves and not from any index.

Works on whole, truncated and damaged files; memory does not grow with their length. MCAP here,
sqlite3 in `data.sqlite_scan`. Knows nothing of terminals and judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chunked_vla_ros.data.bag_directory import BagError
from chunked_vla_ros.data.mcap_definitions import Definitions
from chunked_vla_ros.data.mcap_events import (
    Damage,
    DamageKind,
    DataEnd,
    Event,
    LooseMessage,
    Placed,
    SoundChunk,
)
from chunked_vla_ros.data.mcap_records import (
    Attachment,
    Channel,
    Header,
    MessageHeader,
    Metadata,
    Schema,
)
from chunked_vla_ros.data.mcap_summary import read_summary, Summary
from chunked_vla_ros.data.mcap_walk import Walk
from chunked_vla_ros.data.topic_scan import TopicScan

QOS_KEY = 'offered_qos_profiles'
HASH_KEY = 'topic_type_hash'
# The name of the record that holds an episode's facts inside of our MCAP files.
FACTS_RECORD = 'chunked_vla_ros'
# More lines than these tell nobody anything.
MOST_DAMAGES = 100
# ROS counts nanoseconds in 63 bits.
LATEST_NS = 2**63 - 1

Progress = Callable[[int], None]
Watcher = Callable[[Event], None]


@dataclass
class FileScan:
    """
    What is in one MCAP file.

    :ivar messages: Those that count: not the ones below.
    :ivar damages: At most `MOST_DAMAGES` of them.
    :ivar damage_count: How many there are.
    :ivar damaged_bytes: What lies in them.
    :ivar strays: Messages of a channel that nothing in the file defines.
    :ivar timeless: Messages with a stamp that no ROS clock can show.
    """

    path: Path
    size: int
    summary: Summary | None
    definitions: Definitions
    header: Header | None = None
    data_end: DataEnd | None = None
    chunks: int = 0
    chunks_without_crc: int = 0
    loose_messages: int = 0
    messages: int = 0
    attachments: int = 0
    strays: int = 0
    timeless: int = 0
    packings: set[str] = field(default_factory=set)
    metadata: list[Metadata] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    damage_count: int = 0
    damaged_bytes: int = 0

    @property
    def is_mcap(self) -> bool:
        """Return whether anything at all in it is MCAP's."""
        return bool(self.header or self.chunks or self.definitions.channels or self.data_end
                    or any(damage.kind is DamageKind.CRC for damage in self.damages))


@dataclass
class BagScan:
    """
    What is in a bag of one or more files.

    :ivar topics: By name, in the order in which they appear.
    :ivar judged: Whether losses and gaps are wanted, which takes half of the time.
    """

    storage: str
    judged: bool = True
    topics: dict[str, TopicScan] = field(default_factory=dict)
    files: list[FileScan] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """Return how many messages there are."""
        return sum(topic.messages for topic in self.topics.values())

    @property
    def start_ns(self) -> int:
        """Return the first log stamp in [ns], 0 without messages."""
        return min((topic.first_ns for topic in self.topics.values()
                    if topic.first_ns is not None), default=0)

    @property
    def end_ns(self) -> int:
        """Return the last log stamp in [ns], 0 without messages."""
        return max((topic.last_ns for topic in self.topics.values()
                    if topic.last_ns is not None), default=0)

    @property
    def facts(self) -> dict[str, str]:
        """Return the facts of one of our episodes as its MCAP tells them; empty for others."""
        found: dict[str, str] = {}
        for scan in self.files:
            for record in scan.metadata:
                if record.name == FACTS_RECORD:
                    found |= dict(record.values)
        return found

    def topic(self, name: str) -> TopicScan:
        """Return the scan of a topic, a new one for a new name."""
        if name not in self.topics:
            self.topics[name] = TopicScan(name, judged=self.judged)
        return self.topics[name]


def scan_mcap(files: Sequence[Path], watchers: Callable[[FileScan], Watcher] | None = None,
              progress: Progress | None = None, into: BagScan | None = None) -> BagScan:
    """
    Read every message of a bag's files.

    :param watchers: Called for each file; what it returns sees every event of that file.
    :param progress: Is told how many bytes of all files have been read.
    :param into: Where to count, so that a watcher can see the counts as they grow.
    :raises OSError: a file cannot be read.
    """
    bag, before = BagScan('mcap') if into is None else into, 0
    for path in files:
        with path.open('rb') as stream:
            size = stream.seek(0, 2)
            summary = read_summary(stream, size)
            scan = FileScan(path, size, summary, Definitions(summary))
            bag.files.append(scan)
            watch = watchers(scan) if watchers is not None else None
            anchors = summary.anchors if summary is not None and not summary.flaw else ()
            walk = Walk(stream, size, anchors, _counted(progress, before))
            reading = _Reading(bag, scan)
            for event in walk.events():
                reading.see(event)
                if watch is not None:
                    watch(event)
            reading.name_empty_topics()
        before += size
    return bag


def require_mcap(bag: BagScan) -> None:
    """
    Accept a bag of which at least one file is MCAP, however damaged.

    :raises BagError: none is.
    """
    if not any(scan.is_mcap for scan in bag.files):
        scan = bag.files[0]
        raise BagError(f'{scan.path}: is empty, nothing was ever written to it' if not scan.size
                       else f'{scan.path}: is not an MCAP file, and nothing in it is MCAP')


def _counted(progress: Progress | None, before: int) -> Progress | None:
    return None if progress is None else lambda count: progress(before + count)


class _Reading:
    """Turn the events of one file into counts."""

    def __init__(self, bag: BagScan, scan: FileScan) -> None:
        self._bag, self._scan = bag, scan
        self._topics: dict[int, TopicScan | None] = {}

    def see(self, event: Event) -> None:
        scan = self._scan
        if isinstance(event, SoundChunk):
            scan.chunks += 1
            scan.chunks_without_crc += not event.header.crc
            scan.packings.add(event.header.compression)
            for _, record, data in event.records:
                if isinstance(record, MessageHeader):
                    self._message(record, len(data))
                else:
                    scan.definitions.add(record)
        elif isinstance(event, LooseMessage):
            scan.loose_messages += 1
            self._message(event.header, len(event.data))
        elif isinstance(event, Placed):
            self._placed(event)
        elif isinstance(event, Damage):
            scan.damage_count += 1
            scan.damaged_bytes += event.length
            if len(scan.damages) < MOST_DAMAGES:
                scan.damages.append(event)
        elif isinstance(event, DataEnd):
            scan.data_end = event

    def name_empty_topics(self) -> None:
        """List the topics on which nothing came, too."""
        definitions = self._scan.definitions
        summary = self._scan.summary
        spare = summary.channels if summary is not None and not summary.flaw else {}
        for number in (*definitions.channels, *spare):
            self._topic(number)

    def _placed(self, event: Placed) -> None:
        record = event.record
        if isinstance(record, Header):
            self._scan.header = self._scan.header or record
        elif isinstance(record, (Schema, Channel)):
            self._scan.definitions.add(record, event.trusted)
        elif isinstance(record, Metadata):
            self._scan.metadata.append(record)
        elif isinstance(record, Attachment):
            self._scan.attachments += 1

    def _message(self, header: MessageHeader, size: int) -> None:
        number = header.channel_id
        topic = self._topics.get(number) or self._topic(number)
        if topic is None:
            self._scan.strays += 1
        elif max(header.log_ns, header.publish_ns) > LATEST_NS:
            self._scan.timeless += 1
        else:
            topic.add(header.log_ns, header.sequence, size)
            self._scan.messages += 1

    def _topic(self, number: int) -> TopicScan | None:
        if number in self._topics:
            return self._topics[number]
        definitions = self._scan.definitions
        channel = definitions.channel(number)
        if channel is None:
            return None
        schema = definitions.schema(channel)
        metadata = dict(channel.metadata)
        topic = self._bag.topic(channel.topic)
        topic.describe('' if schema is None else schema.name, metadata.get(QOS_KEY, ''),
                       metadata.get(HASH_KEY, ''))
        self._topics[number] = topic
        return topic
