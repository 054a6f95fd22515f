"""
From what a person wishes to targets that can be sent: finite, inside, never faster than told.

The last step of every way of teleoperation, whatever keyboard, joystick or leader arm asked for.
Knows nothing about where wishes come from, nor about clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
import math

import numpy as np

from chunked_vla_ros.core.robot_spec import JointLimits, RobotSpec
from chunked_vla_ros.core.types import FloatArray

# Time that one step may cover: after a stall targets go on where they were.
LONGEST_STEP_S = 0.1
# A target may lead the commanded pose by what the arm needs to follow at full teleoperation speed.
LEASH_S = 0.3
LEASH_RAD = 0.02


class Demand(Enum):
    """What a person asks for beside motion."""

    TAKE_OVER = 'take over'
    GIVE_BACK = 'give back'
    HOLD = 'hold'
    HELP = 'help'


@dataclass(frozen=True)
class Wish:
    """
    What a person wants at this moment.

    :ivar velocity: Shape (J,) in [rad/s].
    :ivar position: Shape (J,) in [rad]; NaN where the velocity counts instead.
    :ivar made_ns: When a device has measured it, on the device's clock; 0: it is of this moment.
    """

    velocity: FloatArray
    position: FloatArray
    made_ns: int = 0

    @staticmethod
    def rest(joints: int, made_ns: int = 0) -> Wish:
        """Return the wish that nothing moves."""
        return Wish(np.zeros(joints), np.full(joints, math.nan), made_ns)


class TargetStream:
    """
    Successive targets for the joints of ``limits``.

    :ivar fastest: No joint's target moves faster than this, shape (J,) in [rad/s].
    """

    def __init__(self, limits: JointLimits, speed_share: float) -> None:
        """Take ``speed_share`` of each joint's velocity limit as the fastest."""
        self._limits = limits
        self.fastest = speed_share * limits.velocity
        self._leash = LEASH_S * self.fastest + LEASH_RAD
        self._target: FloatArray | None = None

    @property
    def target(self) -> FloatArray | None:
        """Return the newest target, shape (J,), or None before `seed`."""
        return self._target

    def seed(self, pose: FloatArray) -> None:
        """Begin anew at ``pose`` (J,), which the arm is commanded to be in."""
        self._target = np.clip(pose, self._limits.lower, self._limits.upper)

    def forget(self) -> None:
        """Send nothing until the next `seed`."""
        self._target = None

    def advance(self, wish: Wish, dt_s: float, commanded: FloatArray) -> FloatArray:
        """
        Return the next target, ``dt_s`` [s] after the last one, shape (J,).

        What is not finite is no wish. A target goes no farther from the ``commanded`` pose (J,)
        than its leash, lest it runs away from an arm that was stopped.

        :raises ValueError: before `seed`.
        """
        if self._target is None:
            raise ValueError('no pose to start from; call seed first')
        step_s = min(max(dt_s, 0.0), LONGEST_STEP_S) if math.isfinite(dt_s) else 0.0
        room = self.fastest * step_s
        velocity = np.where(np.isfinite(wish.velocity), wish.velocity, 0.0)
        by_speed = np.clip(velocity, -self.fastest, self.fastest) * step_s
        inside = np.clip(wish.position, self._limits.lower, self._limits.upper)
        towards = np.clip(inside - self._target, -room, room)
        # NaN and infinity pass through `clip` differently; neither is a place to go to.
        step = np.where(np.isfinite(wish.position), towards, by_speed)
        wanted = np.clip(self._target + step, self._limits.lower, self._limits.upper)
        known = np.where(np.isfinite(commanded), commanded, self._target)
        leashed: FloatArray = np.clip(wanted, np.minimum(self._target, known - self._leash),
                                      np.maximum(self._target, known + self._leash))
        leashed.setflags(write=False)
        self._target = leashed
        return leashed


def gripper_column(robot: RobotSpec) -> int | None:
    """Return the gripper's place among the joints, or None without a gripper."""
    return None if robot.gripper is None else robot.joint_names.index(robot.gripper.joint)


class GripperSwitch:
    """The gripper as something that is open or closed, and nothing between."""

    def __init__(self, robot: RobotSpec) -> None:
        self.column = gripper_column(robot)
        spec = robot.gripper
        self._open, self._closed = (spec.open, spec.closed) if spec else (0.0, 0.0)
        self._wanted: bool | None = None    # closed; None: as it is

    def release(self) -> None:
        """Leave the gripper as it is until told otherwise."""
        self._wanted = None

    def toggle(self, pose: FloatArray) -> None:
        """Want the other end than the one wanted, or than the one nearer to ``pose`` (J,)."""
        if self.column is None:
            return
        if self._wanted is None:
            self._wanted = self.is_closed(float(pose[self.column]))
        self._wanted = not self._wanted

    def want(self, closed: bool) -> None:
        """Close or open."""
        self._wanted = closed

    def is_closed(self, position: float) -> bool:
        """Return whether ``position`` is nearer to closed than to open."""
        return abs(position - self._closed) < abs(position - self._open)

    def apply(self, position: FloatArray) -> None:
        """Write what is wanted into ``position`` (J,)."""
        if self.column is not None and self._wanted is not None:
            position[self.column] = self._closed if self._wanted else self._open
