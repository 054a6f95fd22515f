"""
Film strips: camera frames as JPEG data inside the page.

Knows nothing about where frames come from.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.report.markup import element, escape, Markup

JPEG_QUALITY = 80


@dataclass(frozen=True)
class FilmFrame:
    """One picture of a strip: JPEG bytes and the moment it shows, in [s] of the episode."""

    time_s: float
    jpeg: bytes


def film_frame(time_s: float, pixels: ImageArray, width: int) -> FilmFrame:
    """
    Return ``pixels`` (height, width, 3) RGB as a frame of ``width`` pixels.

    :raises ValueError: if the picture cannot be encoded.
    """
    height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    encoded, data = cv2.imencode(
        '.jpg', cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise ValueError(f'no JPEG from a picture of shape {pixels.shape}')
    return FilmFrame(time_s, data.tobytes())


def film_strip(frames: Sequence[FilmFrame], camera: str, timed: bool = True) -> Markup:
    """
    Return the frames side by side, each with its time.

    :param timed: ``False``: the times are numbers of rows.
    """
    def when(frame: FilmFrame) -> str:
        return f'{frame.time_s:.1f} s' if timed else f'row {frame.time_s:.0f}'
    return element('div', *(
        element(
            'figure',
            Markup(
                f'<img alt="{escape(f"{camera} camera at {when(frame)}")}" '
                f'src="data:image/jpeg;base64,{base64.b64encode(frame.jpeg).decode()}">'),
            element('figcaption', when(frame)))
        for frame in frames), class_='film')
