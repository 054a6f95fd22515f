"""
Follow a person's joint targets: each starts a jerk-limited move from where the arm is.

Half the robot's speed, acceleration and jerk are used: a hand-over never looks like a jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.curves import RuckigCurve
from chunked_vla_ros.core.profiles import ProfileError, Profiles
from chunked_vla_ros.core.retiming import scaled
from chunked_vla_ros.core.robot_spec import JointLimits
from chunked_vla_ros.core.types import FloatArray, MotionState

SPEED_FRACTION = 0.5


@dataclass(frozen=True)
class TeleopTarget:
    """Where a person wants the arm: position (J,) in [rad], received at ``stamp_ns``."""

    stamp_ns: int
    position: FloatArray


class TeleopFollower:
    """Keep the newest target; a target is followed once and counts as late after a time-out."""

    def __init__(self, limits: JointLimits, timeout_s: float) -> None:
        self._limits = limits
        self._profiles = Profiles(scaled(limits, SPEED_FRACTION))
        self._timeout_ns = round(timeout_s * 1e9)
        self._newest: TeleopTarget | None = None
        self._taken: TeleopTarget | None = None

    def offer(self, target: TeleopTarget) -> None:
        """Hand over a target; the newest wins."""
        self._newest = target

    def clear(self) -> None:
        """Forget the target: a source chosen later must not start with an old one."""
        self._newest = None

    def late(self, node_ns: int) -> bool:
        """Return whether there is no target young enough to follow."""
        return self._newest is None or node_ns - self._newest.stamp_ns > self._timeout_ns

    def take(self, t_ns: int, present: MotionState) -> RuckigCurve | None:
        """Return the move to the newest target if it is new and can be reached."""
        target = self._newest
        if target is None or target is self._taken:
            return None
        self._taken = target
        pose = np.clip(target.position, self._limits.lower, self._limits.upper)
        try:
            return self._profiles.move_to_rest(t_ns, present, pose)
        except ProfileError:    # the motion under way goes on; the next target is milliseconds off
            return None
