"""
The records of an MCAP file, parsed strictly: a body that is not exactly what it claims is refused.

Takes bytes, returns dataclasses. Every length is held against the bytes that are there before
anything is made of it. Knows neither files nor what a bag means.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
import struct

MAGIC = b'\x89MCAP0\r\n'
# Opcode (1 byte) and length of the body (8 bytes).
RECORD_HEADER = struct.Struct('<BQ')
MESSAGE_HEADER = struct.Struct('<HIQQ')
CHUNK_START = struct.Struct('<QQQII')
INDEX_ENTRY = struct.Struct('<QQ')
COUNT_ENTRY = struct.Struct('<HQ')
# A name that is longer is damage, not a name.
LONGEST_NAME = 65536


class Opcode(IntEnum):
    """The first byte of a record."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    ATTACHMENT_INDEX = 0x0A
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


class RecordError(ValueError):
    """A record's body contradicts itself; the message says how, in a few words."""


class LeftoverError(RecordError):
    """
    A record is longer than its known fields: a later version of the format, or a wrong length.

    :ivar size: How many bytes are left over.
    """

    def __init__(self, what: str, size: int) -> None:
        super().__init__(f'{what} is longer than what it holds')
        self.size = size


@dataclass(frozen=True)
class Header:
    """The first record of a file: for whom it was written, and by what."""

    profile: str
    library: str


@dataclass(frozen=True)
class Schema:
    """A message type and its definition."""

    id: int
    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True)
class Channel:
    """A topic with its type; several channels may carry one topic."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """What stands before a message's payload; stamps in [ns]."""

    channel_id: int
    sequence: int
    log_ns: int
    publish_ns: int


@dataclass(frozen=True)
class ChunkHeader:
    """
    What stands before a chunk's content.

    :ivar header_size: Bytes from the start of the body to the content.
    :ivar size: Bytes of the content as it lies in the file.
    """

    start_ns: int
    end_ns: int
    uncompressed_size: int
    crc: int
    compression: str
    header_size: int
    size: int


@dataclass(frozen=True)
class Metadata:
    """A named mapping of texts."""

    name: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Attachment:
    """A file within the file; its CRC is over everything of the body before the CRC itself."""

    log_ns: int
    create_ns: int
    name: str
    media_type: str
    data: bytes
    crc: int


class Cursor:
    """Take fields from a body one after the other; what is not there is refused."""

    def __init__(self, body: bytes | memoryview, what: str) -> None:
        self.body, self.what, self.at = body, what, 0

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """Return the numbers of ``layout``."""
        return layout.unpack(self.take(layout.size))

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        end = self.at + size
        if end > len(self.body):
            raise RecordError(f'{self.what} is cut short')
        piece = bytes(self.body[self.at:end])
        self.at = end
        return piece

    def number(self, size: int) -> int:
        """Return an unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size), 'little')

    def text(self) -> str:
        """Return a text with its length before it."""
        size = self.number(4)
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise RecordError(f'{self.what} has a text that is not UTF-8') from None

    def name(self) -> str:
        """Return a text of a name's length."""
        name = self.text()
        if len(name) > LONGEST_NAME:
            raise RecordError(f'{self.what} has a name of {len(name)} characters')
        return name

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return a mapping of texts with its size in bytes before it."""
        end = self.number(4) + self.at
        found = []
        while self.at < end:
            found.append((self.text(), self.text()))
        if self.at != end:
            raise RecordError(f'{self.what} has a mapping that contradicts its size')
        return tuple(found)

    def entries(self, layout: struct.Struct) -> tuple[tuple[int, ...], ...]:
        """Return an array of ``layout`` with its size in bytes before it."""
        size = self.number(4)
        if size % layout.size:
            raise RecordError(f'{self.what} has an array that contradicts its size')
        return tuple(layout.iter_unpack(self.take(size)))

    def finish(self) -> None:
        """
        Accept that nothing follows the known fields.

        :raises LeftoverError: something does.
        """
        if self.at < len(self.body):
            raise LeftoverError(self.what, len(self.body) - self.at)


def parse_header(body: bytes) -> Header:
    """Return the file's header."""
    cursor = Cursor(body, 'the header')
    return Header(cursor.name(), cursor.name())


def parse_schema(body: bytes | memoryview) -> Schema:
    """Return a schema."""
    cursor = Cursor(body, 'a schema')
    schema = Schema(
        cursor.number(2), cursor.name(), cursor.name(), cursor.take(cursor.number(4)))
    cursor.finish()
    return schema


def parse_channel(body: bytes | memoryview) -> Channel:
    """Return a channel."""
    cursor = Cursor(body, 'a channel')
    channel = Channel(
        cursor.number(2), cursor.number(2), cursor.name(), cursor.name(), cursor.pairs())
    cursor.finish()
    return channel


def parse_message_header(body: bytes | memoryview) -> MessageHeader:
    """Return what stands before the payload."""
    if len(body) < MESSAGE_HEADER.size:
        raise RecordError('a message is cut short')
    return MessageHeader(*MESSAGE_HEADER.unpack_from(body))


def parse_chunk_header(start: bytes, length: int) -> ChunkHeader:
    """
    Return a chunk's header.

    :param start: The first bytes of the body, at least 64 if there are so many.
    :param length: Bytes of the whole body, as the record says.
    :raises RecordError: it does not agree with ``length``.
    """
    cursor = Cursor(start, 'a chunk')
    start_ns, end_ns, uncompressed, crc, name_size = cursor.unpack(CHUNK_START)
    if name_size > 16:
        raise RecordError('a chunk has an unknown compression')
    try:
        compression = cursor.take(name_size).decode()
    except UnicodeDecodeError:
        raise RecordError('a chunk has an unknown compression') from None
    size = cursor.number(8)
    if cursor.at + size != length:
        raise RecordError('a chunk contradicts its length')
    return ChunkHeader(start_ns, end_ns, uncompressed, crc, compression, cursor.at, size)


def parse_message_index(body: bytes) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Return the channel and the pairs (log stamp in [ns], offset in the chunk)."""
    cursor = Cursor(body, 'a message index')
    index = cursor.number(2), cursor.entries(INDEX_ENTRY)
    cursor.finish()
    return index


def parse_metadata(body: bytes) -> Metadata:
    """Return a named mapping."""
    cursor = Cursor(body, 'a metadata record')
    metadata = Metadata(cursor.name(), cursor.pairs())
    cursor.finish()
    return metadata


def parse_attachment(body: bytes) -> Attachment:
    """Return a file within the file."""
    cursor = Cursor(body, 'an attachment')
    attachment = Attachment(cursor.number(8), cursor.number(8), cursor.name(), cursor.name(),
                            cursor.take(cursor.number(8)), cursor.number(4))
    cursor.finish()
    return attachment
