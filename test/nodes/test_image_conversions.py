"""Camera messages carry frames over the wire; `test/data/test_image_frames.py` has the rest."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import deserialize_message, serialize_message

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport, StreamSpec, TimeBase
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.nodes.conversions import stamp_to_ns
from chunked_vla_ros.nodes.image_conversions import (
    camera_msg,
    compressed_image_to_msg,
    image_from_msg,
    image_to_msg,
    MSG_TYPES,
)

STAMP_NS = 1_234_567_890_123_456_789


def camera(encoding='rgb8', width=4, height=2, **options):
    stream = StreamSpec('cameras/front/image_raw', 20.0, TimeBase.HEADER, 0.2)
    return CameraSpec(
        'front', stream, 'cameras/front/camera_info', width, height, encoding, **options)


COMPRESSED = camera(width=40, height=20, transport=ImageTransport.COMPRESSED)


def picture(width=4, height=2):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


GREY = np.full((20, 40, 3), 90, dtype=np.uint8)


def on_the_wire(msg):
    return deserialize_message(serialize_message(msg), type(msg))


def test_an_image_survives_the_wire():
    msg = on_the_wire(image_to_msg(CameraFrame(STAMP_NS, picture()), 'front_optical_frame'))
    assert stamp_to_ns(msg.header.stamp) == STAMP_NS
    assert (msg.encoding, msg.step, msg.header.frame_id) == ('rgb8', 12, 'front_optical_frame')
    frame = image_from_msg(msg, camera(), STAMP_NS)
    assert frame.stamp_ns == STAMP_NS
    assert np.array_equal(frame.pixels, picture())


def test_rgb_without_resize_and_padding_is_not_copied():
    msg = image_to_msg(CameraFrame(STAMP_NS, picture()), 'f')
    pixels = image_from_msg(msg, camera(), STAMP_NS).pixels
    msg.data[0] = 200
    assert pixels[0, 0, 0] == 200
    assert not pixels.flags.writeable
    assert pixels.flags.c_contiguous


def test_a_jpeg_survives_the_wire_nearly():
    msg = on_the_wire(compressed_image_to_msg(CameraFrame(STAMP_NS, GREY), 'f'))
    frame = image_from_msg(msg, COMPRESSED, STAMP_NS)
    assert (msg.format, stamp_to_ns(msg.header.stamp)) == ('rgb8; jpeg compressed bgr8', STAMP_NS)
    assert np.abs(frame.pixels.astype(int) - GREY).max() < 3


@pytest.mark.parametrize('spec', [camera(width=40, height=20), COMPRESSED])
def test_a_camera_publishes_what_its_contract_says(spec):
    msg = on_the_wire(camera_msg(CameraFrame(STAMP_NS, GREY), spec, 'f'))
    assert isinstance(msg, MSG_TYPES[spec.transport])
    assert image_from_msg(msg, spec, STAMP_NS).pixels.shape == (20, 40, 3)


def test_a_message_that_is_not_the_contract_s_is_refused():
    msg = image_to_msg(CameraFrame(STAMP_NS, picture()), 'f')
    with pytest.raises(InputRejected, match='camera front: 4x2, expected 2x4'):
        image_from_msg(msg, camera(width=2, height=4), STAMP_NS)
