"""
Camera messages, raw and compressed, from and to RGB frames.

What a message must be to become a frame is `data.image_frames`' business. Knows no clocks.
"""

from __future__ import annotations

import array
from typing import TypeAlias

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.data.image_frames import CHANNELS, decoded_frame, unpacked_frame
from chunked_vla_ros.nodes.conversions import ns_to_stamp

CameraMsg: TypeAlias = Image | CompressedImage
MSG_TYPES = {ImageTransport.RAW: Image, ImageTransport.COMPRESSED: CompressedImage}
JPEG_QUALITY = 95


def image_from_msg(msg: CameraMsg, camera: CameraSpec, stamp_ns: int) -> CameraFrame:
    """
    Return the frame of a message that is what the contract promises.

    The pixels of an rgb8 image that is neither resized nor padded are the message's own memory.

    :raises InputRejected: encoding, size, rows or amount of data differ, or it is damaged.
    """
    if camera.transport is ImageTransport.COMPRESSED:
        return decoded_frame(msg.data, camera, stamp_ns)
    return unpacked_frame(msg, camera, stamp_ns)


def camera_msg(frame: CameraFrame, camera: CameraSpec, frame_id: str) -> CameraMsg:
    """Return an RGB frame as the message in which ``camera`` publishes."""
    if camera.transport is ImageTransport.COMPRESSED:
        return compressed_image_to_msg(frame, frame_id)
    return image_to_msg(frame, frame_id)


def image_to_msg(frame: CameraFrame, frame_id: str) -> Image:
    """Return an RGB frame as a message."""
    height, width, _ = frame.pixels.shape
    msg = Image(height=height, width=width, encoding='rgb8', step=width * CHANNELS)
    msg.header.stamp, msg.header.frame_id = ns_to_stamp(frame.stamp_ns), frame_id
    # An array.array is taken as it is; any other sequence is checked byte by byte.
    msg.data = array.array('B', np.ascontiguousarray(frame.pixels).tobytes())
    return msg


def compressed_image_to_msg(frame: CameraFrame, frame_id: str,
                            quality: int = JPEG_QUALITY) -> CompressedImage:
    """Return an RGB frame as a message with a JPEG; ``quality`` is from 1 to 100."""
    _, data = cv2.imencode('.jpg', cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR),
                           (cv2.IMWRITE_JPEG_QUALITY, quality))
    # As image_transport names it: what was compressed, how, and what is inside.
    msg = CompressedImage(format='rgb8; jpeg compressed bgr8')
    msg.header.stamp, msg.header.frame_id = ns_to_stamp(frame.stamp_ns), frame_id
    msg.data = array.array('B', data.tobytes())
    return msg
