"""
Walk over an MCAP file from its first byte to its last whole record, whatever happened to it.

Lengths are held against the file's size before anything is read; a chunk's CRC is checked before
anyone sees its content; after damage the walk goes on at the next place that can be trusted. Knows
nothing of topics, bags or what the reader is after.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
import re
from typing import BinaryIO
import zlib

from chunked_vla_ros.data.mcap_chunk import LARGEST_RECORD
from chunked_vla_ros.data.mcap_events import (
    chunk_events,
    Damage,
    DamageKind,
    DataEnd,
    Event,
    incomplete_chunk,
    READERS,
)
from chunked_vla_ros.data.mcap_records import (
    LeftoverError,
    MAGIC,
    Opcode,
    parse_chunk_header,
    RECORD_HEADER,
    RecordError,
)

PIECE, FIRST_WINDOW = 1 << 20, 1 << 12
# The longest start of a chunk record: header, times, sizes and the name of a compression.
CHUNK_HEAD = RECORD_HEADER.size + 64
# A chunk's opcode, a length below 2^40, times, size, CRC, and a compression that exists. Nothing
# is consumed: the next candidate may begin within this one.
CHUNK_PATTERN = re.compile(
    rb'(?=\x06.{5}\x00{3}.{28}(?:\x00{4}|\x03\x00{3}lz4|\x04\x00{3}zstd))', re.DOTALL)
KNOWN_OPCODES = frozenset(Opcode)
DATA_OPCODES = frozenset((*READERS, Opcode.CHUNK, Opcode.DATA_END))
PRIVATE_OPCODES = range(0x80, 0x100)
# No record is longer; a length above is a flipped bit.
LONGEST_RECORD = 1 << 34


class Walk:
    """
    One pass over a file.

    :param size: Bytes of the file now; what is appended later is not read.
    :param anchors: Offsets of records that the summary knows, where the walk may go on.
    :param progress: Is told how many bytes have been read.
    """

    def __init__(self, stream: BinaryIO, size: int, anchors: Sequence[int] = (),
                 progress: Callable[[int], None] | None = None) -> None:
        self._stream, self._size, self._progress = stream, size, progress
        self._anchors = sorted(anchors)
        self._at = self._crc = 0

    def events(self) -> Iterator[Event]:
        """
        Yield what the file holds, in order; the last event is a `DataEnd` or a `Damage`.

        :raises OSError: the file cannot be read.
        """
        self._stream.seek(0)
        if self._peek(len(MAGIC)) != MAGIC:
            yield Damage(0, min(len(MAGIC), self._size), DamageKind.DAMAGED,
                         'it does not begin as an MCAP file')
        self._advance(min(len(MAGIC), self._size))
        while True:
            start = self._peek(CHUNK_HEAD)
            if len(start) < RECORD_HEADER.size:
                yield Damage(self._at, len(start), DamageKind.TRUNCATED,
                             'it ends in the middle of its data')
                return
            opcode, length = RECORD_HEADER.unpack_from(start)
            end = self._at + RECORD_HEADER.size + length
            try:
                self._check(opcode, length, end)
                events = list(self._record(opcode, length, start))
            except RecordError as error:
                yield from self._resume(str(error), opcode, end)
                if self._at >= self._size:
                    return
                continue
            yield from events
            if opcode == Opcode.DATA_END:
                return

    def _check(self, opcode: int, length: int, end: int) -> None:
        if opcode not in KNOWN_OPCODES and opcode not in PRIVATE_OPCODES:
            raise RecordError(f'no record has the code {opcode}')
        if end > self._size:
            raise RecordError(f'a record claims {length} bytes, more than there are')
        if opcode == Opcode.FOOTER:
            raise RecordError('the data section has no end')
        if opcode in KNOWN_OPCODES and opcode not in DATA_OPCODES:
            raise RecordError(f'a record of the summary (code {opcode}) lies in the data section')
        # Nothing inside these would show a wrong length: what follows has to.
        loose = opcode == Opcode.MESSAGE or opcode in PRIVATE_OPCODES
        if loose and not self._looks_like_record(end):
            raise RecordError('a record is not followed by another one')

    def _record(self, opcode: int, length: int, start: bytes) -> Iterator[Event]:
        offset = self._at
        if opcode == Opcode.CHUNK:
            yield from self._chunk(offset, length, start)
            return
        whole = RECORD_HEADER.size + length
        if length > LARGEST_RECORD and opcode in READERS:
            raise RecordError(f'a record of {length} bytes is not read')
        if opcode == Opcode.DATA_END:
            if length != 4:
                raise RecordError('the end of the data section has a wrong length')
            found, body = self._crc, self._take(whole)[RECORD_HEADER.size:]
            yield DataEnd(self._at, int.from_bytes(body, 'little'), found)
            return
        if opcode not in READERS:
            self._advance(whole)
            return
        # Parsed before the walk moves on: a refused record must be found again.
        body = self._peek(whole)[RECORD_HEADER.size:]
        try:
            event = READERS[opcode](offset, whole, body)
        except LeftoverError as error:
            if not self._looks_like_record(offset + whole):
                raise
            event = READERS[opcode](offset, whole, body[:-error.size])
        self._advance(whole)
        yield event

    def _chunk(self, offset: int, length: int, start: bytes) -> Iterator[Event]:
        header = parse_chunk_header(start[RECORD_HEADER.size:], length)
        whole = RECORD_HEADER.size + length
        if max(header.size, header.uncompressed_size) > LARGEST_RECORD:
            self._advance(whole)
            yield Damage(offset, whole, DamageKind.UNREADABLE,
                         f'a chunk of {max(header.size, header.uncompressed_size)} bytes is '
                         f'larger than is read', header.start_ns, header.end_ns)
            return
        stored = memoryview(self._take(whole))[RECORD_HEADER.size + header.header_size:]
        yield from chunk_events(offset, whole, header, stored)

    def _resume(self, what: str, opcode: int, end: int) -> list[Event]:
        """Go on where records can be trusted again; return the damage in between."""
        offset = self._at
        if opcode != Opcode.FOOTER and end <= self._size and self._looks_like_record(end):
            self._advance(end - offset)
            return [Damage(offset, end - offset, DamageKind.DAMAGED, what)]
        anchor = self._next_anchor()
        chunk = self._next_chunk(self._size if anchor is None else anchor)
        places = [place for place in (anchor, chunk) if place is not None]
        if places:
            self._advance(min(places) - offset)
            return [Damage(offset, self._at - offset, DamageKind.DAMAGED, what)]
        events = self._tail(offset, opcode, end, what)
        self._advance(self._size - offset)
        return events

    def _tail(self, offset: int, opcode: int, end: int, what: str) -> list[Event]:
        """Return what the file ends with: damage, before it what an incomplete chunk still has."""
        length = self._size - offset
        if opcode not in KNOWN_OPCODES or end <= self._size:
            return [Damage(offset, length, DamageKind.DAMAGED, what)]
        word = Opcode(opcode).name.lower().replace('_', ' ')
        whole = Damage(offset, length, DamageKind.TRUNCATED, f'it ends in the middle of a {word}')
        if opcode != Opcode.CHUNK:
            return [whole]
        try:
            header = parse_chunk_header(self._peek(CHUNK_HEAD)[RECORD_HEADER.size:],
                                        end - offset - RECORD_HEADER.size)
        except RecordError:
            return [whole]
        whole = replace(whole, start_ns=header.start_ns, end_ns=header.end_ns)
        if header.compression or length > LARGEST_RECORD:
            return [whole]
        start = RECORD_HEADER.size + header.header_size
        return incomplete_chunk(whole, start, memoryview(self._peek(length))[start:])

    def _next_anchor(self) -> int | None:
        first = bisect_right(self._anchors, self._at)
        return next((self._anchors[index] for index in range(first, len(self._anchors))
                     if self._looks_like_record(self._anchors[index])), None)

    def _next_chunk(self, limit: int) -> int | None:
        """Return the offset of the next chunk before ``limit`` that agrees with itself."""
        # Small at first: much damage close together would be read again and again.
        at, size = self._at + 1, FIRST_WINDOW
        while at < limit:
            self._stream.seek(at)
            window = self._stream.read(min(size, limit - at) + CHUNK_HEAD)
            for found in CHUNK_PATTERN.finditer(window):
                offset = at + found.start()
                start = window[found.start():found.start() + CHUNK_HEAD]
                if offset < limit and self._fits(offset, start):
                    return offset
            at, size = at + size, min(2 * size, PIECE)
        return None

    def _fits(self, offset: int, start: bytes) -> bool:
        length = int.from_bytes(start[1:RECORD_HEADER.size], 'little')
        try:
            parse_chunk_header(start[RECORD_HEADER.size:], length)
        except RecordError:
            return False
        return offset + RECORD_HEADER.size + length <= self._size

    def _looks_like_record(self, offset: int) -> bool:
        self._stream.seek(offset)
        start: bytes = self._stream.read(RECORD_HEADER.size)
        if not start or (start[0] not in KNOWN_OPCODES and start[0] not in PRIVATE_OPCODES):
            return offset == self._size
        return int.from_bytes(start[1:], 'little') < LONGEST_RECORD

    def _peek(self, size: int) -> bytes:
        self._stream.seek(self._at)
        return self._stream.read(min(size, self._size - self._at))

    def _take(self, size: int) -> bytes:
        data = self._peek(size)
        self._moved(data)
        return data

    def _advance(self, size: int) -> None:
        end = min(self._at + size, self._size)
        while self._at < end:
            piece = self._peek(min(PIECE, end - self._at))
            if not piece:    # the file has become shorter
                self._at = end
                return
            self._moved(piece)

    def _moved(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._at += len(data)
        if self._progress is not None:
            self._progress(self._at)
