"""
The messages of a bag's MCAP files in the order of their log times, in bounded memory.

One walk finds out where sound messages lie and when they were logged; then only the stretches that
are due are held. Knows no message's meaning and judges no bag.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple

from chunked_vla_ros.data.bag_directory import BagError
from chunked_vla_ros.data.bag_scan import BagScan, FileScan, LATEST_NS, require_mcap, scan_mcap
from chunked_vla_ros.data.mcap_chunk import split_records, unpack, UnpackError
from chunked_vla_ros.data.mcap_events import Event, LooseMessage, SoundChunk
from chunked_vla_ros.data.mcap_records import (
    Channel,
    MESSAGE_HEADER,
    MessageHeader,
    parse_chunk_header,
    RECORD_HEADER,
    RecordError,
    Schema,
)
from chunked_vla_ros.data.mcap_walk import CHUNK_HEAD

# Messages outside of chunks are read in stretches of so many bytes.
STRETCH_BYTES = 1 << 20
# Of unpacked stretches that overlap in time; beyond it they are unpacked again and again.
HELD_BYTES = 256 << 20
BEFORE_DATA = RECORD_HEADER.size + MESSAGE_HEADER.size


class StoredMessage(NamedTuple):
    """A message, whatever the storage; stamps in [ns]."""

    log_ns: int
    publish_ns: int
    topic: str
    data: bytes


@dataclass
class Stretch:
    """
    A chunk, or neighbouring messages outside of chunks.

    :ivar file: Which of the bag's files.
    :ivar start_ns: Smallest log time of its messages, whatever its own header says.
    :ivar channels: Whose messages are in it.
    """

    file: int
    offset: int
    length: int
    is_chunk: bool
    start_ns: int
    end_ns: int
    channels: frozenset[int]


class _Entry(NamedTuple):
    """Where a message lies in an unpacked stretch; sorts by time, then by place."""

    log_ns: int
    start: int
    size: int
    publish_ns: int
    channel: int


class McapMessages:
    """
    The messages of a bag's MCAP files.

    :ivar scan: What the walk has counted.
    :ivar channels: For each file, what its channels' numbers stand for.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """
        Walk over all files.

        :raises BagError: none of them is MCAP.
        :raises OSError: one cannot be read.
        """
        self._files = files
        self._finders: list[_Finder] = []
        self.scan = scan_mcap(files, self._finder, into=BagScan('mcap', judged=False))
        require_mcap(self.scan)
        self.channels = [
            _channels(scan, finder.seen)
            for scan, finder in zip(self.scan.files, self._finders, strict=True)]

    def schema(self, file: int, channel: Channel) -> Schema | None:
        """Return the type of a channel of one file, ``None`` where the file does not say."""
        return self.scan.files[file].definitions.schema(channel)

    def messages(self, topics: Collection[str], start_ns: int,
                 end_ns: int) -> Iterator[StoredMessage]:
        """
        Yield the messages of ``topics`` from ``start_ns`` to ``end_ns``, ordered by log time.

        Of equal times the earlier file comes first, then the earlier place.

        :raises BagError: a file has changed since the walk.
        :raises OSError: a file cannot be read.
        """
        wanted = [{number: channel.topic for number, channel in channels.items()
                   if channel.topic in topics} for channels in self.channels]
        waiting = sorted(
            (stretch for finder in self._finders for stretch in finder.stretches
             if stretch.start_ns <= end_ns and stretch.end_ns >= start_ns
             and not stretch.channels.isdisjoint(wanted[stretch.file])),
            key=lambda stretch: (stretch.start_ns, stretch.file, stretch.offset), reverse=True)
        contents = _Contents(self._files)
        heap: list[tuple[int, int, int, int, Stretch, list[_Entry]]] = []
        while waiting or heap:
            while waiting and (not heap or waiting[-1].start_ns <= heap[0][0]):
                stretch = waiting.pop()
                names = wanted[stretch.file]
                entries = sorted(entry for entry in contents.entries(stretch)
                                 if entry.channel in names and start_ns <= entry.log_ns <= end_ns)
                if entries:
                    heappush(heap, (entries[0].log_ns, stretch.file, stretch.offset, 0, stretch,
                                    entries))
                else:
                    contents.drop(stretch)
            if not heap:
                return
            _, file, offset, index, stretch, entries = heappop(heap)
            entry = entries[index]
            content = contents.of(stretch)
            data = bytes(content[entry.start:entry.start + entry.size])
            if index + 1 < len(entries):
                heappush(heap, (entries[index + 1].log_ns, file, offset, index + 1, stretch,
                                entries))
            else:
                contents.drop(stretch)
            del content
            yield StoredMessage(
                entry.log_ns, entry.publish_ns, wanted[file][entry.channel], data)

    def _finder(self, _: FileScan) -> Callable[[Event], None]:
        finder = _Finder(len(self._finders))
        self._finders.append(finder)
        return finder.see


class _Finder:
    """
    Note where the sound messages of one file lie, while the walk comes across them.

    :ivar seen: The numbers of their channels.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self.stretches: list[Stretch] = []
        self.seen: set[int] = set()
        # The same few sets of channels, again and again.
        self._sets: dict[frozenset[int], frozenset[int]] = {}

    def see(self, event: Event) -> None:
        """Take what the walk came across."""
        if isinstance(event, SoundChunk):
            found = [record for _, record, _ in event.records
                     if isinstance(record, MessageHeader) and _has_time(record)]
            if found:
                stamps = [record.log_ns for record in found]
                self.stretches.append(Stretch(
                    self._file, event.offset, event.length, True, min(stamps), max(stamps),
                    self._set(frozenset(record.channel_id for record in found))))
        elif isinstance(event, LooseMessage) and _has_time(event.header):
            self._loose(event)

    def _loose(self, event: LooseMessage) -> None:
        header, length = event.header, BEFORE_DATA + len(event.data)
        last = self.stretches[-1] if self.stretches else None
        if last is None or last.is_chunk or last.offset + last.length != event.offset \
                or last.length >= STRETCH_BYTES:
            self.stretches.append(Stretch(
                self._file, event.offset, length, False, header.log_ns, header.log_ns,
                self._set(frozenset((header.channel_id,)))))
            return
        last.length += length
        last.start_ns = min(last.start_ns, header.log_ns)
        last.end_ns = max(last.end_ns, header.log_ns)
        if header.channel_id not in last.channels:
            last.channels = self._set(last.channels | {header.channel_id})

    def _set(self, channels: frozenset[int]) -> frozenset[int]:
        self.seen |= channels
        return self._sets.setdefault(channels, channels)


