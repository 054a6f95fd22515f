"""
Read how large a JPEG or PNG picture is without decoding it.

A few hundred bytes can claim a picture of gigabytes, so size and structure are looked at before
any decoder allocates. Stricter than decoders are: what cameras do not send is refused. Knows no
pixels.
"""

from __future__ import annotations

import struct
import zlib

from chunked_vla_ros.core.rejection import InputRejected

JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
PNG_START = b'\x89PNG\r\n\x1a\n'
# Baseline, extended and progressive; decoders know no other process.
JPEG_FRAMES = (0xC0, 0xC1, 0xC2)
JPEG_OTHER_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
JPEG_SCAN = 0xDA
JPEG_COMPONENTS = (1, 3)
# Every scan makes the decoder visit all pixels; a progressive camera image has about ten.
MOST_SCANS = 64


def picture_size(data: bytes) -> tuple[int, int]:
    """
    Return (width, height) of a JPEG or PNG file.

    :raises InputRejected: it is neither, or cut off, or not what a camera sends.
    """
    if data.startswith(JPEG_START):
        return _jpeg_size(data)
    if data.startswith(PNG_START):
        return _png_size(data)
    raise InputRejected(f'neither JPEG nor PNG: begins with {data[:4].hex() or "nothing"}')


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # A decoder paints the rest grey where data ends early, and only warns. Drivers pad with zeros.
    if not data.rstrip(b'\0').endswith(JPEG_END):
        raise InputRejected(f'JPEG is cut off after {len(data)} bytes')
    if data.count(bytes((0xFF, JPEG_SCAN))) > MOST_SCANS:
        raise InputRejected(f'JPEG has more than {MOST_SCANS} scans')
    place = len(JPEG_START)
    while place + 4 <= len(data):
        mark, marker, length = struct.unpack_from('>BBH', data, place)
        if mark != 0xFF:
            raise InputRejected(f'JPEG has no marker at byte {place}')
        if marker == 0xFF:      # fill bytes may stand before a marker
            place += 1
            continue
        if marker in JPEG_FRAMES:
            return _jpeg_frame(data, place + 4, length)
        if marker in JPEG_OTHER_FRAMES or marker == JPEG_SCAN or length < 2:
            break
        place += 2 + length
    raise InputRejected('JPEG says no size that a decoder understands')


def _jpeg_frame(data: bytes, place: int, length: int) -> tuple[int, int]:
    if length < 8 or place + 6 > len(data):
        raise InputRejected('JPEG is cut off in its frame header')
    bits, height, width, components = struct.unpack_from('>BHHB', data, place)
    if bits != 8 or components not in JPEG_COMPONENTS:
        raise InputRejected(f'JPEG has {components} components of {bits} bits, expected 1 or 3 '
                            'of 8')
    return width, height


def _png_size(data: bytes) -> tuple[int, int]:
    """Return the size after a walk over all chunks: a decoder would not miss the last ones."""
    place, size = len(PNG_START), None
    while place + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, place)
        end = place + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from('>I', data, end - 4)
        if zlib.crc32(memoryview(data)[place + 4:end - 4]) != checksum:
            raise InputRejected(f'PNG has a wrong checksum in chunk {_name(kind)}')
        if size is None:
            if kind != b'IHDR' or length != 13:
                raise InputRejected(f'PNG begins with chunk {_name(kind)}, expected IHDR')
            size = struct.unpack_from('>II', data, place + 8)
        if kind == b'IEND':
            return int(size[0]), int(size[1])
        place = end
    raise InputRejected(f'PNG is cut off after {len(data)} bytes')


def _name(kind: bytes) -> str:
    return kind.decode('ascii', 'backslashreplace')
