"""
sensor_msgs/Image and CompressedImage as bytes on the wire (CDR), without building messages.

A recorder that compresses images reads one field and writes one: the header's bytes stay as they
came. Knows no codec, no ROS and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import struct

# Representation identifier, options: plain CDR of either byte order.
BIG, LITTLE = b'\x00\x00', b'\x00\x01'
ENCAPSULATION = 4
STAMP = 8
LONGEST_TEXT = 1024


class ImageCdrError(ValueError):
    """The bytes are no image; the message says in one line what is wrong."""


@dataclass(frozen=True)
class ImageView:
    """
    An image in a message's bytes.

    :ivar head: Encapsulation and header, up to the end of ``frame_id``.
    :ivar step: Bytes per row.
    :ivar pixels: What follows, a view into the message: at least ``height * step`` bytes.
    """

    head: bytes
    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    pixels: memoryview


def read_image(data: bytes) -> ImageView:
    """
    Return the image in the bytes of a sensor_msgs/Image.

    :raises ImageCdrError: they end too early, or their sizes contradict each other.
    """
    order = _order(data)
    try:
        offset = ENCAPSULATION + STAMP
        _, offset = _text(data, offset, order)
        head = data[:offset]
        offset = _aligned(offset)
        height, width = struct.unpack_from(order + 'II', data, offset)
        encoding, offset = _text(data, offset + 8, order)
        is_bigendian = data[offset] != 0
        offset = _aligned(offset + 1)
        step, size = struct.unpack_from(order + 'II', data, offset)
    except (struct.error, IndexError):
        raise ImageCdrError(f'image message ends after {len(data)} bytes') from None
    offset += 8
    if size > len(data) - offset:
        raise ImageCdrError(
            f'image message promises {size} bytes of pixels and has {len(data) - offset}')
    if height * step > size:
        raise ImageCdrError(f'image of {height} rows of {step} bytes has {size} bytes')
    return ImageView(head, height, width, encoding, is_bigendian, step,
                     memoryview(data)[offset:offset + size])


def compressed_image(head: bytes, kind: str, payload: bytes | memoryview) -> bytes:
    """
    Return the bytes of a sensor_msgs/CompressedImage.

    :param head: Of the image that was compressed, see `ImageView`.
    :param kind: The field ``format``.
    :param payload: The compressed picture.
    """
    order = _order(head)
    text = kind.encode() + b'\0'
    parts: list[bytes | memoryview] = [head, _padding(len(head))]
    parts += [struct.pack(order + 'I', len(text)), text]
    parts += [_padding(_length(parts)), struct.pack(order + 'I', len(payload)), payload]
    return b''.join(parts)


def _order(data: bytes) -> str:
    if len(data) < ENCAPSULATION or data[:2] not in (BIG, LITTLE):
        raise ImageCdrError(f'message starts with {data[:2].hex() or "nothing"}, expected CDR')
    return '<' if data[:2] == LITTLE else '>'


def _text(data: bytes, offset: int, order: str) -> tuple[str, int]:
    """Return the string at ``offset``, and where it ends."""
    offset = _aligned(offset)
    (size,) = struct.unpack_from(order + 'I', data, offset)
    end = offset + 4 + size
    if size > LONGEST_TEXT or end > len(data):
        raise ImageCdrError(f'image message has a text of {size} bytes')
    return data[offset + 4:end].rstrip(b'\0').decode('utf-8', 'replace'), end


def _aligned(offset: int) -> int:
    """Return the next place for a number of four bytes; CDR counts after the encapsulation."""
    return offset + (ENCAPSULATION - offset) % 4


def _padding(size: int) -> bytes:
    return bytes(_aligned(size) - size)


def _length(parts: Sequence[bytes | memoryview]) -> int:
    return sum(len(part) for part in parts)