class _Contents:
    """What is in stretches, unpacked; the ones used last are held, up to `HELD_BYTES`."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._held: OrderedDict[tuple[int, int], memoryview] = OrderedDict()
        self._bytes = 0

    def of(self, stretch: Stretch) -> memoryview:
        """Return the records of a stretch as bytes."""
        key = stretch.file, stretch.offset
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            return found
        found = _read(self._files[stretch.file], stretch)
        self._held[key] = found
        self._bytes += len(found)
        while self._bytes > HELD_BYTES and len(self._held) > 1:
            self._bytes -= len(self._held.popitem(last=False)[1])
        return found

    def drop(self, stretch: Stretch) -> None:
        """Hold a stretch no longer: all of it has been read."""
        found = self._held.pop((stretch.file, stretch.offset), None)
        self._bytes -= 0 if found is None else len(found)

    def entries(self, stretch: Stretch) -> Iterator[_Entry]:
        """Yield where the messages of a stretch lie in it, in no order."""
        for offset, record, data in split_records(self.of(stretch))[0]:
            if isinstance(record, MessageHeader) and _has_time(record):
                yield _Entry(record.log_ns, offset + BEFORE_DATA, len(data), record.publish_ns,
                             record.channel_id)


def _read(path: Path, stretch: Stretch) -> memoryview:
    with path.open('rb') as stream:
        stream.seek(stretch.offset)
        data = memoryview(stream.read(stretch.length))
    if not stretch.is_chunk:
        return data
    try:
        header = parse_chunk_header(bytes(data[RECORD_HEADER.size:CHUNK_HEAD]),
                                    stretch.length - RECORD_HEADER.size)
        # The walk has checked the CRC.
        return unpack(replace(header, crc=0), data[RECORD_HEADER.size + header.header_size:])
    except (RecordError, UnpackError) as error:
        raise BagError(f'{path}: has changed while it was read ({error}), read it again when its '
                       f'writer is done') from None


def _has_time(header: MessageHeader) -> bool:
    return header.log_ns <= LATEST_NS and header.publish_ns <= LATEST_NS


def _channels(scan: FileScan, seen: Collection[int]) -> dict[int, Channel]:
    """Return what is known of the channels of a file, those without messages included."""
    summary = scan.summary
    spare = summary.channels if summary is not None and not summary.flaw else {}
    numbers = {*scan.definitions.channels, *spare, *seen}
    found = {number: scan.definitions.channel(number) for number in sorted(numbers)}
    return {number: channel for number, channel in found.items() if channel is not None}
