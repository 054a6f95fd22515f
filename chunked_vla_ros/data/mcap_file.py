"""
Append messages to an MCAP file without copying them, so that what is on disk is always whole.

`mcap` encodes the records; the chunks are put together here, because its writer copies every
image three times (a third of a core at 83 MB/s) and leaves half a chunk behind where the disk is
full. Here a write that fails is taken back. Knows nothing about ROS, episodes or clocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
import os
from pathlib import Path
import struct
from typing import Any
import zlib

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from chunked_vla_ros.data.scatter_write import write_all
from chunked_vla_ros.data.write_back import WriteBack

MAGIC = b'\x89MCAP0\r\n'
# A chunk is closed when it holds so much; four camera images or so. Larger ones are slower to
# read, smaller ones make a longer index.
CHUNK_BYTES = 4 * 1024 * 1024
# Opcode, length, channel, sequence, log and publish stamp; then the message itself.
MESSAGE = struct.Struct('<BQHIqq')
MESSAGE_BODY = MESSAGE.size - 9
# Opcode, length, first and last log stamp, size, CRC, length 0 of the compression's name, size.
CHUNK = struct.Struct('<BQQQQIIQ')
INDEX = struct.Struct('<BQHI')


@dataclass
class _OpenChunk:
    """Messages that are not in the file yet; ``index``: per channel log stamp, offset, ..."""

    buffers: list[bytes] = field(default_factory=list)
    size: int = 0
    crc: int = 0
    start_ns: int = 2**64
    end_ns: int = 0
    index: dict[int, list[int]] = field(default_factory=dict)

    def counts(self) -> Counter[int]:
        """Return how many messages each channel has."""
        return Counter({channel: len(pairs) // 2 for channel, pairs in self.index.items()})


@dataclass(frozen=True)
class _WrittenChunk:
    index: ChunkIndex
    counts: Counter[int]


class McapFile:
    """
    A new file; nothing that exists is ever overwritten.

    Every method that writes raises ``OSError`` with the file's name where the system refuses; the
    file then ends where it did before, and the messages that could not be written are counted in
    ``unwritten``. For one thread.

    :ivar path: The file.
    :ivar bytes: Its size so far.
    :ivar messages: Messages taken so far.
    :ivar unwritten: Per channel, messages that were taken and are not in the file.
    """

    def __init__(self, path: Path, library: str, profile: str = 'ros2') -> None:
        """
        Begin the file at ``path``.

        :raises OSError: it exists, or cannot be written.
        """
        self.path = path
        self.bytes = self.messages = 0
        self.unwritten: Counter[int] = Counter()
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self._written: list[_WrittenChunk] = []
        self._metadata: list[MetadataIndex] = []
        self._chunk = _OpenChunk()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._write_back = WriteBack(self._fd)
        try:
            self._append([MAGIC, _encoded([Header(profile, library)])])
        except OSError:
            self.close()
            raise

    @property
    def counts(self) -> Counter[int]:
        """Return how many messages of each channel are in the file."""
        total: Counter[int] = Counter()
        for chunk in self._written:
            total.update(chunk.counts)
        return total

    @property
    def span_ns(self) -> tuple[int, int]:
        """Return the first and the last log stamp in the file in [ns]; zeros without any."""
        written = [chunk.index for chunk in self._written]
        return (min((index.message_start_time for index in written), default=0),
                max((index.message_end_time for index in written), default=0))

    def add_schema(self, name: str, encoding: str, data: bytes) -> int:
        """Write a message type; return its id."""
        schema = Schema(len(self._schemas) + 1, data, encoding, name)
        # Outside of any chunk: a broken chunk must not take the definitions with it.
        self._append([_encoded([schema])])
        self._schemas.append(schema)
        return schema.id

    def add_channel(self, topic: str, schema_id: int, encoding: str,
                    metadata: Mapping[str, str]) -> int:
        """Write a topic of a type that was added; return its id."""
        channel = Channel(len(self._channels) + 1, topic, encoding, dict(metadata), schema_id)
        self._append([_encoded([channel])])
        self._channels.append(channel)
        return channel.id

    def add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Write a named mapping, after the messages that came before it."""
        self.flush()
        record = _encoded([Metadata(name, dict(values))])
        offset = self._append([record])
        self._metadata.append(MetadataIndex(offset, len(record), name))

    def add_message(self, channel_id: int, data: bytes, log_ns: int, publish_ns: int,
                    sequence: int) -> None:
        """
        Take a message into the open chunk; ``data`` is kept, not copied, until that is closed.

        :raises ValueError: a stamp is negative or does not fit into ROS's 64 bits.
        """
        try:
            if (log_ns | publish_ns) < 0:
                raise struct.error
            head = MESSAGE.pack(Opcode.MESSAGE, MESSAGE_BODY + len(data), channel_id, sequence,
                                log_ns, publish_ns)
        except struct.error:
            raise ValueError(
                f'{self.path}: a message has the stamps {log_ns} and {publish_ns} ns and the '
                f'number {sequence}, expected 0 to 2**63 - 1 and 32 bits') from None
        self.messages += 1
        chunk = self._chunk
        index = chunk.index.get(channel_id)
        if index is None:
            index = chunk.index[channel_id] = []
        index += (log_ns, chunk.size)
        chunk.buffers += (head, data)
        chunk.crc = zlib.crc32(data, zlib.crc32(head, chunk.crc))
        chunk.size += len(head) + len(data)
        chunk.start_ns = min(chunk.start_ns, log_ns)
        chunk.end_ns = max(chunk.end_ns, log_ns)
        if chunk.size >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Close the open chunk: what was added is in the file when this returns."""
        chunk = self._chunk
        if not chunk.buffers:
            return
        self._chunk = _OpenChunk()
        head = CHUNK.pack(Opcode.CHUNK, CHUNK.size - 9 + chunk.size, chunk.start_ns, chunk.end_ns,
                          chunk.size, chunk.crc, 0, chunk.size)
        start = self.bytes
        index_start = at = start + len(head) + chunk.size
        indices: list[bytes] = []
        offsets: dict[int, int] = {}
        for channel_id, pairs in chunk.index.items():
            offsets[channel_id] = at
            size = len(pairs) * 8
            at += INDEX.size + size
            indices.append(INDEX.pack(Opcode.MESSAGE_INDEX, 6 + size, channel_id, size)
                           + struct.pack(f'<{len(pairs)}Q', *pairs))
        try:
            self._append([head, *chunk.buffers, *indices])
        except OSError:
            self.unwritten += chunk.counts()
            raise
        self._written.append(_WrittenChunk(ChunkIndex(
            chunk_length=index_start - start, chunk_start_offset=start, compression='',
            compressed_size=chunk.size, message_end_time=chunk.end_ns,
            message_index_length=at - index_start, message_index_offsets=offsets,
            message_start_time=chunk.start_ns, uncompressed_size=chunk.size), chunk.counts()))
        self._write_back.advance(self.bytes)

    def finish(self) -> None:
        """Write summary and footer and wait until the disk has it all; may be repeated."""
        self.flush()
        end = _encoded([DataEnd(0)])
        start = self.bytes + len(end)
        groups = self._summary()
        offsets, at = [], start
        for opcode, records in groups:
            size = len(records)
            if size:
                offsets.append(SummaryOffset(opcode, at, size))
            at += size
        summary = b''.join(records for _, records in groups) + _encoded(offsets)
        footer = Footer(start, at, 0)
        # The CRC covers the footer too, up to the CRC itself.
        footer.summary_crc = zlib.crc32(summary + _encoded([footer])[:-4])
        # Written beyond the end, not appended: more may follow in its place.
        self._write([end, summary, _encoded([footer]), MAGIC])
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise self._named(error) from error

    def drop_last_chunk(self) -> bool:
        """
        Take the last chunk and what follows it out of the file, to make room; ``False``: none.

        Its messages count as unwritten.
        """
        if not self._written:
            return False
        dropped = self._written.pop()
        self.unwritten += dropped.counts
        self.bytes = dropped.index.chunk_start_offset
        self._metadata = [index for index in self._metadata if index.offset < self.bytes]
        self._truncate()
        return True

    def close(self) -> None:
        """Let the file go as it is; without `finish` it has no index but is whole."""
        if self._fd >= 0:
            self._write_back.stop()
            os.close(self._fd)
            self._fd = -1

    def _summary(self) -> list[tuple[int, bytes]]:
        counts = self.counts
        start_ns, end_ns = self.span_ns
        statistics = Statistics(
            attachment_count=0, channel_count=len(self._channels),
            channel_message_counts=dict(counts), chunk_count=len(self._written),
            message_count=counts.total(),
            message_end_time=end_ns, message_start_time=start_ns,
            metadata_count=len(self._metadata), schema_count=len(self._schemas))
        return [
            (Opcode.SCHEMA, _encoded(self._schemas)),
            (Opcode.CHANNEL, _encoded(self._channels)),
            (Opcode.STATISTICS, _encoded([statistics])),
            (Opcode.CHUNK_INDEX, _encoded(chunk.index for chunk in self._written)),
            (Opcode.METADATA_INDEX, _encoded(self._metadata))]

    def _append(self, buffers: Sequence[bytes]) -> int:
        """Write ``buffers`` at the end; return where they begin."""
        start = self.bytes
        self.bytes += self._write(buffers)
        return start

    def _write(self, buffers: Sequence[bytes]) -> int:
        """Write ``buffers`` beyond the end, all or nothing; return how many bytes."""
        try:
            return write_all(self._fd, buffers, self.bytes)
        except OSError as error:
            self._truncate()
            raise self._named(error) from error

    def _truncate(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._fd, self.bytes)

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, str(self.path))


def _encoded(records: Iterable[Any]) -> bytes:
    """Return ``records`` of `mcap.records` as they lie in a file."""
    builder: Any = RecordBuilder()
    for record in records:
        record.write(builder)
    return bytes(builder.end())
