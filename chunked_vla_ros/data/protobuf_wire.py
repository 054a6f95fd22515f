"""
Protobuf's wire format, parsed strictly: no length is believed, nothing is allocated on its word.

Knows fields and numbers, no message type.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
HIGHEST_FIELD = (1 << 29) - 1
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """Bytes are no protobuf message; one line that says where and why."""


def wire_fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """
    Yield (field number, wire type, value): a whole number for VARINT, else a view of the bytes.

    :raises WireError: at the first byte that cannot be.
    """
    place = 0
    while place < len(data):
        tag, place = read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        if not 1 <= number <= HIGHEST_FIELD:
            raise WireError(f'field number {number} before byte {place}')
        if kind == VARINT:
            value, place = read_varint(data, place)
            yield number, kind, value
            continue
        if kind == LENGTH:
            size, place = read_varint(data, place)
        elif kind in FIXED_SIZES:
            size = FIXED_SIZES[kind]
        else:
            raise WireError(f'wire type {kind} of field {number} before byte {place}')
        if size > len(data) - place:
            raise WireError(f'field {number} claims {size} bytes, {len(data) - place} are left')
        yield number, kind, data[place:place + size]
        place += size


def read_varint(data: memoryview, place: int) -> tuple[int, int]:
    """
    Return the number at ``place``, 0 to 2^64 - 1, and the place after it.

    :raises WireError: it is cut off, or longer than 64 bits.
    """
    value = 0
    for index in range(LONGEST_VARINT):
        if place + index >= len(data):
            raise WireError(f'number at byte {place} is cut off')
        octet = data[place + index]
        value |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            if value >> 64:
                break
            return value, place + index + 1
    raise WireError(f'number at byte {place} is longer than 64 bits')


def packed_integers(data: memoryview) -> NDArray[np.int64]:
    """
    Return a packed list of int64, shape (N,).

    :raises WireError: a number is cut off or too long.
    """
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if octets.size and (not ends.size or ends[-1] != octets.size - 1):
        raise WireError('the last number of a list is cut off')
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[:ends.size]
    lengths = ends - starts + 1
    if ends.size and lengths.max() > LONGEST_VARINT:
        raise WireError('a number of a list is longer than 64 bits')
    values = np.zeros(ends.size, np.uint64)
    for index in range(int(lengths.max()) if ends.size else 0):
        there = lengths > index
        part = octets[starts[there] + index].astype(np.uint64) & np.uint64(0x7F)
        values[there] |= part << np.uint64(7 * index)
    return values.view(np.int64)


def integers(parts: list[tuple[int, int | memoryview]]) -> NDArray[np.int64]:
    """
    Return all values of a repeated int64 field, packed or not, shape (N,).

    :raises WireError: a part is of another wire type, or damaged.
    """
    single, arrays = array('Q'), []
    for kind, value in parts:
        if kind == VARINT and isinstance(value, int):
            single.append(value)
        elif kind == LENGTH and not isinstance(value, int):
            arrays.append(packed_integers(value))
        else:
            raise WireError(f'wire type {kind} in a list of whole numbers')
    if single:
        if arrays:
            raise WireError('a list of whole numbers is packed in part')
        return np.frombuffer(single, np.uint64).view(np.int64)
    return np.concatenate([np.empty(0, np.int64), *arrays])


def floats(parts: list[tuple[int, int | memoryview]]) -> NDArray[np.float32]:
    """
    Return all values of a repeated float field, packed or not, shape (N,).

    :raises WireError: a part is of another wire type, or no whole number of floats.
    """
    pieces = []
    for kind, value in parts:
        if kind not in (LENGTH, FIXED32) or isinstance(value, int) or len(value) % 4:
            raise WireError(f'wire type {kind} in a list of floats, or part of a float')
        pieces.append(value)
    return np.frombuffer(b''.join(pieces), np.dtype('<f4')).astype(np.float32)
