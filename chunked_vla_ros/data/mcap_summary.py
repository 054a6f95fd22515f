"""
The summary at the end of an MCAP file: read by itself, whatever the data section looks like.

A summary that contradicts itself or its CRC is no summary. Knows nothing of topics or bags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
import struct
from typing import BinaryIO
import zlib

from chunked_vla_ros.data.mcap_chunk import LARGEST_RECORD
from chunked_vla_ros.data.mcap_records import (
    Channel,
    Cursor,
    MAGIC,
    Opcode,
    parse_channel,
    parse_schema,
    RECORD_HEADER,
    RecordError,
    Schema,
)

FOOTER = struct.Struct('<QQI')
STATISTICS = struct.Struct('<QHIIIIQQ')
COUNT_ENTRY = struct.Struct('<HQ')
FOOTER_SIZE = RECORD_HEADER.size + FOOTER.size
END_SIZE = FOOTER_SIZE + len(MAGIC)
DATA_END_SIZE = RECORD_HEADER.size + 4
PIECE = 1 << 20


@dataclass(frozen=True)
class ChunkIndex:
    """Where the summary says that a chunk lies, and what is in it."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    index_offsets: tuple[tuple[int, int], ...]
    index_length: int
    compression: str
    size: int
    uncompressed_size: int


@dataclass(frozen=True)
class Statistics:
    """What the summary counts."""

    messages: int
    schemas: int
    channels: int
    attachments: int
    metadata: int
    chunks: int
    start_ns: int
    end_ns: int
    channel_messages: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Footer:
    """The last record: where the summary begins; 0 where there is none."""

    summary_start: int
    summary_offset_start: int
    summary_crc: int


@dataclass(frozen=True)
class Place:
    """Where a metadata record or an attachment lies."""

    offset: int
    length: int
    name: str = ''


@dataclass
class Summary:
    """
    What the file says of itself at its end.

    :ivar start: Its offset; where there is none, the footer's.
    :ivar flaw: What is wrong with it, '' if nothing is.
    """

    start: int
    stored_crc: int = 0
    flaw: str = ''
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: dict[int, ChunkIndex] = field(default_factory=dict)
    metadata: list[Place] = field(default_factory=list)
    attachments: list[Place] = field(default_factory=list)
    statistics: Statistics | None = None

    @property
    def anchors(self) -> list[int]:
        """Return the offsets of the data section's records that it knows, its end included."""
        places = [place.offset for place in (*self.metadata, *self.attachments)]
        return sorted([*self.chunks, *places, self.start - DATA_END_SIZE])


def read_summary(stream: BinaryIO, size: int) -> Summary | None:
    """
    Return the summary of a file of ``size`` bytes, ``None`` where the file has no end.

    :raises OSError: the file cannot be read.
    """
    if size < END_SIZE + len(MAGIC):
        return None
    stream.seek(size - END_SIZE)
    end = stream.read(END_SIZE)
    if len(end) < END_SIZE or end[FOOTER_SIZE:] != MAGIC:
        return None
    opcode, length = RECORD_HEADER.unpack_from(end)
    if (opcode, length) != (Opcode.FOOTER, FOOTER.size):
        return None
    footer = Footer(*FOOTER.unpack_from(end, RECORD_HEADER.size))
    start, stop = footer.summary_start, size - END_SIZE
    if not start:
        return Summary(stop)
    if not len(MAGIC) < start <= stop:
        return None
    summary = Summary(start, footer.summary_crc)
    try:
        crc = 0
        for record_opcode, body, crc_so_far in _records(stream, start, stop):
            _take(summary, record_opcode, body)
            crc = crc_so_far
        crc = zlib.crc32(end[:FOOTER_SIZE - 4], crc)
        if footer.summary_crc and crc != footer.summary_crc:
            summary.flaw = 'the CRC of the summary is wrong'
    except RecordError as error:
        summary.flaw = f'the summary is damaged ({error})'
    return summary


def _records(stream: BinaryIO, start: int, stop: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield opcode, body and the CRC so far of every record between two offsets."""
    crc, at = 0, start
    stream.seek(at)
    while at < stop:
        head = stream.read(min(RECORD_HEADER.size, stop - at))
        if len(head) < RECORD_HEADER.size:
            raise RecordError('a record is cut short')
        opcode, length = RECORD_HEADER.unpack(head)
        at += RECORD_HEADER.size + length
        if at > stop or length > LARGEST_RECORD:
            raise RecordError('a record is longer than the summary')
        body = stream.read(length)
        crc = zlib.crc32(body, zlib.crc32(head, crc))
        yield opcode, body, crc


def _take(summary: Summary, opcode: int, body: bytes) -> None:
    if opcode == Opcode.SCHEMA:
        schema = parse_schema(body)
        summary.schemas[schema.id] = schema
    elif opcode == Opcode.CHANNEL:
        channel = parse_channel(body)
        summary.channels[channel.id] = channel
    elif opcode == Opcode.CHUNK_INDEX:
        index = parse_chunk_index(body)
        summary.chunks[index.offset] = index
    elif opcode == Opcode.STATISTICS:
        summary.statistics = parse_statistics(body)
    elif opcode in (Opcode.METADATA_INDEX, Opcode.ATTACHMENT_INDEX):
        cursor = Cursor(body, 'an index')
        offset, length = cursor.number(8), cursor.number(8)
        if opcode == Opcode.METADATA_INDEX:
            summary.metadata.append(Place(offset, length, cursor.name()))
        else:
            cursor.take(3 * 8)    # two stamps and a size
            summary.attachments.append(Place(offset, length, cursor.name()))
    elif opcode == 0 or opcode in (Opcode.MESSAGE, Opcode.CHUNK, Opcode.DATA_END):
        raise RecordError(f'a record with the code {opcode} lies in it')


def parse_chunk_index(body: bytes) -> ChunkIndex:
    """Return where a chunk lies."""
    cursor = Cursor(body, 'a chunk index')
    start_ns, end_ns, offset, length = cursor.unpack(struct.Struct('<QQQQ'))
    offsets = tuple((entry[0], entry[1]) for entry in cursor.entries(COUNT_ENTRY))
    index = ChunkIndex(start_ns, end_ns, offset, length, offsets, cursor.number(8),
                       cursor.name(), cursor.number(8), cursor.number(8))
    cursor.finish()
    return index


def parse_statistics(body: bytes) -> Statistics:
    """Return what the summary counts."""
    cursor = Cursor(body, 'the statistics')
    (messages, schemas, channels, attachments, metadata, chunks, start_ns,
     end_ns) = cursor.unpack(STATISTICS)
    counts = tuple((entry[0], entry[1]) for entry in cursor.entries(COUNT_ENTRY))
    return Statistics(messages, schemas, channels, attachments, metadata, chunks, start_ns,
                      end_ns, counts)
