"""
The policy that replays a demonstration, cut into chunks as a learned policy would send them.

Time zero is the session's first observation. If the arm is not at the first pose then, the
demonstration is preceded by a slow move there. Knows nothing about files or ROS.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chunked_vla_ros.core.curves import RuckigCurve
from chunked_vla_ros.core.policy import ActionPlan, PolicyError, PolicySpec
from chunked_vla_ros.core.profiles import ProfileError, Profiles
from chunked_vla_ros.core.retarget import Demonstration
from chunked_vla_ros.core.robot_spec import JointLimits, RobotSpec
from chunked_vla_ros.core.types import (
    DimKind,
    FloatArray,
    JointSample,
    MotionState,
    NS_PER_S,
    Observation,
)

# The executor stays 0.02 off a position limit and a servo rests within milliradians of its target;
# further away the arm is somewhere else. In the unit of each joint.
START_TOLERANCE_RAD = 0.025
# Nobody is in a hurry to get to the first pose.
APPROACH_SHARE = 0.3


class ReplayPolicy:
    """Answer every observation with the next ``horizon`` points of one motion."""

    def __init__(self, robot: RobotSpec, motion: Demonstration, step_s: float = 0.05,
                 horizon: int = 16) -> None:
        """
        Take ``motion``, which must already be on ``robot`` (`core.retarget`).

        :raises ValueError: if its joints are not the robot's.
        """
        if motion.joint_names != robot.joint_names:
            raise ValueError(
                f'{motion.source}: joints {motion.joint_names}, expected {robot.joint_names}')
        self._motion = motion
        self._arm = np.array([kind is not DimKind.BINARY for kind in robot.dim_kinds])
        self._approaching = Profiles(_slow(robot.limits))
        self._spec = PolicySpec(
            policy_id=f'replay {motion.source}', joint_names=robot.joint_names,
            dim_kinds=robot.dim_kinds, step_s=step_s, horizon=horizon)
        self._offsets_s = step_s * np.arange(horizon)
        self.reset()

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is; it needs joint states only."""
        return self._spec

    def reset(self) -> None:
        """Start the motion again with the next observation."""
        self._first_ns: int | None = None
        self._approach: RuckigCurve | None = None

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the points due from the observation on; after the end, the last row.

        :raises PolicyError: if there is no way from the measured pose to the first one.
        """
        if self._first_ns is None:
            self._first_ns = observation.stamp_ns
            self._approach = self._plan_approach(observation.joints)
        since_s = (observation.stamp_ns - self._first_ns) / NS_PER_S
        lead_s = self._approach.end_ns / NS_PER_S if self._approach else 0.0
        rows = self._motion.at(since_s + self._offsets_s - lead_s)
        for index, t_s in enumerate(since_s + self._offsets_s):
            if self._approach is not None and t_s < lead_s:
                rows[index] = self._approach.state_at(round(t_s * NS_PER_S)).position
        note = f'moving to the first pose, {lead_s - since_s:.1f} s left' \
            if since_s < lead_s else ''
        return ActionPlan(rows, done=since_s - lead_s >= self._motion.duration_s, note=note)

    def _plan_approach(self, joints: JointSample) -> RuckigCurve | None:
        start: FloatArray = self._motion.positions[0]
        away = np.abs(joints.position - start)[self._arm].max(initial=0.0)
        if away <= START_TOLERANCE_RAD:
            return None
        try:
            return self._approaching.move_to_rest(0, MotionState.at_rest(joints.position), start)
        except ProfileError as error:
            raise PolicyError(f'no way to the first pose: {error}') from error


def _slow(limits: JointLimits) -> JointLimits:
    return replace(
        limits, **{name: APPROACH_SHARE * getattr(limits, name)
                   for name in ('velocity', 'acceleration', 'jerk')})
