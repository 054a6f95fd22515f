"""
Whether an MCAP file's index and summary say what its messages say.

Watches the events of one walk and compares at the end: everything is read once. Collects lines,
prints nothing. Knows nothing of metadata.yaml, which `data.bag_metadata_check` compares.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import zlib

from chunked_vla_ros.data.bag_scan import FileScan
from chunked_vla_ros.data.mcap_events import (
    DataEnd,
    Event,
    IndexRecord,
    LooseMessage,
    Placed,
    SoundChunk,
)
from chunked_vla_ros.data.mcap_records import Attachment, Channel, MessageHeader, Metadata, Schema
from chunked_vla_ros.data.mcap_summary import ChunkIndex, Place, Summary

# Of each kind of finding; the rest are counted.
MOST_LINES = 5
REINDEX = 'messages are all there; recover writes a new index'


@dataclass
class _Chunk:
    """What a chunk holds, to be compared with what is said of it."""

    offset: int
    length: int
    start_ns: int
    end_ns: int
    compression: str
    size: int
    uncompressed_size: int
    stamps: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    indexes: dict[int, int] = field(default_factory=dict)
    index_length: int = 0


class FileCheck:
    """
    Compare what one file holds with what it says of itself.

    :ivar findings: One line each, without the file's name.
    """

    def __init__(self, scan: FileScan) -> None:
        self._scan = scan
        self._kinds: Counter[str] = Counter()
        self._lines: list[str] = []
        self._chunk: _Chunk | None = None
        self._seen: set[int] = set()
        self._counts: Counter[int] = Counter()
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._metadata: list[Place] = []
        self._attachments: list[Place] = []
        self._first_ns = self._last_ns = -1

    def see(self, event: Event) -> None:
        """Take what the walk came across."""
        if isinstance(event, IndexRecord):
            self._index(event)
            return
        if not isinstance(event, Placed) or not isinstance(event.record, (Schema, Channel)):
            self._close_chunk()
        if isinstance(event, SoundChunk):
            self._open_chunk(event)
        elif isinstance(event, LooseMessage):
            self._message(event.header)
        elif isinstance(event, Placed):
            self._placed(event)
        elif isinstance(event, DataEnd) and event.stored_crc not in (0, event.found_crc):
            self._say('data', 'the CRC of the data section is wrong')

    def findings(self) -> list[str]:
        """Return what does not agree, one line each."""
        self._close_chunk()
        scan, summary = self._scan, self._scan.summary
        lines = [_damage_line(scan)] if scan.damage_count else []
        if summary is None:
            lines.append('it has no end (footer and summary): recover writes one')
        elif summary.flaw:
            lines.append(f'{summary.flaw}: {REINDEX}')
        elif not scan.damage_count:
            self._compare(summary)
        if scan.header is not None and scan.header.profile != 'ros2':
            self._say('profile', f'its profile is {scan.header.profile!r}, expected ros2')
        if scan.strays:
            self._say('strays', f'{scan.strays} messages are of a channel that is not defined')
        if scan.timeless:
            self._say('stamps', f'{scan.timeless} messages have stamps that no clock can show')
        more = [f'and {count - MOST_LINES} more of this kind: {kind}'
                for kind, count in self._kinds.items() if count > MOST_LINES]
        return lines + self._lines + scan.definitions.contradictions + more

    def _say(self, kind: str, line: str) -> None:
        self._kinds[kind] += 1
        if self._kinds[kind] <= MOST_LINES:
            self._lines.append(line)

    def _open_chunk(self, event: SoundChunk) -> None:
        header = event.header
        chunk = self._chunk = _Chunk(
            event.offset, event.length, header.start_ns, header.end_ns, header.compression,
            header.size, header.uncompressed_size)
        for offset, record, _ in event.records:
            if isinstance(record, MessageHeader):
                chunk.stamps.setdefault(record.channel_id, []).append((record.log_ns, offset))
                self._message(record)
            else:
                self._define(record)
        stamps = [stamp for entries in chunk.stamps.values() for stamp, _ in entries]
        if stamps and (min(stamps), max(stamps)) != (header.start_ns, header.end_ns):
            self._say('times', f'the chunk at byte {event.offset} says other times than its '
                               f'messages')

    def _index(self, event: IndexRecord) -> None:
        chunk = self._chunk
        if chunk is None:
            return    # of a chunk that could not be read
        chunk.indexes[event.channel_id] = event.offset
        chunk.index_length += event.length
        if sorted(event.entries) != sorted(chunk.stamps.get(event.channel_id, [])):
            self._say('index', f'the index of channel {event.channel_id} after the chunk at byte '
                               f'{chunk.offset} does not fit its messages')

    def _close_chunk(self) -> None:
        chunk, self._chunk = self._chunk, None
        if chunk is None:
            return
        self._seen.add(chunk.offset)
        missing = chunk.stamps.keys() - chunk.indexes.keys()
        if chunk.indexes and missing:
            self._say('index', f'the chunk at byte {chunk.offset} has no index of channel '
                               f'{min(missing)}')
        summary = self._scan.summary
        if summary is None or summary.flaw or not summary.chunks:
            return
        said = summary.chunks.get(chunk.offset)
        if said is None:
            self._say('chunk index', f'the summary does not know the chunk at byte {chunk.offset}')
        elif not _same(chunk, said):
            self._say('chunk index', f'the summary says something else of the chunk at byte '
                                     f'{chunk.offset}')

    def _message(self, header: MessageHeader) -> None:
        self._counts[header.channel_id] += 1
        stamp = header.log_ns
        self._first_ns = stamp if self._first_ns < 0 else min(self._first_ns, stamp)
        self._last_ns = max(self._last_ns, stamp)

    def _placed(self, event: Placed) -> None:
        record = event.record
        if isinstance(record, (Schema, Channel)) and event.trusted:
            self._define(record)
        elif isinstance(record, Metadata):
            self._metadata.append(Place(event.offset, event.length, record.name))
        elif isinstance(record, Attachment):
            self._attachments.append(Place(event.offset, event.length, record.name))
            if record.crc and zlib.crc32(event.body[:-4]) != record.crc:
                self._say('attachment', f'the CRC of the attachment {record.name!r} is wrong')

    def _define(self, record: Schema | Channel) -> None:
        if isinstance(record, Schema):
            self._schemas.setdefault(record.id, record)
        else:
            self._channels.setdefault(record.id, record)

    def _compare(self, summary: Summary) -> None:
        """Compare a sound summary with a sound data section."""
        data_end = self._scan.data_end
        if data_end is not None and data_end.offset != summary.start:
            self._say('start', 'the footer says another start of the summary than there is')
        unknown = summary.chunks.keys() - self._seen
        if unknown:
            self._say('chunk index', f'the summary lists a chunk at byte {min(unknown)}, where '
                                     f'none is')
        for said, found, what in ((summary.channels, self._channels, 'channel'),
                                  (summary.schemas, self._schemas, 'schema')):
            for number, record in said.items():
                if found.get(number, record) != record:
                    self._say(what, f'the summary says something else of {what} {number}')
            # Writers may leave one without messages out of the data section, not out of both.
            for number in found.keys() - said.keys() if said else ():
                self._say(what, f'the summary does not know {what} {number}')
        for places, seen, what in ((summary.metadata, self._metadata, 'metadata record'),
                                   (summary.attachments, self._attachments, 'attachment')):
            if places and set(places) != set(seen):
                self._say(what, f'the index of the {what}s does not fit')
        self._compare_counts(summary)

    def _compare_counts(self, summary: Summary) -> None:
        said = summary.statistics
        if said is None:
            return
        pairs = [
            ('messages', said.messages, sum(self._counts.values())),
            ('chunks', said.chunks, self._scan.chunks),
            ('metadata records', said.metadata, len(self._metadata)),
            ('attachments', said.attachments, len(self._attachments))]
        if self._counts:
            pairs += [('as its first stamp', said.start_ns, self._first_ns),
                      ('as its last stamp', said.end_ns, self._last_ns)]
        for what, counted, found in pairs:
            if counted != found:
                self._say('statistics', f'the summary counts {counted} {what}, there are {found}'
                          if 'stamp' not in what
                          else f'the summary gives {counted} {what}, expected {found}')
        for number, count in said.channel_messages:
            if count != self._counts[number]:
                channel = self._channels.get(number) or summary.channels.get(number)
                name = f'channel {number}' if channel is None else channel.topic
                self._say('statistics', f'the summary counts {count} messages on {name}, there '
                                        f'are {self._counts[number]}')


def _damage_line(scan: FileScan) -> str:
    first = scan.damages[0]
    more = (f', and {scan.damage_count - 1} more such places' if scan.damage_count > 1 else '')
    return (f'{first.what} at byte {first.offset} of {scan.size} ({scan.damaged_bytes} bytes are '
            f'lost{more}): save the rest with recover')


def _same(chunk: _Chunk, said: ChunkIndex) -> bool:
    found = (chunk.length, chunk.start_ns, chunk.end_ns, chunk.compression, chunk.size,
             chunk.uncompressed_size)
    claimed = (said.length, said.start_ns, said.end_ns, said.compression, said.size,
               said.uncompressed_size)
    indexed = not said.index_offsets or (
        dict(said.index_offsets) == chunk.indexes and said.index_length == chunk.index_length)
    return found == claimed and indexed
