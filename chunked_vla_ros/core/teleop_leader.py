"""
A leader arm to motion: its joints, renamed, scaled and shifted, are where the follower should be.

At take-over the two arms are rarely in the same pose. Either the difference is kept and fades out
at a limited speed, or nothing moves until the leader has come near. A leader that falls silent is
let go of, and taken over anew when it is back. Knows no ROS message and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.teleop_targets import GripperSwitch, Wish
from chunked_vla_ros.core.types import DimKind, FloatArray, NS_PER_S

TAKE_OVERS = ('fade', 'near')
# A leader's gripper must pass the middle by this share of its way to switch the follower's.
HYSTERESIS = 0.1
LARGEST_SCALE = 10.0


@dataclass(frozen=True)
class LeaderSettings:
    """Settings of teleoperation by a leader arm; each is a ROS parameter of teleop_node."""

    leader_joints: str = parameter(
        '', "'LEADER_JOINT:JOINT[:SCALE[:OFFSET]]' separated by commas; joint = SCALE * leader + "
        'OFFSET [rad]; joints not named stand still; empty: the same names, as they are')
    leader_take_over: str = parameter(
        'fade', "at take-over: 'fade' keeps the difference between the arms and lets it fade, "
        "'near' waits until the leader has come near", choices=TAKE_OVERS)
    leader_fade_speed: float = parameter(
        0.2, 'speed at which the difference between the arms fades [rad/s]',
        minimum=0.01, maximum=2.0)
    leader_near_rad: float = parameter(
        0.1, "with 'near': largest difference of any joint at take-over [rad]",
        minimum=0.005, maximum=1.0)
    leader_timeout_s: float = parameter(
        0.2, 'a leader that is silent for longer is let go of [s]', minimum=0.02, maximum=2.0)


@dataclass(frozen=True)
class LeaderJoint:
    """The joint at place ``joint`` follows ``scale`` * leader's ``name`` + ``offset`` [rad]."""

    name: str
    joint: int
    scale: float = 1.0
    offset: float = 0.0


def parse_leader_joints(text: str, robot: RobotSpec) -> tuple[LeaderJoint, ...]:
    """
    Return the joints that ``text`` describes; see `LeaderSettings.leader_joints`.

    :raises ValueError: naming the entry and what is expected.
    """
    names = robot.joint_names
    if not text.strip():
        return tuple(LeaderJoint(name, index) for index, name in enumerate(names))
    found: list[LeaderJoint] = []
    for entry in text.split(','):
        parts = [part.strip() for part in entry.split(':')]
        problem = (f'leader_joints: {entry.strip()!r}, expected '
                   "'LEADER_JOINT:JOINT[:SCALE[:OFFSET]]' with")
        if not 2 <= len(parts) <= 4 or not parts[0]:
            raise ValueError(f'{problem} two to four parts')
        if parts[1] not in names:
            raise ValueError(f'{problem} JOINT one of {", ".join(names)}')
        joint = names.index(parts[1])
        if any(one.joint == joint for one in found):
            raise ValueError(f'leader_joints: {parts[1]} follows two joints, expected one')
        try:
            numbers = [float(part) for part in parts[2:]]
        except ValueError:
            raise ValueError(f'{problem} SCALE and OFFSET numbers') from None
        scale, offset = [*numbers, *(1.0, 0.0)[len(numbers):]]
        if not (0.0 < abs(scale) <= LARGEST_SCALE and abs(offset) <= 4 * math.pi):
            raise ValueError(f'{problem} SCALE within +-{LARGEST_SCALE:.0f}, not 0, and OFFSET '
                             'within +-4 pi')
        found.append(LeaderJoint(parts[0], joint, scale, offset))
    return tuple(found)


