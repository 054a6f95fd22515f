"""
Turn the bytes of an image message into those of a compressed one: JPEG or PNG by OpenCV.

The header is kept, byte for byte. What cannot be compressed without loss of meaning is refused, so
that it can be kept as it is. Knows no ROS.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.image_cdr import (
    compressed_image,
    ImageCdrError,
    ImageView,
    read_image,
)
from chunked_vla_ros.core.recording import Compression

__all__ = ['ImageCdrError', 'compress_image']


@dataclass(frozen=True)
class _Layout:
    """How an encoding lies in memory, and the codes that make it OpenCV's; ``None``: it is."""

    channels: int
    wide: bool = False       # two bytes for each number
    to_jpeg: int | None = None
    to_png: int | None = None
    inside: str = 'bgr8'     # what a PNG of it holds, in the words of sensor_msgs


LAYOUTS = {
    'rgb8': _Layout(3, to_jpeg=cv2.COLOR_RGB2BGR, to_png=cv2.COLOR_RGB2BGR),
    'bgr8': _Layout(3),
    '8UC3': _Layout(3),
    'rgba8': _Layout(4, to_jpeg=cv2.COLOR_RGBA2BGR, to_png=cv2.COLOR_RGBA2BGRA, inside='bgra8'),
    'bgra8': _Layout(4, to_jpeg=cv2.COLOR_BGRA2BGR, inside='bgra8'),
    'mono8': _Layout(1, inside='mono8'),
    '8UC1': _Layout(1, inside='mono8'),
    'mono16': _Layout(1, wide=True, inside='mono16'),
    '16UC1': _Layout(1, wide=True, inside='mono16'),
}


def compress_image(data: bytes, compression: Compression, value: int) -> bytes:
    """
    Return the bytes of the sensor_msgs/CompressedImage that an Image's ``data`` becomes.

    :param value: JPEG quality 1 to 100, or PNG level 0 to 9.
    :raises ImageCdrError: it is no image, or this codec cannot hold its encoding.
    """
    view = read_image(data)
    layout = LAYOUTS.get(view.encoding)
    jpeg = compression is Compression.JPEG
    if layout is None or (jpeg and layout.wide):
        raise ImageCdrError(
            f'encoding {view.encoding[:32]!r} cannot be kept as {compression.value}')
    pixels = _pixels(view, layout)
    code = layout.to_jpeg if jpeg else layout.to_png
    if code is not None:
        pixels = np.asarray(cv2.cvtColor(pixels, code))
    flag = cv2.IMWRITE_JPEG_QUALITY if jpeg else cv2.IMWRITE_PNG_COMPRESSION
    try:
        done, payload = cv2.imencode(f'.{compression.value}', pixels, (flag, value))
    except cv2.error as error:
        raise ImageCdrError(f'image cannot be kept as {compression.value}: '
                            f'{" ".join(str(error).split())}') from None
    if not done:
        raise ImageCdrError(f'image cannot be kept as {compression.value}')
    # As image_transport names it: what was compressed, how, and what is inside.
    inside = 'bgr8' if jpeg and layout.channels > 1 else layout.inside
    return compressed_image(view.head, f'{view.encoding}; {compression.value} compressed {inside}',
                            payload.reshape(-1).data)


def _pixels(view: ImageView, layout: _Layout) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return an array (height, width, channels) on the message's own memory where it can be."""
    row = view.width * layout.channels * (2 if layout.wide else 1)
    if not view.height or not view.width or view.step < row:
        raise ImageCdrError(f'image of {view.width}x{view.height} pixels in rows of {view.step} '
                            f'bytes, expected {row} or more')
    rows = np.frombuffer(view.pixels, np.uint8, view.height * view.step)
    rows = rows.reshape(view.height, view.step)[:, :row]
    packed = np.ascontiguousarray(rows).reshape(-1)
    if layout.wide:
        wide = packed.view('>u2' if view.is_bigendian else '<u2').astype(np.uint16)
        return wide.reshape(view.height, view.width)
    shape = (view.height, view.width, layout.channels)
    return packed.reshape(shape[:2] if layout.channels == 1 else shape)
