"""
Motion as curves over time, each continuous in position, velocity and acceleration (C2).

A curve is evaluated at any motion time in [ns]; how it came about is its constructor's business.
Knows nothing about limits: `core.retiming`, `core.splice` and `core.guard` do.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

import numpy as np
from ruckig import Trajectory

from chunked_vla_ros.core.types import FloatArray, MotionState


class Curve(Protocol):
    """A motion of J joints, defined from ``start_ns`` to ``end_ns`` on the motion clock."""

    start_ns: int
    end_ns: int

    def state_at(self, t_ns: int) -> MotionState:
        """Return the state at ``t_ns``, which is clamped to the curve's ends."""


class CubicSpline:
    """
    The C2 cubic through ``knots`` with clamped end slopes (de Boor, 1978, chapter IV).

    Acceleration is linear and jerk constant between knots, so that its extremes are known exactly.
    End slopes are those of the parabola through the three outermost knots.

    :ivar knots_s: Knot times in [s] after ``start_ns``, shape (n,), n >= 2, the first is 0.
    :ivar positions: Shape (n, J).
    :ivar velocities: At every knot in [rad/s], shape (n, J).
    :ivar accelerations: At every knot in [rad/s^2], shape (n, J).
    :ivar jerks: Constant in every interval in [rad/s^3], shape (n - 1, J).
    """

    def __init__(self, start_ns: int, knots_s: FloatArray, positions: FloatArray) -> None:
        self.start_ns = start_ns
        self.end_ns = start_ns + round(float(knots_s[-1]) * 1e9)
        self.knots_s, self.positions = knots_s, positions
        self._width = np.diff(knots_s)
        self._slope = np.diff(positions, axis=0) / self._width[:, None]
        self.accelerations = self._solve()
        self.velocities, self.jerks = self._velocities(), self._jerks()
        # What `state_at` needs 500 times a second.
        bend, jerk = self.accelerations[:-1], self.jerks
        self._coefficients = _with_derivatives(np.stack(
            [positions[:-1], self.velocities[:-1], bend / 2, jerk / 6]))
        self._inner_knots_s: list[float] = knots_s[1:-1].tolist()
        self._start_s: list[float] = knots_s.tolist()

    def _solve(self) -> FloatArray:
        """Return the second derivative at every knot, shape (n, J)."""
        width, slope = self._width, self._slope
        n = len(self.knots_s)
        matrix = np.zeros((n, n))
        index = np.arange(n - 1)
        matrix[index, index + 1] = width
        matrix[index + 1, index] = width
        matrix[0, 0], matrix[-1, -1] = 2 * width[0], 2 * width[-1]
        inner = np.arange(1, n - 1)
        matrix[inner, inner] = 2 * (width[:-1] + width[1:])
        first, last = _end_slopes(width, slope)
        right = np.concatenate([(slope[0] - first)[None], np.diff(slope, axis=0),
                                (last - slope[-1])[None]])
        return np.linalg.solve(matrix, 6 * right)

    def _velocities(self) -> FloatArray:
        bend = self.accelerations
        width = self._width[:, None]
        left = self._slope - width * (2 * bend[:-1] + bend[1:]) / 6
        last = self._slope[-1] + width[-1] * (bend[-2] + 2 * bend[-1]) / 6
        return np.concatenate([left, last[None]])

    def _jerks(self) -> FloatArray:
        return np.diff(self.accelerations, axis=0) / self._width[:, None]

    def sample(self, t_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return position, velocity, acceleration and jerk at ``t_s`` (m,), each (m, J)."""
        at = np.clip(t_s, 0.0, self.knots_s[-1])
        i = np.clip(np.searchsorted(self.knots_s, at, side='right') - 1, 0, len(self._width) - 1)
        h, u = self._width[i][:, None], (at - self.knots_s[i])[:, None]
        bend, jerk = self.accelerations[i], self.jerks[i]
        slope = self._slope[i] - h * (2 * bend + self.accelerations[i + 1]) / 6
        position = self.positions[i] + u * (slope + u * (bend / 2 + u * jerk / 6))
        return position, slope + u * (bend + u * jerk / 2), bend + u * jerk, jerk

    def extrema(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest position along the curve, shape (J,) each."""
        start, speed = self.positions[:-1], self.velocities[:-1]
        bend, jerk = self.accelerations[:-1], self.jerks
        with np.errstate(divide='ignore', invalid='ignore'):
            # Where speed + bend u + jerk u^2 / 2 is zero, without cancellation.
            half = -(bend + np.copysign(np.sqrt(bend**2 - 2 * jerk * speed), bend)) / 2
            turns = np.stack([2 * half / jerk, speed / half])
            inside = (turns > 0) & (turns < self._width[:, None])
        u = np.where(inside, turns, 0.0)
        turned = start + u * (speed + u * (bend / 2 + u * jerk / 6))
        everywhere = np.concatenate([self.positions, turned[0], turned[1]])
        return everywhere.min(axis=0), everywhere.max(axis=0)

    def state_at(self, t_ns: int) -> MotionState:
        """Return the state at ``t_ns``, clamped to the ends."""
        return MotionState(*self.rows_at(t_ns))

    def rows_at(self, t_ns: int) -> FloatArray:
        """Return position, velocity and acceleration at ``t_ns``, clamped to the ends: (3, J)."""
        at_s = min(max((t_ns - self.start_ns) * 1e-9, 0.0), self._start_s[-1])
        i = bisect_right(self._inner_knots_s, at_s)
        u = at_s - self._start_s[i]
        return _rows((1.0, u, u * u, u**3), self._coefficients[:, i])


def _with_derivatives(coefficients: FloatArray) -> FloatArray:
    """
    Return polynomials beside their first two derivatives, lowest power first.

    :param coefficients: Shape (powers, ..., J).
    :return: Shape (powers, ..., 3 J); one product with the powers of u evaluates all three.
    """
    parts = [coefficients]
    for _ in range(2):
        rows = parts[-1]
        power = np.arange(1, len(rows)).reshape(-1, *[1] * (rows.ndim - 1))
        parts.append(np.concatenate([rows[1:] * power, np.zeros_like(rows[:1])]))
    return np.concatenate(parts, axis=-1)


def _rows(powers: tuple[float, ...], coefficients: FloatArray) -> FloatArray:
    """Evaluate (powers, 3 J) coefficients: position, velocity, acceleration, shape (3, J)."""
    return (np.array(powers) @ coefficients).reshape(3, -1)


def _end_slopes(width: FloatArray, slope: FloatArray) -> tuple[FloatArray, FloatArray]:
    if len(width) == 1:
        return slope[0], slope[0]
    first = slope[0] + (slope[0] - slope[1]) * width[0] / (width[0] + width[1])
    last = slope[-1] + (slope[-1] - slope[-2]) * width[-1] / (width[-1] + width[-2])
    return first, last


class RestCurve:
    """Standing still at one pose for ever after ``start_ns``."""

    def __init__(self, start_ns: int, position: FloatArray) -> None:
        self.start_ns = self.end_ns = start_ns
        self._state = MotionState.at_rest(position)

    def state_at(self, t_ns: int) -> MotionState:
        """Return the pose at rest."""
        return self._state


class RuckigCurve:
    """
    A jerk-limited profile that ruckig computed, started at ``start_ns``.

    :param origin: Position from which the trajectory counts, shape (J,) in [rad], or 0.
    """

    def __init__(self, start_ns: int, trajectory: Trajectory,
                 origin: FloatArray | float = 0.0) -> None:
        self.start_ns, self._origin = start_ns, origin
        self.end_ns = start_ns + round(trajectory.duration * 1e9)
        self._trajectory = trajectory
        self._end: MotionState | None = None    # asked for at every tick once it is reached

    def state_at(self, t_ns: int) -> MotionState:
        """Return the state at ``t_ns``, clamped to the ends."""
        if t_ns < self.end_ns:
            return self._at(max(t_ns - self.start_ns, 0) * 1e-9)
        if self._end is None:
            self._end = self._at(self._trajectory.duration)
        return self._end

    def _at(self, t_s: float) -> MotionState:
        position, velocity, acceleration = self._trajectory.at_time(
            min(t_s, self._trajectory.duration))
        return MotionState(
            self._origin + np.array(position), np.array(velocity), np.array(acceleration))

    def extrema(self) -> tuple[FloatArray, FloatArray]:
        """Return the lowest and highest position along the curve, shape (J,) each."""
        bounds = self._trajectory.position_extrema
        return (self._origin + np.array([b.min for b in bounds]),
                self._origin + np.array([b.max for b in bounds]))


class BlendedCurve:
    """
    A reference plus an offset that fades out: how a new chunk is joined without a step.

    The offset is the quintic that starts with the difference of position, velocity and
    acceleration between the present motion and the reference, and is zero in all three after
    ``duration_s``. Present motion and reference being C2, so is the sum.
    """

    def __init__(self, start_ns: int, duration_s: float, present: MotionState,
                 reference: CubicSpline) -> None:
        self.start_ns, self.end_ns = start_ns, max(reference.end_ns, start_ns)
        self.reference, self.duration_s = reference, duration_s
        at = reference.state_at(start_ns)
        e0, e1, e2 = (present.position - at.position, present.velocity - at.velocity,
                      present.acceleration - at.acceleration)
        t = duration_s
        self._coefficients = np.stack([
            e0, e1, e2 / 2,
            -(20 * e0 + 12 * e1 * t + 3 * e2 * t * t) / (2 * t**3),
            (30 * e0 + 16 * e1 * t + 3 * e2 * t * t) / (2 * t**4),
            -(12 * e0 + 6 * e1 * t + e2 * t * t) / (2 * t**5)])     # (6, J), lowest power first
        self._fading = _with_derivatives(self._coefficients)

    def sample(self, tau_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return position, velocity, acceleration, jerk ``tau_s`` (m,) after the start, (m, J)."""
        origin = (self.start_ns - self.reference.start_ns) * 1e-9
        base = self.reference.sample(origin + tau_s)
        u = np.minimum(tau_s, self.duration_s)
        powers = np.stack([np.ones_like(u), u, u**2, u**3, u**4, u**5], axis=1)    # (m, 6)
        rows, parts = self._coefficients, []
        for part in base:
            parts.append(part + powers[:, :len(rows)] @ rows)
            rows = rows[1:] * np.arange(1, len(rows))[:, None]
        return parts[0], parts[1], parts[2], parts[3]

    def state_at(self, t_ns: int) -> MotionState:
        """Return the state at ``t_ns``, clamped to the ends."""
        t_ns = min(max(t_ns, self.start_ns), self.end_ns)
        u = (t_ns - self.start_ns) * 1e-9
        rows = self.reference.rows_at(t_ns)
        if u < self.duration_s:
            rows += _rows((1.0, u, u * u, u**3, u**4, u**5), self._fading)
        return MotionState(*rows)


class ChainedCurve:
    """``first`` until it ends, then ``second``; the caller sees to it that they meet in C2."""

    def __init__(self, first: Curve, second: Curve) -> None:
        self.start_ns, self.end_ns = first.start_ns, max(second.end_ns, first.end_ns)
        self._first, self._second = first, second

    def state_at(self, t_ns: int) -> MotionState:
        """Return the state at ``t_ns``, clamped to the ends."""
        return (self._first if t_ns < self._first.end_ns else self._second).state_at(t_ns)
