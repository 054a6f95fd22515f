"""A compressed image is the same picture with the same header, or it is refused."""

import numpy as np
import pytest

from chunked_vla_ros.core.recording import Compression
from chunked_vla_ros.data.image_compression import compress_image, ImageCdrError

cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
rosbags = pytest.importorskip('rosbags.typesys', reason='rosbags is not installed')

STORE = rosbags.get_typestore(rosbags.Stores.ROS2_JAZZY)
HEIGHT, WIDTH = 48, 64
COLOURS = {'red': (220, 30, 30), 'green': (30, 220, 30), 'blue': (30, 30, 220)}
PLACES = {'rgb8': (0, 1, 2), 'bgr8': (2, 1, 0), 'rgba8': (0, 1, 2), 'bgra8': (2, 1, 0)}


def image(pixels, encoding, padding=0, big=0):
    types = STORE.types
    rows = pixels.reshape(len(pixels), pixels[:1].size).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return bytes(STORE.serialize_cdr(types['sensor_msgs/msg/Image'](
        types['std_msgs/msg/Header'](types['builtin_interfaces/msg/Time'](7, 8), 'front'),
        *pixels.shape[:2], encoding, big, rows.shape[1], rows.reshape(-1)),
        'sensor_msgs/msg/Image'))


def decoded(data, flags=cv2.IMREAD_COLOR):
    msg = STORE.deserialize_cdr(data, 'sensor_msgs/msg/CompressedImage')
    return msg, cv2.imdecode(msg.data, flags)


def coloured(encoding, rgb):
    pixels = np.full((HEIGHT, WIDTH, 4 if 'a' in encoding else 3), 255, np.uint8)
    pixels[..., list(PLACES[encoding])] = rgb
    return pixels


@pytest.mark.parametrize('colour', COLOURS)
@pytest.mark.parametrize('encoding', PLACES)
@pytest.mark.parametrize('compression', [Compression.JPEG, Compression.PNG])
def test_colours_survive_in_every_order_of_channels(encoding, colour, compression):
    rgb = COLOURS[colour]
    value = 95 if compression is Compression.JPEG else 1
    data = compress_image(image(coloured(encoding, rgb), encoding), compression, value)
    msg, bgr = decoded(data)
    assert bgr.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(bgr[10, 10, ::-1].astype(int) - rgb).max() <= 4
    assert (msg.header.stamp.sec, msg.header.stamp.nanosec, msg.header.frame_id) == (7, 8, 'front')
    assert msg.format.startswith(f'{encoding}; {compression.value} compressed bgr')


def test_png_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    _, bgr = decoded(compress_image(image(pixels, 'bgr8'), Compression.PNG, 1))
    assert np.array_equal(bgr, pixels)


@pytest.mark.parametrize(('encoding', 'big'), [('mono16', 0), ('16UC1', 0), ('16UC1', 1)])
def test_png_keeps_depth_in_either_byte_order(encoding, big):
    depth = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 7
    sent = depth.byteswap() if big else depth
    msg, found = decoded(compress_image(image(sent, encoding, big=big), Compression.PNG, 1),
                         cv2.IMREAD_UNCHANGED)
    assert np.array_equal(found, depth)
    assert msg.format == f'{encoding}; png compressed mono16'


def test_grey_stays_grey():
    grey = np.full((HEIGHT, WIDTH), 77, np.uint8)
    msg, found = decoded(compress_image(image(grey, 'mono8'), Compression.JPEG, 90),
                         cv2.IMREAD_UNCHANGED)
    assert found.shape == (HEIGHT, WIDTH)
    assert abs(int(found[5, 5]) - 77) <= 2
    assert msg.format == 'mono8; jpeg compressed mono8'


def test_padding_at_the_end_of_rows_is_no_picture():
    pixels = coloured('bgr8', COLOURS['blue'])
    _, bgr = decoded(compress_image(image(pixels, 'bgr8', padding=5), Compression.PNG, 1))
    assert np.array_equal(bgr, pixels)


def test_quality_changes_the_size():
    pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    sizes = [len(compress_image(image(pixels, 'bgr8'), Compression.JPEG, quality))
             for quality in (20, 60, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize(('encoding', 'compression'), [
    ('16UC1', Compression.JPEG), ('bayer_rggb8', Compression.JPEG), ('32FC1', Compression.PNG),
    ('', Compression.PNG)])
def test_an_encoding_that_a_codec_cannot_hold_is_refused_by_name(encoding, compression):
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    with pytest.raises(ImageCdrError, match=f'{encoding!r} cannot be kept as {compression.value}'):
        compress_image(image(pixels, encoding), compression, 1)


def test_rows_shorter_than_their_pixels_and_empty_images_are_refused():
    grey = np.zeros((HEIGHT, WIDTH), np.uint8)
    with pytest.raises(ImageCdrError, match='rows of 64 bytes, expected 192'):
        compress_image(image(grey, 'rgb8'), Compression.JPEG, 90)
    with pytest.raises(ImageCdrError, match='0x0 pixels'):
        compress_image(image(np.zeros((0, 0, 3), np.uint8), 'rgb8'), Compression.JPEG, 90)
