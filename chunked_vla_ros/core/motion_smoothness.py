"""
How smooth a motion is: root mean square of its jerk, and the arc length of its speed's spectrum.

Arrays in, numbers out; knows nothing about where a motion comes from.
"""

from __future__ import annotations

import math

import numpy as np

from chunked_vla_ros.core.types import FloatArray

# Balasubramanian et al. 2015, "On the analysis of movement smoothness": spectrum up to 10 Hz, cut
# where it stays below 5 % of its peak, with the zero padding given there.
HIGHEST_HZ, LEAST_SHARE, PADDING = 10.0, 0.05, 4
# Slower is standing still [rad/s].
REST_SPEED = 1e-6


def rms_jerk(acceleration: FloatArray, step_s: float) -> float | None:
    """
    Return the root mean square of the jerk in [rad/s^3] over samples and joints.

    :param acceleration: Shape (N, J) in [rad/s^2], ``step_s`` [s] apart.
    :return: ``None`` if there are fewer than two samples.
    """
    if len(acceleration) < 2:
        return None
    return float(np.sqrt(np.mean((np.diff(acceleration, axis=0) / step_s) ** 2)))


def spectral_arc_length(velocity: FloatArray, step_s: float) -> float | None:
    """
    Return the spectral arc length of a motion's speed: -1.4 for one smooth move, less if jerky.

    Source: S. Balasubramanian et al., J. NeuroEng. Rehabil. 12:112 (2015), equation 4.

    :param velocity: Shape (N, J) in [rad/s], ``step_s`` [s] apart.
    :return: ``None`` if nothing moves.
    """
    speed = np.linalg.norm(velocity, axis=1)
    if speed.size < 2 or speed.max() < REST_SPEED:
        return None
    points = 2 ** (math.ceil(math.log2(speed.size)) + PADDING)
    spectrum = np.abs(np.fft.rfft(speed, points))
    spectrum /= spectrum[0]
    shown = np.fft.rfftfreq(points, step_s) <= HIGHEST_HZ
    last = int(np.flatnonzero(spectrum[shown] >= LEAST_SHARE)[-1])
    if last == 0:
        return None
    return -float(np.sum(np.hypot(1.0 / last, np.diff(spectrum[:last + 1]))))
