"""
What is inside a chunk: unpacked within limits, its CRC checked, told apart into records.

A declared size is never believed: unpacking stops where it is exceeded. Knows no file.
"""

from __future__ import annotations

from collections import Counter
import io
from typing import Any, NamedTuple
import zlib

import lz4.frame
import zstandard

from chunked_vla_ros.data.mcap_records import (
    Channel,
    ChunkHeader,
    LeftoverError,
    MessageHeader,
    Opcode,
    parse_channel,
    parse_message_header,
    parse_schema,
    RECORD_HEADER,
    RecordError,
    Schema,
)

# More than a recorder would put into one chunk, less than a robot's memory.
LARGEST_RECORD = 512 << 20
PIECE = 1 << 20
# No recorder puts as many into one chunk; a few packed bytes can claim a thousand times as many.
MOST_RECORDS = 1 << 20


class ChunkRecord(NamedTuple):
    """
    A record inside a chunk.

    :ivar offset: Of the record in the unpacked chunk, as message indexes count.
    :ivar data: A message's payload; empty for the others.
    """

    offset: int
    record: MessageHeader | Schema | Channel
    data: memoryview


class UnpackError(ValueError):
    """A chunk cannot be unpacked; the message says why, in a few words."""


def unpack(header: ChunkHeader, stored: memoryview) -> memoryview:
    """
    Return the content of a chunk whose CRC is right, or that has none.

    :param stored: As it lies in the file.
    :raises UnpackError: the compression, the size or the CRC is wrong.
    """
    content = _unpacked(header, stored)
    if len(content) != header.uncompressed_size:
        raise UnpackError(
            f'a chunk unpacks to {len(content)} bytes and declares {header.uncompressed_size}')
    if header.crc and zlib.crc32(content) != header.crc:
        raise UnpackError('the CRC of a chunk is wrong')
    return content


def split_records(content: memoryview) -> tuple[list[ChunkRecord], int, str]:
    """Return a chunk's records as far as they are whole, where they end, and what is wrong."""
    found: list[ChunkRecord] = []
    at, size, empty = 0, len(content), content[:0]
    header_size = RECORD_HEADER.size
    while at < size:
        if at + header_size > size:
            return found, at, 'a chunk ends in the middle of a record'
        opcode, length = RECORD_HEADER.unpack_from(content, at)
        start, end = at + header_size, at + header_size + length
        if end > size:
            return found, at, 'a record in a chunk is longer than the chunk'
        if len(found) == MOST_RECORDS:
            return found, at, f'a chunk holds more than {MOST_RECORDS} records'
        try:
            if opcode == Opcode.MESSAGE:
                header = parse_message_header(content[start:end])
                found.append(ChunkRecord(at, header, content[start + 22:end]))
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                found.append(ChunkRecord(at, _definition(opcode, content[start:end]), empty))
            elif opcode < 0x80:
                return found, at, f'a record with the code {opcode} lies in a chunk'
        except RecordError as error:
            return found, at, f'{error} in a chunk'
        at = end
    return found, at, ''


def unpack_zstd(stored: bytes) -> bytes:
    """
    Return what ``stored`` unpacks to, all that it declares: a reader of streams takes any part.

    :raises UnpackError: it does not unpack, or declares no size, or one that is not read.
    """
    try:
        size = zstandard.get_frame_parameters(stored).content_size
    except zstandard.ZstdError as error:
        raise UnpackError(f'it does not unpack ({error})') from error
    if size > LARGEST_RECORD:
        raise UnpackError('it declares no size that is read')
    content = read_zstd(memoryview(stored), size + 1)
    if len(content) != size:
        raise UnpackError(f'it unpacks to {len(content)} bytes and declares {size}')
    return bytes(content)


def read_zstd(stored: memoryview, limit: int) -> memoryview:
    """
    Return what ``stored`` unpacks to, no more than ``limit`` bytes.

    :raises UnpackError: it does not unpack.
    """
    try:
        with zstandard.ZstdDecompressor().stream_reader(
                io.BytesIO(stored), read_across_frames=True) as stream:
            return _read(stream, limit, len(stored))
    except (zstandard.ZstdError, EOFError, OSError, MemoryError) as error:
        raise UnpackError(f'a chunk does not unpack ({error})') from error


def count_messages(records: list[ChunkRecord]) -> dict[int, int]:
    """Return how many messages of each channel there are."""
    return dict(Counter(entry.record.channel_id for entry in records
                        if isinstance(entry.record, MessageHeader)))


def _definition(opcode: int, body: memoryview) -> Schema | Channel:
    parse = parse_schema if opcode == Opcode.SCHEMA else parse_channel
    try:
        return parse(body)
    except LeftoverError as error:    # fields of a later version of the format
        return parse(body[:-error.size])


def _unpacked(header: ChunkHeader, stored: memoryview) -> memoryview:
    limit = min(header.uncompressed_size, LARGEST_RECORD) + 1
    if not header.compression:
        return stored
    if header.compression == 'zstd':
        return read_zstd(stored, limit)
    if header.compression == 'lz4':
        try:
            with lz4.frame.open(io.BytesIO(stored)) as stream:
                return _read(stream, limit, len(stored))
        except (RuntimeError, EOFError, OSError, MemoryError) as error:
            raise UnpackError(f'a chunk does not unpack ({error})') from error
    raise UnpackError(f'a chunk is packed with {header.compression!r}, expected zstd or lz4')


def _read(stream: Any, limit: int, stored: int) -> memoryview:
    """
    Return what ``stream`` gives, no more than ``limit`` bytes.

    :param stored: What goes in; room is made for eight times as much, then as it comes.
    """
    content, size = bytearray(min(limit, max(PIECE, 8 * stored))), 0
    while size < limit:
        if size == len(content):
            content += bytes(min(limit - size, size))
        with memoryview(content) as view:
            count = stream.readinto(view[size:])
        if not count:
            break
        size += count
    return memoryview(content)[:size]
