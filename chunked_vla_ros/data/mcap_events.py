"""
What a walk over an MCAP file comes across: sound records, sound chunks and damage.

Turns the bytes of one record into events. Knows no file: the walk reads and decides where to go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum

from chunked_vla_ros.data.mcap_chunk import (
    ChunkRecord,
    count_messages,
    split_records,
    unpack,
    UnpackError,
)
from chunked_vla_ros.data.mcap_records import (
    Attachment,
    Channel,
    ChunkHeader,
    Header,
    MESSAGE_HEADER,
    MessageHeader,
    Metadata,
    Opcode,
    parse_attachment,
    parse_channel,
    parse_header,
    parse_message_header,
    parse_message_index,
    parse_metadata,
    parse_schema,
    Schema,
)


class DamageKind(str, Enum):
    """What is wrong with a stretch of the file."""

    TRUNCATED = 'truncated'
    CRC = 'crc'
    DAMAGED = 'damaged'
    UNREADABLE = 'unreadable'


@dataclass(frozen=True)
class Damage:
    """
    A stretch of the file that nothing is taken from.

    :ivar what: In a few words.
    :ivar start_ns: When what was in it began, in [ns], where it still says so; with ``end_ns``.
    :ivar messages: How many messages of each channel can still be counted in it, at least.
    :ivar saved: Whole messages before it that came from the same, incomplete chunk.
    """

    offset: int
    length: int
    kind: DamageKind
    what: str
    start_ns: int | None = None
    end_ns: int | None = None
    messages: dict[int, int] = field(default_factory=dict)
    saved: int = 0


@dataclass(frozen=True)
class Placed:
    """
    A record of the file's own level.

    :ivar body: Its bytes.
    :ivar trusted: Whether it is not from a chunk whose CRC is wrong.
    """

    offset: int
    length: int
    record: Header | Schema | Channel | Metadata | Attachment
    body: bytes = b''
    trusted: bool = True


@dataclass(frozen=True)
class LooseMessage:
    """A message outside of any chunk."""

    offset: int
    header: MessageHeader
    data: memoryview


@dataclass(frozen=True)
class SoundChunk:
    """
    A chunk whose CRC is right, or that has none.

    :ivar records: What is in it, in order, as far as it can be told apart.
    """

    offset: int
    length: int
    header: ChunkHeader
    records: list[ChunkRecord]


@dataclass(frozen=True)
class IndexRecord:
    """The index that follows a chunk, of one channel: pairs (stamp in [ns], offset in it)."""

    offset: int
    length: int
    channel_id: int
    entries: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class DataEnd:
    """
    The end of the data section.

    :ivar offset: Behind it.
    :ivar stored_crc: 0 where the writer made none.
    """

    offset: int
    stored_crc: int
    found_crc: int


Event = Damage | Placed | LooseMessage | SoundChunk | IndexRecord | DataEnd


def chunk_events(offset: int, length: int, header: ChunkHeader,
                 stored: memoryview) -> Iterator[Event]:
    """
    Yield the chunk if it is sound, else the damage and the definitions that may still be right.

    :param stored: Its content as it lies in the file.
    """
    try:
        content = unpack(header, stored)
    except UnpackError as error:
        records = split_records(stored)[0] if not header.compression else []
        kind = DamageKind.CRC if 'CRC' in str(error) else DamageKind.DAMAGED
        yield Damage(offset, length, kind, str(error), header.start_ns, header.end_ns,
                     count_messages(records))
        for entry in records:
            if not isinstance(entry.record, MessageHeader):
                yield Placed(offset, 0, entry.record, trusted=False)
        return
    records, _, wrong = split_records(content)
    yield SoundChunk(offset, length, header, records)
    if wrong:
        # Without a CRC nobody can tell which of its records is the wrong one: the first that does
        # not fit is where it is noticed.
        yield Damage(offset, 0, DamageKind.DAMAGED, wrong, header.start_ns, header.end_ns)


def incomplete_chunk(damage: Damage, start: int, content: memoryview) -> list[Event]:
    """
    Return the whole records of a chunk that the file ends in, and the damage that is left.

    Its CRC cannot be checked: what is whole in it is worth as much as a message outside of chunks.

    :param damage: The chunk and all that follows.
    :param start: Where in it ``content`` begins.
    """
    records, end, _ = split_records(content)
    events: list[Event] = []
    for at, record, data in records:
        place = damage.offset + start + at
        events.append(LooseMessage(place, record, data) if isinstance(record, MessageHeader)
                      else Placed(place, 0, record))
    saved = sum(isinstance(event, LooseMessage) for event in events)
    return [*events, replace(
        damage, offset=damage.offset + start + end, length=len(content) - end, saved=saved)]


def _message(offset: int, _: int, body: bytes) -> Event:
    return LooseMessage(
        offset, parse_message_header(body), memoryview(body)[MESSAGE_HEADER.size:])


def _index(offset: int, length: int, body: bytes) -> Event:
    return IndexRecord(offset, length, *parse_message_index(body))


READERS: dict[int, Callable[[int, int, bytes], Event]] = {
    Opcode.HEADER: lambda offset, length, body: Placed(offset, length, parse_header(body), body),
    Opcode.SCHEMA: lambda offset, length, body: Placed(offset, length, parse_schema(body), body),
    Opcode.CHANNEL: lambda offset, length, body: Placed(offset, length, parse_channel(body), body),
    Opcode.METADATA: lambda offset, length, body: Placed(
        offset, length, parse_metadata(body), body),
    Opcode.ATTACHMENT: lambda offset, length, body: Placed(
        offset, length, parse_attachment(body), body),
    Opcode.MESSAGE: _message,
    Opcode.MESSAGE_INDEX: _index,
}
