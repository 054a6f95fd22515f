"""An image is found in a message's bytes, and a compressed one is written as ROS writes it."""

import struct

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.image_cdr import compressed_image, ImageCdrError, read_image

rosbags = pytest.importorskip('rosbags.typesys', reason='rosbags is not installed')

STORE = rosbags.get_typestore(rosbags.Stores.ROS2_JAZZY)
np = pytest.importorskip('numpy')


def image(frame_id='camera', encoding='rgb8', height=2, width=3, big=0, stamp=(12, 34)):
    types = STORE.types
    pixels = np.arange(height * width * 3, dtype=np.uint8)
    return bytes(STORE.serialize_cdr(types['sensor_msgs/msg/Image'](
        types['std_msgs/msg/Header'](
            types['builtin_interfaces/msg/Time'](*stamp), frame_id),
        height, width, encoding, big, width * 3, pixels), 'sensor_msgs/msg/Image'))


def big_endian(frame_id=b'c\0'):
    head = b'\x00\x00\x00\x00' + struct.pack('>iII', 12, 34, len(frame_id)) + frame_id
    head += bytes(-len(head) % 4)
    body = struct.pack('>III', 1, 2, 6) + b'mono8\0' + b'\0' + b'\0'
    body += bytes(-len(body) % 4)
    return head + body + struct.pack('>II', 2, 2) + b'\x07\x09'


@pytest.mark.parametrize('frame_id', ['', 'c', 'ca', 'cam', 'came', 'über'])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgra8', 'mono8', '16UC1'])
def test_every_alignment_of_its_texts_is_read(frame_id, encoding):
    view = read_image(image(frame_id, encoding))
    assert (view.height, view.width, view.step, view.encoding) == (2, 3, 9, encoding)
    assert bytes(view.pixels) == bytes(range(18))


def test_the_other_byte_order_is_read_too():
    view = read_image(big_endian())
    assert (view.height, view.width, view.encoding, view.step) == (1, 2, 'mono8', 2)
    assert bytes(view.pixels) == b'\x07\x09'


@given(frame_id=st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'),
                        max_size=40),
       kind=st.text(st.characters(codec='ascii', exclude_characters='\0'), max_size=40),
       payload=st.binary(max_size=100),
       stamp=st.tuples(st.integers(-2**31, 2**31 - 1), st.integers(0, 10**9 - 1)))
def test_a_compressed_image_reads_as_ros_would_have_written_it(frame_id, kind, payload, stamp):
    data = compressed_image(read_image(image(frame_id, stamp=stamp)).head, kind, payload)
    types = STORE.types
    expected = types['sensor_msgs/msg/CompressedImage'](
        types['std_msgs/msg/Header'](
            types['builtin_interfaces/msg/Time'](*stamp), frame_id),
        kind, np.frombuffer(payload, np.uint8))
    assert data == bytes(STORE.serialize_cdr(expected, 'sensor_msgs/msg/CompressedImage'))


@pytest.mark.parametrize('data', [b'', b'\0', b'\x00\x07\0\0', b'\x00\x01\0\0' + b'\xff' * 40])
def test_what_is_no_image_is_refused_in_one_line(data):
    with pytest.raises(ImageCdrError) as refused:
        read_image(data)
    assert '\n' not in str(refused.value)


def test_every_truncation_is_refused():
    whole = image()
    for end in range(len(whole)):
        with pytest.raises(ImageCdrError):
            read_image(whole[:end])


def test_rows_that_do_not_fit_their_pixels_are_refused():
    data = bytearray(image())
    view = read_image(bytes(data))
    at = len(view.head) + (4 - len(view.head)) % 4
    struct.pack_into('<I', data, at, 1000)
    with pytest.raises(ImageCdrError, match='1000 rows of 9 bytes has 18'):
        read_image(bytes(data))


@given(st.binary(max_size=120), st.integers(0, 120), st.binary(max_size=8))
def test_no_bytes_break_the_reader(noise, place, flipped):
    whole = image()
    for data in (noise, whole[:place] + flipped + whole[place + len(flipped):]):
        try:
            view = read_image(data)
        except ImageCdrError:
            continue
        assert len(view.pixels) >= view.height * view.step
