"""
Camera messages, raw and compressed, from and to RGB frames.

Nothing that a message says of itself is believed before it is checked: what is not the contract's
raises `InputRejected` with one line, and no decoder sees it. Knows nothing about clocks.
"""

from __future__ import annotations

import array
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from chunked_vla_ros.core.image_header import picture_size
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport
from chunked_vla_ros.core.types import CameraFrame, ImageArray
from chunked_vla_ros.nodes.conversions import ns_to_stamp

CameraMsg: TypeAlias = Image | CompressedImage
MSG_TYPES = {ImageTransport.RAW: Image, ImageTransport.COMPRESSED: CompressedImage}
CHANNELS = 3
JPEG_QUALITY = 95
# EXIF would turn the picture, and its size with it.
DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Compressed, a picture is smaller than its pixels; PNG with four channels is the largest.
COMPRESSED_PIXEL_BYTES, COMPRESSED_HEADER_BYTES = 4, 65_536


@dataclass(frozen=True)
class PixelLayout:
    """How many bytes a pixel has, and the code by which OpenCV makes it RGB; ``None``: it is."""

    pixel_bytes: int
    to_rgb: int | None
    columns_of: int = 1    # pixels that share their colour: the width is a multiple of it


LAYOUTS = {
    'rgb8': PixelLayout(3, None), 'bgr8': PixelLayout(3, cv2.COLOR_BGR2RGB),
    'rgba8': PixelLayout(4, cv2.COLOR_RGBA2RGB), 'bgra8': PixelLayout(4, cv2.COLOR_BGRA2RGB),
    'mono8': PixelLayout(1, cv2.COLOR_GRAY2RGB),
    'yuv422': PixelLayout(2, cv2.COLOR_YUV2RGB_UYVY, 2),
    'yuv422_yuy2': PixelLayout(2, cv2.COLOR_YUV2RGB_YUY2, 2)}


def image_from_msg(msg: CameraMsg, camera: CameraSpec, stamp_ns: int) -> CameraFrame:
    """
    Return the frame of a message that is what the contract promises.

    RGB of shape ``camera.frame_shape``. The pixels of an rgb8 image that is neither resized nor
    padded are the message's own memory.

    :raises InputRejected: encoding, size, rows or amount of data differ, or it is damaged.
    """
    try:
        if camera.transport is ImageTransport.COMPRESSED:
            pixels = _decoded(msg, camera)
        else:
            pixels = _unpacked(msg, camera)
    except InputRejected as error:
        raise InputRejected(f'camera {camera.name}: {error}') from error.__cause__
    pixels = _resized(pixels, camera)
    pixels.flags.writeable = False
    return CameraFrame(stamp_ns, pixels)


def _unpacked(msg: Image, camera: CameraSpec) -> ImageArray:
    if msg.encoding != camera.encoding:
        raise InputRejected(f'encoding {msg.encoding[:32]!r}, expected {camera.encoding!r}')
    _check_size(msg.width, msg.height, camera)
    layout = LAYOUTS[camera.encoding]
    row = camera.width * layout.pixel_bytes
    # The contract's height, Python's integers: a huge step cannot overflow, nor 0 * 0 be right.
    if msg.step < row or len(msg.data) != msg.step * camera.height:
        raise InputRejected(f'{len(msg.data)} bytes in rows of {msg.step}, expected '
                            f'{row * camera.height} in rows of {row}')
    if camera.width % layout.columns_of:
        raise InputRejected(f'{camera.encoding} has an even width, the contract says '
                            f'{camera.width}')
    rows = np.frombuffer(msg.data, dtype=np.uint8).reshape(camera.height, msg.step)[:, :row]
    pixels = np.ascontiguousarray(rows).reshape(
        camera.height, camera.width, layout.pixel_bytes)
    return pixels if layout.to_rgb is None else cv2.cvtColor(pixels, layout.to_rgb)


def _decoded(msg: CompressedImage, camera: CameraSpec) -> ImageArray:
    most = camera.width * camera.height * COMPRESSED_PIXEL_BYTES + COMPRESSED_HEADER_BYTES
    if len(msg.data) > most:
        raise InputRejected(f'{len(msg.data)} compressed bytes, expected at most {most}')
    data = bytes(msg.data)
    _check_size(*picture_size(data), camera)
    try:
        decoded: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE)
    except cv2.error as error:
        raise InputRejected('cannot be decoded') from error
    if decoded is None or decoded.shape != (camera.height, camera.width, CHANNELS):
        raise InputRejected('cannot be decoded')
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded))


def _check_size(width: int, height: int, camera: CameraSpec) -> None:
    if (width, height) != (camera.width, camera.height):
        raise InputRejected(f'{width}x{height}, expected {camera.width}x{camera.height}')


def _resized(pixels: ImageArray, camera: CameraSpec) -> ImageArray:
    height, width, _ = camera.frame_shape
    if pixels.shape == camera.frame_shape:
        return pixels
    # INTER_AREA averages, as a smaller sensor would; enlarging it would show blocks.
    shrinks = width <= camera.width and height <= camera.height
    return np.asarray(cv2.resize(
        pixels, (width, height),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


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
