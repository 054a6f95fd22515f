"""Pictures become RGB frames of the contract's size, or one line; no bytes do anything else."""

from dataclasses import dataclass, replace

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport, StreamSpec, TimeBase
from chunked_vla_ros.data.image_frames import decoded_frame, LAYOUTS, unpacked_frame
from chunked_vla_ros.data.robot_contract import ENCODINGS

STAMP_NS = 1_234_567_890_123_456_789


@dataclass
class Raw:
    """What a sensor_msgs/Image says."""

    width: int
    height: int
    encoding: str
    step: int
    data: bytes


def camera(encoding='rgb8', width=4, height=2, **options):
    stream = StreamSpec('cameras/front/image_raw', 20.0, TimeBase.HEADER, 0.2)
    return CameraSpec(
        'front', stream, 'cameras/front/camera_info', width, height, encoding, **options)


COMPRESSED = camera(width=40, height=20, transport=ImageTransport.COMPRESSED)


def picture(width=4, height=2):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def smooth(width=40, height=20):
    """Return a picture that JPEG keeps well: red grows to the right, green downwards."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 5, rows * 10, np.full_like(rows, 60)], axis=2).astype(np.uint8)


def raw(data, encoding='rgb8', width=4, height=2, step=None):
    pixels = np.asarray(data, dtype=np.uint8)
    return Raw(width, height, encoding, step or pixels.size // height, pixels.tobytes())


def encoded(kind, pixels, *options):
    return cv2.imencode(kind, pixels[:, :, ::-1], options)[1].tobytes()


JPEG, PNG = encoded('.jpg', smooth()), encoded('.png', smooth())


def test_rgb_without_resize_and_padding_is_not_copied():
    memory = bytearray(picture().tobytes())
    frame = unpacked_frame(Raw(4, 2, 'rgb8', 12, memoryview(memory)), camera(), STAMP_NS)
    assert frame.stamp_ns == STAMP_NS
    assert np.array_equal(frame.pixels, picture())
    memory[0] = 200
    assert frame.pixels[0, 0, 0] == 200
    assert not frame.pixels.flags.writeable
    assert frame.pixels.flags.c_contiguous


def test_every_encoding_of_the_contract_is_understood():
    assert set(LAYOUTS) == set(ENCODINGS)


RED, GREY = [250, 10, 20], [90, 90, 90]


@pytest.mark.parametrize(('encoding', 'pixel', 'rgb'), [
    ('rgb8', [250, 10, 20], RED), ('bgr8', [20, 10, 250], RED),
    ('rgba8', [250, 10, 20, 7], RED), ('bgra8', [20, 10, 250, 7], RED), ('mono8', [90], GREY)])
def test_colours_become_rgb(encoding, pixel, rgb):
    found = unpacked_frame(raw(pixel * 8, encoding), camera(encoding), STAMP_NS).pixels
    assert found.shape == (2, 4, 3)
    assert (found == rgb).all()


@pytest.mark.parametrize(('encoding', 'pair'), [
    # Two pixels, one bright and one dark, without colour (128): U Y V Y, and Y U Y V.
    ('yuv422', [128, 235, 128, 16]), ('yuv422_yuy2', [235, 128, 16, 128])])
def test_yuv_keeps_bright_and_dark_in_their_places(encoding, pair):
    found = unpacked_frame(raw(pair * 4, encoding), camera(encoding), STAMP_NS).pixels
    assert (found[:, 0::2] >= 254).all()
    assert (found[:, 1::2] <= 1).all()


def test_yuv_of_an_odd_width_is_refused_and_not_left_to_opencv():
    with pytest.raises(InputRejected, match='yuv422 has an even width, the contract says 3'):
        unpacked_frame(raw([0] * 12, 'yuv422', width=3), camera('yuv422', 3), STAMP_NS)


@pytest.mark.parametrize(('encoding', 'pixel_bytes'), [('rgb8', 3), ('mono8', 1), ('bgra8', 4)])
def test_padding_at_the_end_of_rows_is_left_out(encoding, pixel_bytes):
    rows = np.full((2, 4 * pixel_bytes), 9, dtype=np.uint8)
    padded = np.pad(rows, ((0, 0), (0, 4)), constant_values=200)
    frame = unpacked_frame(raw(padded, encoding), camera(encoding), STAMP_NS)
    assert (frame.pixels == 9).all()


def test_a_smaller_frame_is_the_mean_of_its_pixels():
    columns = np.tile(np.array([[[0]], [[100]]], dtype=np.uint8).reshape(1, 2, 1), (2, 2, 3))
    spec = camera(resize=(2, 1))
    frame = unpacked_frame(raw(columns, 'rgb8'), spec, STAMP_NS)
    assert frame.pixels.shape == spec.frame_shape == (1, 2, 3)
    assert (frame.pixels == 50).all()


def test_a_larger_frame_goes_evenly_from_pixel_to_pixel():
    frame = unpacked_frame(
        raw([0, 0, 0, 80, 80, 80], 'rgb8', 2, 1), camera(width=2, height=1, resize=(4, 1)),
        STAMP_NS)
    assert frame.pixels[0, :, 0].tolist() == [0, 20, 60, 80]


@pytest.mark.parametrize(('change', 'reason'), [
    ({'encoding': 'mono8'}, "encoding 'mono8', expected 'rgb8'"),
    ({'width': 2, 'height': 4}, '2x4, expected 4x2'),
    ({'width': 0, 'height': 0}, '0x0, expected 4x2'),
    ({'width': 2**32 - 1, 'height': 2**32 - 1}, '4294967295x4294967295, expected 4x2'),
    ({'data': bytes(23)}, '23 bytes in rows of 12'),
    ({'data': bytes(25)}, '25 bytes in rows of 12'),
    ({'step': 11}, 'in rows of 11'),
    ({'step': 0}, 'in rows of 0'),
    # 24 bytes would be right if step * height were counted in 32 bits.
    ({'step': 2**31 + 12}, 'in rows of 2147483660'),
    ({'data': b''}, '0 bytes'),
    ({'encoding': 'x' * 10_000}, "'x{32}', expected"),
])
def test_an_image_that_is_not_the_contract_s_is_refused(change, reason):
    found = replace(raw(picture()), **change)
    with pytest.raises(InputRejected, match=reason) as error:
        unpacked_frame(found, camera(), STAMP_NS)
    assert str(error.value).startswith('camera front: ')


@given(width=st.integers(0, 8), height=st.integers(0, 8), step=st.integers(0, 30),
       size=st.integers(0, 80), encoding=st.sampled_from([*ENCODINGS, '', '16UC1']),
       agreed=st.sampled_from(ENCODINGS))
def test_any_image_is_taken_or_refused_and_nothing_else(width, height, step, size, encoding,
                                                        agreed):
    found = Raw(width, height, encoding, step, bytes(size))
    try:
        frame = unpacked_frame(found, camera(agreed, resize=(3, 3)), STAMP_NS)
    except InputRejected:
        return
    assert frame.pixels.shape == (3, 3, 3)


def test_a_png_is_exact():
    frame = decoded_frame(encoded('.png', smooth()), COMPRESSED, STAMP_NS)
    assert np.array_equal(frame.pixels, smooth())


def test_a_jpeg_is_nearly_exact():
    frame = decoded_frame(memoryview(JPEG), COMPRESSED, STAMP_NS)
    assert np.abs(frame.pixels.astype(int) - smooth()).max() < 12


def test_a_compressed_image_is_resized_too():
    spec = replace(COMPRESSED, resize=(10, 5))
    frame = decoded_frame(encoded('.png', smooth()), spec, STAMP_NS)
    assert frame.pixels.shape == (5, 10, 3)


def test_a_picture_that_says_it_lies_on_its_side_is_not_turned():
    # EXIF with one entry, orientation (0x0112) = 6: turn by 90 degrees.
    exif = bytes.fromhex('457869660000 4d4d002a00000008 0001 0112 0003 00000001 00060000 00000000')
    data = encoded('.jpg', smooth())
    turned = data[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (40, 20, 3)
    assert decoded_frame(turned, COMPRESSED, STAMP_NS).pixels.shape == (20, 40, 3)


BOMB = encoded('.png', np.zeros((3000, 3000, 3), np.uint8), cv2.IMWRITE_PNG_COMPRESSION, 9)


@pytest.mark.parametrize(('data', 'reason'), [
    (b'', 'neither JPEG nor PNG'),
    (JPEG[:len(JPEG) // 2], 'cut off'),
    (PNG[:len(PNG) // 2], 'cut off'),
    (bytes(100_000), '100000 compressed bytes, expected at most 68736'),
    (encoded('.jpg', smooth(20, 40)), '20x40, expected 40x20'),
    (BOMB, '3000x3000, expected 40x20'),
    (JPEG[:2] + JPEG[-2:], 'says no size'),
])
def test_a_damaged_picture_or_a_bomb_is_refused_before_it_is_decoded(data, reason, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(InputRejected, match=reason) as error:
        decoded_frame(data, COMPRESSED, STAMP_NS)
    assert str(error.value).startswith('camera front: ')
    assert '\n' not in str(error.value)


@settings(deadline=None)
@given(st.sampled_from([JPEG, PNG]), st.integers(0, 1500), st.integers(0, 40),
       st.binary(max_size=40))
def test_a_picture_with_any_piece_changed_is_a_frame_or_a_refusal(data, start, count, piece):
    damaged = data[:start] + piece + data[start + count:]
    try:
        shape = decoded_frame(damaged, COMPRESSED, STAMP_NS).pixels.shape
    except InputRejected:
        return
    assert shape == (20, 40, 3)
