"""
Slow a spline down in time, only where it would exceed a limit.

The idea is that of iterative spline parametrisation: the interval that asks too much is stretched
and the spline is solved again. Stretching every interval by k divides velocity by k, acceleration
by k^2 and jerk by k^3 exactly, so one last uniform stretch settles what the passes leave over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.curves import CubicSpline
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray

PASSES = 6
LARGEST_STRETCH_PER_PASS = 2.0
TOLERANCE = 1e-6

LIMIT_POSITION, LIMIT_VELOCITY, LIMIT_ACCELERATION, LIMIT_JERK = 1, 2, 4, 8


@dataclass(frozen=True)
class Retimed:
    """
    A spline within limits, and what it took.

    :ivar stretch: Duration over the duration asked for, >= 1.
    :ivar flags: Per joint, the LIMIT_* bits that asked for the stretch, shape (J,) uint8.
    """

    spline: CubicSpline
    stretch: float
    flags: np.ndarray


def retime(start_ns: int, knots_s: FloatArray, positions: FloatArray, limits: JointLimits,
           first_interval: int = 0) -> Retimed:
    """
    Return the spline through ``positions`` (n, J) that keeps ``limits``.

    :param knots_s: The times asked for in [s], shape (n,), the first is 0.
    :param first_interval: Intervals before this one are the past and stay as they are.
    """
    width = np.diff(knots_s)
    spline = CubicSpline(start_ns, knots_s, positions)
    needs = stretch_needed(spline, limits)[:, first_interval:]
    flags = _flags(needs)
    for _ in range(PASSES):
        per_interval = needs.max(axis=(0, 2))
        if per_interval.max() <= 1.0 + TOLERANCE:
            break
        width = width.copy()
        width[first_interval:] *= np.clip(per_interval, 1.0, LARGEST_STRETCH_PER_PASS)
        spline = CubicSpline(start_ns, _knots(width), positions)
        needs = stretch_needed(spline, limits)[:, first_interval:]
    worst = float(needs.max())
    if worst > 1.0 + TOLERANCE:
        # The past is stretched too: it keeps the solution exact, and nobody executes it.
        width = width * worst
        past_s = float(_knots(width)[first_interval]) - float(knots_s[first_interval])
        spline = CubicSpline(start_ns - round(past_s * 1e9), _knots(width), positions)
    asked_s = float(knots_s[-1] - knots_s[first_interval])
    return Retimed(spline, float(width[first_interval:].sum()) / asked_s, flags)


def stretch_needed(spline: CubicSpline, limits: JointLimits) -> FloatArray:
    """
    Return by how much each interval must be stretched, shape (3, n - 1, J).

    The rows answer for velocity, acceleration and jerk. Acceleration is linear between knots, so
    its extremes are at knots; the velocity's extreme is there or where acceleration crosses zero.
    """
    bend, velocity, jerk = spline.accelerations, spline.velocities, spline.jerks
    with np.errstate(divide='ignore', invalid='ignore'):
        turn_s = -bend[:-1] / jerk
        inside = (turn_s > 0) & (turn_s < np.diff(spline.knots_s)[:, None])
        peak = np.where(inside, np.abs(velocity[:-1] + bend[:-1] * turn_s / 2), 0.0)
    # A state must also be stoppable: bringing its acceleration to zero costs a^2 / (2 j).
    speed = np.abs(velocity) + bend**2 / (2 * limits.jerk)
    fastest = np.maximum(peak, np.maximum(speed[:-1], speed[1:]))
    strongest = np.maximum(np.abs(bend[:-1]), np.abs(bend[1:]))
    return np.stack([fastest / limits.velocity, np.sqrt(strongest / limits.acceleration),
                     np.cbrt(np.abs(jerk) / limits.jerk)])


def scaled(limits: JointLimits, fraction: float) -> JointLimits:
    """Return the limits with velocity, acceleration and jerk times ``fraction``."""
    return JointLimits(limits.lower, limits.upper, limits.velocity * fraction,
                       limits.acceleration * fraction, limits.jerk * fraction)


def _knots(width: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(width)])


def _flags(needs: FloatArray) -> np.ndarray:
    exceeded = (needs > 1.0 + TOLERANCE).any(axis=1)    # (3, J)
    bits = np.array([[LIMIT_VELOCITY], [LIMIT_ACCELERATION], [LIMIT_JERK]], dtype=np.uint8)
    return np.asarray((exceeded * bits).sum(axis=0), dtype=np.uint8)
