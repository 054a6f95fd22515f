"""
Pictures of cameras, raw and compressed, become the RGB frames of the robot contract.

One rule for live messages and recorded ones. Nothing that a picture says of itself is believed
before it is checked: what is not the contract's raises `InputRejected` with one line, and no
decoder sees it. Knows no ROS and no clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.image_header import picture_size
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.core.types import CameraFrame, ImageArray

ReadT = TypeVar('ReadT')

CHANNELS = 3
# EXIF would turn the picture, and its size with it.
DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Compressed, a picture is smaller than its pixels; PNG with four channels is the largest.
COMPRESSED_PIXEL_BYTES, COMPRESSED_HEADER_BYTES = 4, 65_536


class RawPicture(Protocol):
    """What a sensor_msgs/Image says, whoever read it: a message, or `wire_values.ImageValue`."""

    @property
    def width(self) -> int:
        """Return the columns."""

    @property
    def height(self) -> int:
        """Return the rows."""

    @property
    def encoding(self) -> str:
        """Return how a pixel is stored."""

    @property
    def step(self) -> int:
        """Return the bytes of a row, padding included."""

    @property
    def data(self) -> Any:
        """Return the pixels, as anything that is a buffer of bytes."""


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


def unpacked_frame(picture: RawPicture, camera: CameraSpec, stamp_ns: int) -> CameraFrame:
    """
    Return the frame of an uncompressed picture that is what the contract promises.

    RGB of shape ``camera.frame_shape``. The pixels of an rgb8 image that is neither resized nor
    padded are the picture's own memory.

    :raises InputRejected: encoding, size, rows or amount of data differ.
    """
    return _frame(lambda: _unpacked(picture, camera), camera, stamp_ns)


def decoded_frame(data: Any, camera: CameraSpec, stamp_ns: int) -> CameraFrame:
    """
    Return the frame of a JPEG or PNG of the contract's size, as RGB of ``camera.frame_shape``.

    :param data: The file's bytes, in any buffer.
    :raises InputRejected: size or format differ, or it is damaged.
    """
    return _frame(lambda: _decoded(data, camera), camera, stamp_ns)


def _frame(read: Callable[[], ImageArray], camera: CameraSpec, stamp_ns: int) -> CameraFrame:
    pixels = _named(read, camera)
    pixels = resized(pixels, camera.frame_shape)
    pixels.flags.writeable = False
    return CameraFrame(stamp_ns, pixels)


def _named(read: Callable[[], ReadT], camera: CameraSpec) -> ReadT:
    try:
        return read()
    except InputRejected as error:
        raise InputRejected(f'camera {camera.name}: {error}') from error.__cause__


def check_unpacked(picture: RawPicture, camera: CameraSpec) -> None:
    """
    Look whether an uncompressed picture is what the contract promises; no pixel is touched.

    :raises InputRejected: as `unpacked_frame`.
    """
    _named(lambda: _check_unpacked(picture, camera), camera)


def check_compressed(data: Any, camera: CameraSpec) -> None:
    """
    Look whether a JPEG or PNG says of itself what the contract promises; nothing is decoded.

    :raises InputRejected: size or format differ.
    """
    _named(lambda: _check_compressed(bytes(data), camera), camera)


def _check_unpacked(picture: RawPicture, camera: CameraSpec) -> None:
    if picture.encoding != camera.encoding:
        raise InputRejected(
            f'encoding {picture.encoding[:32]!r}, expected {camera.encoding!r}')
    _check_size(picture.width, picture.height, camera)
    layout = LAYOUTS[camera.encoding]
    row = camera.width * layout.pixel_bytes
    # The contract's height, Python's integers: a huge step cannot overflow, nor 0 * 0 be right.
    if picture.step < row or len(picture.data) != picture.step * camera.height:
        raise InputRejected(f'{len(picture.data)} bytes in rows of {picture.step}, expected '
                            f'{row * camera.height} in rows of {row}')
    if camera.width % layout.columns_of:
        raise InputRejected(f'{camera.encoding} has an even width, the contract says '
                            f'{camera.width}')


def _unpacked(picture: RawPicture, camera: CameraSpec) -> ImageArray:
    _check_unpacked(picture, camera)
    layout = LAYOUTS[camera.encoding]
    row = camera.width * layout.pixel_bytes
    rows = np.frombuffer(picture.data, dtype=np.uint8).reshape(
        camera.height, picture.step)[:, :row]
    pixels = np.ascontiguousarray(rows).reshape(
        camera.height, camera.width, layout.pixel_bytes)
    return pixels if layout.to_rgb is None else cv2.cvtColor(pixels, layout.to_rgb)


def _check_compressed(content: bytes, camera: CameraSpec) -> None:
    most = camera.width * camera.height * COMPRESSED_PIXEL_BYTES + COMPRESSED_HEADER_BYTES
    if len(content) > most:
        raise InputRejected(f'{len(content)} compressed bytes, expected at most {most}')
    _check_size(*picture_size(content), camera)


def _decoded(data: Any, camera: CameraSpec) -> ImageArray:
    content = bytes(data)
    _check_compressed(content, camera)
    try:
        decoded: NDArray[np.uint8] | None = cv2.imdecode(
            np.frombuffer(content, np.uint8), DECODE)
    except cv2.error as error:
        raise InputRejected('cannot be decoded') from error
    if decoded is None or decoded.shape != (camera.height, camera.width, CHANNELS):
        raise InputRejected('cannot be decoded')
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded))


def _check_size(width: int, height: int, camera: CameraSpec) -> None:
    if (width, height) != (camera.width, camera.height):
        raise InputRejected(f'{width}x{height}, expected {camera.width}x{camera.height}')


def resized(pixels: ImageArray, shape: tuple[int, int, int]) -> ImageArray:
    """Return an image (H, W, 3) at ``shape``, (h, w, 3); itself where it has it already."""
    height, width, _ = shape
    if pixels.shape == shape:
        return pixels
    # INTER_AREA averages, as a smaller sensor would; enlarging it would show blocks.
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    return np.asarray(cv2.resize(
        pixels, (width, height),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
