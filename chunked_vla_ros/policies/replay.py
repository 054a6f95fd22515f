"""
The policy that replays a demonstration, cut into chunks as a learned policy would send them.

Time zero is the session's first observation. If the arm is not at the first pose then, the
demonstration is preceded by a slow move there. An arm that was held on the way is waited for: the
replay goes on from where the arm stands, later than recorded, and says so in `facts`. Knows
nothing about files or ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import math
from types import MappingProxyType

import numpy as np

from chunked_vla_ros.core.curves import RuckigCurve
from chunked_vla_ros.core.executor_state import ExecutorConfig
from chunked_vla_ros.core.policy import ActionPlan, PolicyError, PolicySpec
from chunked_vla_ros.core.profiles import ProfileError, Profiles
from chunked_vla_ros.core.retarget import Demonstration
from chunked_vla_ros.core.robot_spec import JointLimits, RobotSpec
from chunked_vla_ros.core.types import (
    DimKind,
    FloatArray,
    MotionState,
    NS_PER_S,
    Observation,
)

# A servo rests within milliradians of its target; further away than this the arm is somewhere
# else. In the unit of each joint.
START_TOLERANCE_RAD = 0.025
# Nobody is in a hurry to get to the first pose.
APPROACH_SHARE = 0.3
# A chunk covers this long at any rate, so that a slow answer leaves as much of it.
SPAN_S = 0.75
# From rest the executor takes no chunk that begins further away; in the unit of each joint.
LOST_RAD = 0.1
# An arm that has moved less than this for so long is held; a chunk may still be on its way to it.
STILL_RAD, STILL_S = 0.005, 0.2
# A held arm stands where it was due within the chunk before, or where that one stopped it.
LOOK_BACK_S = 1.0
# An arm that stands is brought up to the recorded speed within this time; the recording may be in
# full motion where it was held, and a slow answer would find it out of reach.
EASE_S = 1.0


@dataclass(frozen=True)
class _Timeline:
    """
    Which part of the recording is due when.

    :ivar zero_ns: The observation that it begins with.
    :ivar from_s: Where in the recording it begins.
    :ivar approach: The move to that pose, if the arm is elsewhere.
    :ivar ease_s: Time in which it gains the recorded speed; 0: it has it at once.
    """

    zero_ns: int
    from_s: float
    approach: RuckigCurve | None
    ease_s: float

    @property
    def lead_s(self) -> float:
        """Return how long the approach takes in [s]."""
        return self.approach.end_ns / NS_PER_S if self.approach else 0.0

    def recorded_s(self, since_s: FloatArray) -> FloatArray:
        """Return when in the recording one is ``since_s`` (n,) after the beginning, in [s]."""
        going_s = np.maximum(since_s - self.lead_s, 0.0)
        easing_s = np.minimum(going_s, self.ease_s)
        gained_s = easing_s**2 / (2 * self.ease_s) if self.ease_s else easing_s
        due_s: FloatArray = self.from_s + gained_s + (going_s - easing_s)
        return due_s


class ReplayPolicy:
    """Answer every observation with the next ``horizon`` points of one motion."""

    def __init__(self, robot: RobotSpec, motion: Demonstration, step_s: float = 0.05,
                 horizon: int | None = None, cameras: tuple[str, ...] = (),
                 origin: Mapping[str, str] = MappingProxyType({})) -> None:
        """
        Take ``motion``, which must already be on ``robot`` (`core.retarget`).

        :param horizon: Points of a plan; ``None``: as many as cover `SPAN_S`.
        :param cameras: Cameras to wait for, as a policy that sees would; nothing is done with
            their images.
        :param origin: What was done to the recording, for people; part of `facts`.
        :raises ValueError: if its joints are not the robot's.
        """
        if motion.joint_names != robot.joint_names:
            raise ValueError(
                f'{motion.source}: joints {motion.joint_names}, expected {robot.joint_names}')
        self._motion, self._origin = motion, dict(origin)
        self._arm = np.array([kind is not DimKind.BINARY for kind in robot.dim_kinds])
        self._approaching = Profiles(_slow(robot.limits))
        count = horizon_for(step_s) if horizon is None else horizon
        self._spec = PolicySpec(
            policy_id=f'replay {motion.source}', joint_names=robot.joint_names,
            dim_kinds=robot.dim_kinds, step_s=step_s, horizon=count, cameras=cameras)
        self._offsets_s: FloatArray = step_s * np.arange(count, dtype=np.float64)
        self.reset()

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is; without cameras it needs joint states only."""
        return self._spec

    @property
    def facts(self) -> dict[str, str]:
        """
        Return what was done to the recording, and how often in this session it waited.

        Also how late [s] it is by waiting for the arm, after the recorded speed is reached again.
        """
        return self._origin | self._facts

    def reset(self) -> None:
        """Start the motion again with the next observation."""
        self._timeline: _Timeline | None = None
        self._first: _Timeline | None = None
        self._rest: FloatArray | None = None
        self._rest_since_ns = 0
        self._resumed = 0
        self._facts = _facts(0, 0.0)

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the points due from the observation on; after the end, the last row.

        :raises PolicyError: if there is no way from the measured pose to the first one.
        """
        now_ns, measured = observation.stamp_ns, observation.joints.position
        if self._timeline is None:
            self._first = self._timeline = self._begin(now_ns, measured, 0.0, 0.0)
        elif self._held_astray(now_ns, measured):
            self._resume(now_ns, measured)
        since_s = (now_ns - self._timeline.zero_ns) / NS_PER_S
        lead_s = self._timeline.lead_s
        recorded_s = float(self._timeline.recorded_s(np.array([since_s]))[0])
        note = f'moving to the recording, {lead_s - since_s:.1f} s left' \
            if since_s < lead_s else ''
        return ActionPlan(
            self._rows(self._timeline, since_s + self._offsets_s),
            done=recorded_s >= self._motion.duration_s, note=note)

    def _rows(self, timeline: _Timeline, since_s: FloatArray) -> FloatArray:
        """Return the poses due ``since_s`` (n,) after the timeline's beginning, shape (n, J)."""
        rows = self._motion.at(timeline.recorded_s(since_s))
        for index, t_s in enumerate(since_s):
            if timeline.approach is not None and t_s < timeline.lead_s:
                rows[index] = timeline.approach.state_at(round(t_s * NS_PER_S)).position
        return rows

    def _distance(self, poses: FloatArray, pose: FloatArray) -> FloatArray:
        """Return how far the arm's joints are from ``pose`` (J,) in each of ``poses`` (n, J)."""
        away: FloatArray = np.abs(poses - pose)[:, self._arm].max(axis=1, initial=0.0)
        return away

    def _held_astray(self, now_ns: int, measured: FloatArray) -> bool:
        """Return whether the arm stands still somewhere else than the recording would have it."""
        assert self._timeline is not None
        if self._rest is None or self._distance(self._rest[None], measured)[0] > STILL_RAD:
            self._rest, self._rest_since_ns = measured, now_ns
        if now_ns - self._rest_since_ns < STILL_S * NS_PER_S:
            return False
        since_s = (now_ns - self._timeline.zero_ns) / NS_PER_S
        due = self._rows(self._timeline, np.array([since_s]))
        return bool(self._distance(due, measured)[0] > LOST_RAD)

    def _resume(self, now_ns: int, measured: FloatArray) -> None:
        """Go on from where the arm stands in what of the recording it can have reached."""
        before, first = self._timeline, self._first
        assert before is not None
        assert first is not None
        since_s = np.array([self._rest_since_ns - before.zero_ns]) / NS_PER_S
        reached_s = min(float(before.recorded_s(since_s)[0]), self._motion.duration_s)
        times_s = self._motion.times_s
        times_s = np.append(
            times_s[(times_s < reached_s) & (times_s > reached_s - LOOK_BACK_S)], reached_s)
        away = self._distance(self._motion.at(times_s), measured)
        # The first of several: a turn of the motion is rather repeated than left out.
        from_s = float(times_s[np.flatnonzero(away <= away.min() + STILL_RAD)[0]])
        self._timeline = self._begin(now_ns, measured, from_s, EASE_S)
        self._rest = None
        self._resumed += 1
        planned_s = (now_ns - first.zero_ns) / NS_PER_S - first.lead_s
        self._facts = _facts(
            self._resumed, planned_s - from_s + self._timeline.lead_s + EASE_S / 2)

    def _begin(self, now_ns: int, measured: FloatArray, from_s: float,
               ease_s: float) -> _Timeline:
        target: FloatArray = self._motion.at(np.array([from_s]))[0]
        approach = None
        # Also if it is not a number.
        if not self._distance(target[None], measured)[0] <= START_TOLERANCE_RAD:
            try:
                approach = self._approaching.move_to_rest(
                    0, MotionState.at_rest(measured), target)
            except ProfileError as error:
                raise PolicyError(f'no way to the recording: {error}') from error
        return _Timeline(now_ns, from_s, approach, ease_s)


def horizon_for(step_s: float) -> int:
    """Return how many points ``step_s`` apart cover `SPAN_S`, as far as the executor takes."""
    return min(1 + math.ceil(round(SPAN_S / step_s, 6)), ExecutorConfig.max_horizon)


def _facts(resumed: int, late_s: float) -> dict[str, str]:
    return {'replay_resumed': str(resumed), 'replay_late_s': f'{late_s:.3f}'}


def _slow(limits: JointLimits) -> JointLimits:
    return replace(
        limits, **{name: APPROACH_SHARE * getattr(limits, name)
                   for name in ('velocity', 'acceleration', 'jerk')})
