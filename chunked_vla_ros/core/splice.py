"""
Join a chunk to the present motion: continuous in position, velocity and acceleration.

Two ways, tried in this order. A quintic offset fades the difference out while the chunk is already
followed (no deviation where there is no difference). Where that would exceed a limit, or the chunk
starts later, a ruckig profile meets the chunk's curve in time at a later point. Where neither
works, both are tried on the chunk slowed down, and a chunk still out of reach is refused. Position
limits stay with `core.guard`, which sees every command.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.curves import BlendedCurve, ChainedCurve, CubicSpline, Curve, RestCurve
from chunked_vla_ros.core.profiles import ProfileError, Profiles, velocity_after_settling
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.retiming import (
    LIMIT_ACCELERATION,
    LIMIT_POSITION,
    retime,
    Retimed,
    scaled,
)
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray, MotionState

BLENDS_S = (0.04, 0.08, 0.12, 0.2, 0.3, 0.45, 0.65, 0.9)
BLEND_SAMPLES = 48
MEETING_STEP_S = 0.05
# A chunk too fast to be caught up with is followed more slowly; the next one starts from there.
STRETCHES = (1.0, 1.5, 2.2, 3.3, 5.0)
# Slower than this it would no longer be what the policy asked for.
LARGEST_STRETCH = 6.0
# The chunk's own curve leaves headroom for the blend, the blend for rounding.
CURVE_FRACTION = 0.85
BLEND_FRACTION = 0.98
# A spline overshoots a little between points on the edge of the range: points there are moved
# inside by this much more than it does, until it stays this share of the range away from the edge.
OVERSHOOT_ROOM = 1.2
LEAST_SHARE = 2e-4
ROOM_PER_SWING, LARGEST_SHARE, LARGEST_AIM_RAD = 10.0, 0.01, 0.01
OVERSHOOT_PASSES = 8
ROUNDING_RAD = 1e-6
REST_RADPS = 0.02


@dataclass(frozen=True)
class Splice:
    """
    A motion that follows a chunk from the present state.

    :ivar curve: Starts at the present state.
    :ivar knots_ns: When each point is executed on the motion clock, shape (n,).
    :ivar flags: Per joint, the LIMIT_* bits that changed the motion asked for, shape (J,).
    :ivar at_rest: True if the chunk itself ends at rest.
    """

    curve: Curve
    knots_ns: np.ndarray
    flags: np.ndarray
    at_rest: bool


class Splicer:
    """Plan splices for the joints of ``limits``."""

    def __init__(self, limits: JointLimits, profiles: Profiles) -> None:
        self._limits, self._profiles = limits, profiles
        self._curve_limits = scaled(limits, CURVE_FRACTION)
        self._blend_limits = scaled(limits, BLEND_FRACTION)

    def join(self, now_ns: int, present: MotionState, due_ns: np.ndarray, positions: FloatArray,
             interpolated: NDArray[np.bool_], tolerance_rad: FloatArray) -> Splice:
        """
        Return the motion from ``present`` at ``now_ns`` into the chunk (motion clock).

        :param interpolated: Which joints the curve moves, shape (J,); the others stand still.
        :param tolerance_rad: How far off the chunk may be, shape (J,); see `allowed_distance`.
        :raises ChunkRejected: JUMP if the chunk is farther away than the tolerance, UNREACHABLE
            if the limits do not allow to join it before it ends.
        """
        limits = self._limits
        kept = np.where(interpolated, np.clip(positions, limits.lower, limits.upper), positions)
        flags = np.where((np.abs(kept - positions) > ROUNDING_RAD).any(axis=0),
                         LIMIT_POSITION, 0).astype(np.uint8)
        if len(due_ns) == 1:
            return self._to_pose(now_ns, present, int(due_ns[0]), kept[0], flags, tolerance_rad)
        past = int(np.searchsorted(due_ns, now_ns, side='right')) - 1
        retimed = self._retimed(due_ns, kept, min(max(past, 0), len(due_ns) - 2), interpolated)
        reference = retimed.spline
        check_distance(reference.state_at(now_ns).position, present.position, tolerance_rad,
                       Rejection.JUMP, 'commanded')
        for stretch in STRETCHES:
            if stretch * retimed.stretch > LARGEST_STRETCH:
                raise ChunkRejected(
                    Rejection.UNREACHABLE, f'within limits it would take more than '
                    f'{LARGEST_STRETCH:.0f} times its time')
            spline = reference if stretch == 1.0 else _slower(reference, now_ns, stretch)
            curve = self._blend(now_ns, present, spline) or self._meet(now_ns, present, spline)
            if curve is not None:
                break
        else:
            raise ChunkRejected(
                Rejection.UNREACHABLE, 'limits do not allow to join it before its last point')
        slowed = 0 if stretch == 1.0 else LIMIT_ACCELERATION
        knots_ns = spline.start_ns + np.round(spline.knots_s * 1e9).astype(np.int64)
        end = spline.state_at(spline.end_ns)
        return Splice(curve, knots_ns, flags | retimed.flags | np.uint8(slowed),
                      bool((np.abs(end.velocity) < REST_RADPS).all()))

    def _retimed(self, due_ns: np.ndarray, positions: FloatArray, first_interval: int,
                 interpolated: NDArray[np.bool_]) -> Retimed:
        """Return the curve through ``positions``, the outermost moved inside if it overshoots."""
        start_ns, limits = int(due_ns[0]), self._limits
        knots_s = (due_ns - start_ns) * 1e-9
        span = limits.upper - limits.lower
        aim, margin, kept = LEAST_SHARE * span, np.zeros_like(span), positions
        swings = np.zeros(len(span), dtype=bool)
        for _ in range(OVERSHOOT_PASSES):
            retimed = retime(start_ns, knots_s, kept, self._curve_limits, first_interval)
            lowest, highest = retimed.spline.extrema()
            room = np.minimum(lowest - limits.lower, limits.upper - highest)
            swings |= interpolated & (room < 0)
            # Where it does, more than nothing must be left: stops and joints need room as well.
            aim = np.maximum(aim, np.minimum(
                -ROOM_PER_SWING * room, np.minimum(LARGEST_SHARE * span, LARGEST_AIM_RAD)))
            if not (swings & (room < aim / 2)).any():
                break
            short = np.where(swings, np.maximum(aim - room, 0.0), 0.0)
            margin = np.minimum(np.maximum(2 * margin, OVERSHOOT_ROOM * short), span / 4)
            # Points at the edge by the margin, those around it by less: what swings may be beside.
            kept = np.where(interpolated, np.clip(
                positions, limits.lower + margin + (positions - limits.lower) / 2,
                limits.upper - margin - (limits.upper - positions) / 2), positions)
        return retimed

    def _blend(self, now_ns: int, present: MotionState, spline: CubicSpline) -> Curve | None:
        if now_ns < spline.start_ns:
            return None
        left_s, outside = (spline.end_ns - now_ns) * 1e-9, None
        for duration_s in BLENDS_S:
            if duration_s > left_s:
                break
            curve = BlendedCurve(now_ns, duration_s, present, spline)
            if self._keeps_limits(curve):
                if self._stays_inside(curve):
                    return curve
                outside = outside or curve    # better than none: the guard has the last word
        return outside

    def _stays_inside(self, curve: BlendedCurve) -> bool:
        """Return whether the joined motion stays in the range, as the chunk's own curve does."""
        position = curve.sample(np.linspace(0.0, curve.duration_s, BLEND_SAMPLES))[0]
        return bool(((position >= self._limits.lower - ROUNDING_RAD)
                     & (position <= self._limits.upper + ROUNDING_RAD)).all())

    def _keeps_limits(self, curve: BlendedCurve) -> bool:
        limits = self._blend_limits
        grid = np.linspace(0.0, curve.duration_s, BLEND_SAMPLES)
        _, velocity, acceleration, jerk = curve.sample(grid)
        settled = velocity_after_settling(velocity, acceleration, self._limits.jerk)
        return bool((np.abs(acceleration) <= limits.acceleration).all()
                    and (np.abs(velocity) <= limits.velocity).all()
                    and (np.abs(settled) <= limits.velocity).all()
                    and (np.abs(jerk) <= limits.jerk).all())

    def _meet(self, now_ns: int, present: MotionState, spline: CubicSpline) -> Curve | None:
        first_ns = max(spline.start_ns, now_ns + round(MEETING_STEP_S * 1e9))
        for meeting_ns in range(first_ns, spline.end_ns + 1, round(MEETING_STEP_S * 1e9)):
            duration_s = (meeting_ns - now_ns) * 1e-9
            try:
                profile = self._profiles.move(
                    now_ns, present, spline.state_at(meeting_ns), duration_s)
            except ProfileError:
                continue
            if abs(profile.end_ns - meeting_ns) < 1000:
                return ChainedCurve(profile, spline)
        return None

    def _to_pose(self, now_ns: int, present: MotionState, due_ns: int, pose: FloatArray,
                 flags: np.ndarray, tolerance_rad: FloatArray) -> Splice:
        """Reach a single point at rest, at its due time or as soon as the limits allow."""
        check_distance(pose, present.position, tolerance_rad, Rejection.JUMP, 'commanded')
        try:
            profile = self._profiles.move(now_ns, present, MotionState.at_rest(pose),
                                          max((due_ns - now_ns) * 1e-9, 0.0))
        except ProfileError as error:
            raise ChunkRejected(Rejection.UNREACHABLE, str(error)) from error
        curve = ChainedCurve(profile, RestCurve(profile.end_ns, pose))
        return Splice(curve, np.array([now_ns]), flags, at_rest=True)

    def allowed_distance(self, tolerance_rad: float, lead_ns: int) -> FloatArray:
        """Return how far off a point due in ``lead_ns`` may be, shape (J,) in [rad]."""
        # Half of the way that full speed would make: time to speed up and down is needed too.
        return tolerance_rad + self._limits.velocity * (max(lead_ns, 0) * 1e-9) / 2


def check_distance(target: FloatArray, pose: FloatArray, tolerance_rad: FloatArray,
                   rejection: Rejection, whose: str) -> None:
    """
    Do nothing if ``target`` is within the tolerance of ``pose``, all of shape (J,).

    :raises ChunkRejected: ``rejection``, naming the worst joint and ``whose`` pose it is.
    """
    distance = np.abs(target - pose)
    joint = int((distance - tolerance_rad).argmax())
    if distance[joint] > tolerance_rad[joint]:
        raise ChunkRejected(
            rejection, f'{distance[joint]:.3f} rad from the {whose} pose at joint {joint}, '
            f'tolerance {tolerance_rad[joint]:.3f}')


def _slower(spline: CubicSpline, now_ns: int, stretch: float) -> CubicSpline:
    """Return the same path, slower from ``now_ns`` (or its later start) on."""
    pivot_ns = max(now_ns, spline.start_ns)
    start_ns = pivot_ns - round((pivot_ns - spline.start_ns) * stretch)
    return CubicSpline(start_ns, spline.knots_s * stretch, spline.positions)
