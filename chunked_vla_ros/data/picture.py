"""
Decode one JPEG or PNG picture into RGB; its size is read from its header before it is decoded.

Knows bytes, not where they come from.
"""

from __future__ import annotations

import cv2
import numpy as np

from chunked_vla_ros.core.image_header import picture_size
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import ImageArray

MOST_PIXELS = 64_000_000
# EXIF would turn the picture, and its size with it.
DECODE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_picture(data: bytes) -> ImageArray:
    """
    Return the picture, (height, width, 3) RGB.

    :raises InputRejected: it is no picture, cut off, or too large.
    """
    width, height = picture_size(data)
    if not 0 < width * height <= MOST_PIXELS:
        raise InputRejected(f'picture of {width}x{height}, expected up to {MOST_PIXELS} pixels')
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE)
    except cv2.error as error:
        raise InputRejected(f'cannot be decoded ({" ".join(str(error).split())[:80]})') from None
    if decoded is None or decoded.shape[:2] != (height, width):
        raise InputRejected(f'picture of {width}x{height} cannot be decoded')
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
