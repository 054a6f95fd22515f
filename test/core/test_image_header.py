"""The size of a picture is known before it is decoded, and any bytes are a size or a refusal."""

import struct
import zlib

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.image_header import MOST_SCANS, picture_size
from chunked_vla_ros.core.rejection import InputRejected

PICTURE = np.random.default_rng(3).integers(0, 256, (6, 10, 3), dtype=np.uint8)


def encoded(kind, picture=PICTURE, *options):
    _, data = cv2.imencode(kind, picture, options)
    return data.tobytes()


JPEG, PNG = encoded('.jpg'), encoded('.png')


def png_chunk(kind, body):
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


@pytest.mark.parametrize('data', [
    JPEG, PNG, encoded('.jpg', PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    encoded('.jpg', PICTURE[:, :, 0]), encoded('.png', PICTURE.astype(np.uint16) * 200),
    JPEG + bytes(7),                            # as drivers with fixed buffers send it
    JPEG[:2] + b'\xff' + JPEG[2:],              # fill byte before a marker
])
def test_what_cameras_send_has_its_size(data):
    assert picture_size(data) == (10, 6)


@pytest.mark.parametrize(('data', 'reason'), [
    (b'', 'neither JPEG nor PNG: begins with nothing'),
    (b'GIF89a', 'begins with 47494638'),
    (JPEG[:-2], 'JPEG is cut off'),
    (JPEG[:200], 'JPEG is cut off'),
    (b'\xff\xd8\xff\xd9', 'says no size'),
    (b'\xff\xd8\x00\x10\x20\x30\xff\xd9', 'no marker at byte 2'),
    (b'\xff\xd8\xff\xc3\x00\x0b\x08\x00\x06\x00\x0a\x03\xff\xd9', 'a decoder understands'),
    (b'\xff\xd8\xff\xc0\x00\x0b\x0c\x00\x06\x00\x0a\x03\xff\xd9', '3 components of 12 bits'),
    (b'\xff\xd8\xff\xc0\x00\x0b\x08\x00\xff\xd9', 'cut off in its frame header'),
    (JPEG[:-2] + b'\xff\xda' * MOST_SCANS + b'\xff\xd9', 'more than 64 scans'),
    (PNG[:-1], 'PNG is cut off'),
    (PNG[:20], 'PNG is cut off'),
    (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], 'wrong checksum in chunk IDAT'),
    (PNG[:8] + png_chunk(b'tEXt', b'x') + PNG[8:], 'begins with chunk tEXt, expected IHDR'),
])
def test_what_no_decoder_should_see_is_refused_in_one_line(data, reason):
    with pytest.raises(InputRejected, match=reason) as error:
        picture_size(data)
    assert '\n' not in str(error.value)


def test_a_bomb_says_how_large_it_is_without_being_unpacked():
    header = png_chunk(b'IHDR', struct.pack('>IIBBBBB', 60_000, 50_000, 8, 2, 0, 0, 0))
    body = png_chunk(b'IDAT', zlib.compress(bytes(10**6)))
    data = b'\x89PNG\r\n\x1a\n' + header + body + png_chunk(b'IEND', b'')
    assert len(data) < 1200
    assert picture_size(data) == (60_000, 50_000)


def size_or_refusal(data):
    try:
        found = picture_size(data)
    except InputRejected as error:
        found = str(error)
    if isinstance(found, str):
        assert '\n' not in found
        assert len(found) < 200
    else:
        assert all(0 <= count < 2**32 for count in found)


@settings(deadline=None)
@given(st.sampled_from([b'', b'\xff\xd8', b'\x89PNG\r\n\x1a\n']), st.binary(max_size=200),
       st.sampled_from([b'', b'\xff\xd9']))
def test_any_bytes_are_a_size_or_a_refusal(start, middle, end):
    size_or_refusal(start + middle + end)


@settings(deadline=None)
@given(st.sampled_from([JPEG, PNG]), st.integers(0, 700), st.integers(0, 700), st.binary())
def test_a_damaged_picture_is_a_size_or_a_refusal(data, start, count, piece):
    size_or_refusal(data[:start] + piece + data[start + count:])
