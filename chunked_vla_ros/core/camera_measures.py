"""
What a camera's frames amount to: how bright, how sharp, and for how long nothing changed.

Takes a few numbers per frame, never pixels, so that a long episode needs little memory. Judges
nothing and knows no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import FloatArray


@dataclass(frozen=True)
class FrameNumbers:
    """
    Numbers of F frames, (F,) each.

    :ivar times_s: When each is shown, in [s] of the episode.
    :ivar brightness: Mean grey, 0 to 255.
    :ivar dark: Share of pixels that are nearly black.
    :ivar bright: Share of pixels that are nearly white.
    :ivar sharpness: Variance of the Laplacian; low where there are no edges.
    :ivar travel: Largest difference of a coarse picture from that of the first frame, 0 to 255.
    :ivar same: Whether a frame equals the one before in every pixel; the first does not.
    """

    times_s: FloatArray
    brightness: FloatArray
    dark: FloatArray
    bright: FloatArray
    sharpness: FloatArray
    travel: FloatArray
    same: NDArray[np.bool_]


@dataclass(frozen=True)
class Stretch:
    """Rows ``first`` to ``last``, both included, that took ``duration_s`` [s]."""

    first: int
    last: int
    duration_s: float


@dataclass(frozen=True)
class CameraMeasures:
    """
    One camera in one episode.

    :ivar frames: How many frames there are.
    :ivar brightness: Median over frames, 0 to 255.
    :ivar dark_share: Share of frames that are nearly all black.
    :ivar bright_share: Share of frames of which most is white.
    :ivar sharpness: Median over frames.
    :ivar travel: Largest difference of a coarse picture from that of the first frame.
    :ivar same_share: Share of frames that equal the one before.
    :ivar same: Stretches of equal frames, the longest ones, longest first.
    :ivar error: Why its frames could not be read, '' where they could.
    """

    frames: int
    brightness: float = 0.0
    dark_share: float = 0.0
    bright_share: float = 0.0
    sharpness: float = 0.0
    travel: float = 0.0
    same_share: float = 0.0
    same: tuple[Stretch, ...] = ()
    error: str = ''


# Of a frame's pixels: a lens cap lets no share through, a blown-out sky leaves the rest of the
# picture of use.
BLACK_FRAME, WHITE_FRAME = 0.98, 0.6
MOST_STRETCHES = 20


def measure_camera(numbers: FrameNumbers) -> CameraMeasures:
    """Return what the frames of one episode amount to."""
    count = len(numbers.times_s)
    if not count:
        return CameraMeasures(0)
    return CameraMeasures(
        count, float(np.median(numbers.brightness)),
        float(np.mean(numbers.dark >= BLACK_FRAME)), float(np.mean(numbers.bright >= WHITE_FRAME)),
        float(np.median(numbers.sharpness)), float(numbers.travel.max()),
        float(numbers.same[1:].mean()) if count > 1 else 0.0,
        tuple(longest_stretches(numbers.same, numbers.times_s)[:MOST_STRETCHES]))


def longest_stretches(same: NDArray[np.bool_], times_s: FloatArray) -> list[Stretch]:
    """
    Return the runs of rows that equal the row before, longest first.

    :param same: (N,); whether row i equals row i - 1, False for the first.
    :param times_s: (N,) in [s].
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    starts, ends = np.maximum(edges[0::2] - 1, 0), edges[1::2] - 1
    durations = times_s[ends] - times_s[starts]
    order = np.argsort(-durations, kind='stable')
    return [Stretch(int(starts[run]), int(ends[run]), float(durations[run])) for run in order]
