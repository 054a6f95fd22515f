"""
A few numbers of each frame of a camera, and a handful of small pictures to show.

One frame at a time in memory, whatever the episode's length. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from chunked_vla_ros.core.camera_measures import FrameNumbers
from chunked_vla_ros.core.types import FloatArray, ImageArray
from chunked_vla_ros.report.film_strip import film_frame, FilmFrame

NEARLY_BLACK, NEARLY_WHITE = 12, 250
# Edges are compared at one size: a sharp picture of many pixels has softer edges.
COMPARED_WIDTH = 320
# So coarse that a sensor's noise is averaged away, so fine that a gripper is a pixel.
COARSE = (32, 24)


@dataclass(frozen=True)
class CameraLook:
    """What was seen of one camera: numbers of every frame, and some frames to show."""

    numbers: FrameNumbers
    shown: tuple[FilmFrame, ...]


def look_at(frames: Iterable[tuple[float, ImageArray]], count: int, shown: int,
            width: int) -> CameraLook:
    """
    Return the numbers of all ``frames``, (time in [s], RGB), and about ``shown`` small pictures.

    :param count: How many frames there should be: pictures are taken evenly from so many.
    :param width: Of the small pictures in pixels, at most.
    """
    wanted = {int(row) for row in np.linspace(0, max(count - 1, 0), shown).round()} \
        if shown else set()
    rows: list[tuple[float, ...]] = []
    strip: list[FilmFrame] = []
    before: ImageArray | None = None
    first: FloatArray | None = None
    numbers: tuple[float, ...] = ()
    for row, (time_s, frame) in enumerate(frames):
        same = before is not None and np.array_equal(before, frame)
        if not same:
            grey = _compared(frame)
            coarse = cv2.resize(grey, COARSE, interpolation=cv2.INTER_AREA).astype(np.float64)
            first = coarse if first is None else first
            numbers = (*_numbers(grey), float(np.abs(coarse - first).max()))
        rows.append((time_s, *numbers, float(same)))
        if row in wanted:
            strip.append(film_frame(time_s, frame, min(width, frame.shape[1])))
        before = frame
    table = np.array(rows, np.float64).reshape(-1, 7)
    times_s, brightness, dark, bright, sharpness, travel, same_flags = table.T
    numbers_of_all = FrameNumbers(
        times_s, brightness, dark, bright, sharpness, travel, same_flags > 0.5)
    return CameraLook(numbers_of_all, tuple(strip))


def _compared(frame: ImageArray) -> ImageArray:
    """Return a picture as grey, (height, width), of at most the width that is compared."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    if grey.shape[1] > COMPARED_WIDTH:
        height = max(1, round(grey.shape[0] * COMPARED_WIDTH / grey.shape[1]))
        grey = cv2.resize(grey, (COMPARED_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _numbers(grey: ImageArray) -> tuple[float, float, float, float]:
    """Return mean grey, share that is nearly black, that is nearly white, and sharpness."""
    return (float(grey.mean()), float((grey <= NEARLY_BLACK).mean()),
            float((grey >= NEARLY_WHITE).mean()),
            float(cv2.Laplacian(grey, cv2.CV_32F).var()))