class LeaderTeleop:
    """
    Where a leader arm wants the joints of ``robot``.

    :ivar waiting: What the take-over waits for, in one line; empty once the leader is followed.
    """

    def __init__(self, robot: RobotSpec, settings: LeaderSettings) -> None:
        """
        Take the settings.

        :raises ValueError: `LeaderSettings.leader_joints` is not as it should be.
        """
        self._robot, self._settings = robot, settings
        self._map = parse_leader_joints(settings.leader_joints, robot)
        self._gripper = GripperSwitch(robot)
        self._columns = np.array(
            [one.joint for one in self._map if one.joint != self._gripper.column], dtype=int)
        self._wrapped = np.array([robot.dim_kinds[i] is DimKind.WRAPPED for i in self._columns])
        self._timeout_ns = round(settings.leader_timeout_s * NS_PER_S)
        self._heard_ns: int | None = None
        self._faded_ns = self._stamp_ns = self._made_ns = 0
        self._wanted = np.full(len(robot.joints), math.nan)
        self._difference: FloatArray | None = None    # follower - leader, of `_columns`
        self.waiting = 'no message of the leader yet'

    @property
    def controls(self) -> tuple[tuple[str, str], ...]:
        """Return what the leader does, in words."""
        return (('leader', f'moves {len(self._map)} of {len(self._robot.joints)} joints'),)

    def release(self) -> None:
        """Let go of the leader: the next `wish` is a take-over."""
        self._difference = None
        self._gripper.release()

    def hear(self, names: Sequence[str], positions: Sequence[float], now_ns: int,
             made_ns: int = 0) -> None:
        """
        Take the leader's joints, measured at ``made_ns`` on its own clock (0: it does not say).

        :raises InputRejected: a joint is missing, sizes disagree, or a value is not finite.
        """
        if len(names) != len(positions):
            raise InputRejected(
                f'leader has {len(names)} names but {len(positions)} positions')
        places = {name: place for place, name in enumerate(names)}
        wanted = np.full(len(self._robot.joints), math.nan)
        for one in self._map:
            if one.name not in places:
                raise InputRejected(
                    f'leader has no joint {one.name}, only {", ".join(names) or "none"}')
            value = one.scale * float(positions[places[one.name]]) + one.offset
            if not math.isfinite(value):
                raise InputRejected(f'leader: position of {one.name} is not finite')
            wanted[one.joint] = value
        if self._heard_ns is None:
            self.waiting = ''
        self._wanted, self._heard_ns = wanted, now_ns
        # A stamp that does not move says nothing.
        self._stamp_ns, last_ns = made_ns, self._stamp_ns
        self._made_ns = made_ns if made_ns > max(last_ns, 0) else 0
        self._switch_gripper(wanted)

    def wish(self, now_ns: int, pose: FloatArray) -> Wish | None:
        """
        Return what is asked for at ``now_ns``, or None while there is no leader to follow.

        :param pose: The present target, shape (J,): from there the leader takes over.
        """
        if self._heard_ns is None or not 0 <= now_ns - self._heard_ns <= self._timeout_ns:
            self._difference = None
            if self._heard_ns is not None:
                self.waiting = 'the leader is silent'
            return None
        leader, own = self._wanted[self._columns], pose[self._columns]
        turns = np.where(self._wrapped, np.round((own - leader) / math.tau), 0.0) * math.tau
        leader = leader + turns
        if self._difference is None and not self._may_take_over(leader, own):
            return None
        self.waiting = ''
        if self._difference is None:
            self._difference, self._faded_ns = own - leader, now_ns
        left, elapsed_s = self._difference, max(now_ns - self._faded_ns, 0) / NS_PER_S
        fade = self._settings.leader_fade_speed * elapsed_s
        self._difference, self._faded_ns = left - np.clip(left, -fade, fade), now_ns
        wish = Wish.rest(len(pose), self._made_ns)
        wish.position[self._columns] = leader + self._difference
        self._gripper.apply(wish.position)
        return wish

    def _may_take_over(self, leader: FloatArray, own: FloatArray) -> bool:
        if self._settings.leader_take_over == 'fade' or not len(own):
            return True
        away = np.abs(leader - own)
        worst = int(away.argmax())
        if away[worst] <= self._settings.leader_near_rad:
            return True
        name = self._robot.joint_names[self._columns[worst]]
        self.waiting = (f'bring the leader near: {name} is {own[worst] - leader[worst]:+.2f} rad '
                        f'away, nearer than {self._settings.leader_near_rad:.2f} is needed')
        return False

    def _switch_gripper(self, wanted: FloatArray) -> None:
        column, spec = self._gripper.column, self._robot.gripper
        if column is None or spec is None or not math.isfinite(wanted[column]):
            return
        closing = (wanted[column] - spec.open) / (spec.closed - spec.open)
        if abs(closing - 0.5) > HYSTERESIS:
            self._gripper.want(bool(closing > 0.5))
