"""
Keys to motion: each press moves one joint for a moment; a key that repeats keeps it moving.

A terminal tells presses, not releases. So a press counts for `key_hold_s`, longer than the pause
between a held key's repeats: a tap is a nudge, a held key goes on, and a lost keyboard is a stop.
The key table is data, so that whoever shows help shows what is so. Knows no terminal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.teleop_targets import Demand, GripperSwitch, Wish
from chunked_vla_ros.core.types import FloatArray, NS_PER_S

# One above the other on the keyboard: up for more, down for less.
MORE_KEYS, LESS_KEYS = 'qwertyuiop', 'asdfghjkl;'
GROUP = len(MORE_KEYS)
TAKE_OVER_KEY, GIVE_BACK_KEY, HOLD_KEY, HELP_KEY = 'c', 'v', 'b', '?'
GRIPPER_KEY, STOP_KEY, FASTER_KEY, SLOWER_KEY, GROUP_KEY = ' ', 'x', '+', '-', '\t'
SPEED_STEP = 1.25
SLOWEST_DIAL, FASTEST_DIAL = 0.1, 4.0
KEY_NAMES = {' ': 'space', '\t': 'tab'}


@dataclass(frozen=True)
class KeyboardSettings:
    """Settings of teleoperation by keyboard; each is a ROS parameter of teleop_node."""

    key_speed_share: float = parameter(
        0.1, "speed of a joint while its key is held, as a share of the joint's velocity limit",
        minimum=0.005, maximum=0.5)
    key_hold_s: float = parameter(
        0.15, 'how long one key press moves its joint [s]; longer than the pause between repeats',
        minimum=0.03, maximum=1.0)


@dataclass(frozen=True)
class KeyBinding:
    """
    One line of the key table.

    :ivar key: The character that the terminal sends.
    :ivar does: What it does, in words.
    :ivar joint: Place of the joint it moves; -1: none.
    :ivar sign: Direction in which it moves.
    :ivar demand: What it asks for beside motion.
    """

    key: str
    does: str
    joint: int = -1
    sign: int = 0
    demand: Demand | None = None

    @property
    def label(self) -> str:
        """Return the key as people call it."""
        return KEY_NAMES.get(self.key, self.key)


def demand_bindings() -> tuple[KeyBinding, ...]:
    """Return the keys that ask for something beside motion."""
    return (
        KeyBinding(TAKE_OVER_KEY, 'take over: you drive', demand=Demand.TAKE_OVER),
        KeyBinding(GIVE_BACK_KEY, 'give back: the policy drives', demand=Demand.GIVE_BACK),
        KeyBinding(HOLD_KEY, 'hold: nobody drives', demand=Demand.HOLD),
        KeyBinding(HELP_KEY, 'show the keys', demand=Demand.HELP))


class KeyboardTeleop:
    """What the keys pressed lately ask the joints of ``robot`` to do."""

    def __init__(self, robot: RobotSpec, settings: KeyboardSettings) -> None:
        self._hold_ns = round(settings.key_hold_s * NS_PER_S)
        self._speed = settings.key_speed_share * robot.limits.velocity
        self._names = robot.joint_names
        self._gripper = GripperSwitch(robot)
        self._movable = tuple(
            index for index in range(len(self._names)) if index != self._gripper.column)
        self._group, self._dial = 0, 1.0
        self._signs = np.zeros(len(self._names))
        self._until_ns = np.zeros(len(self._names), dtype=np.int64)

    @property
    def bindings(self) -> tuple[KeyBinding, ...]:
        """Return the key table as it is now: `GROUP_KEY` changes the joints that keys move."""
        shown = self._movable[self._group * GROUP:(self._group + 1) * GROUP]
        moves = [KeyBinding(key, f'{self._names[joint]} {"+" if sign > 0 else "-"}', joint, sign)
                 for keys, sign in ((MORE_KEYS, 1), (LESS_KEYS, -1))
                 for key, joint in zip(keys, shown, strict=False)]
        own = [KeyBinding(STOP_KEY, 'stop all joints'),
               KeyBinding(FASTER_KEY, f'faster (now x{self._dial:.2f})'),
               KeyBinding(SLOWER_KEY, 'slower')]
        if self._gripper.column is not None:
            own.append(KeyBinding(GRIPPER_KEY, 'open or close the gripper'))
        if len(self._movable) > GROUP:
            own.append(KeyBinding(GROUP_KEY, 'keys for the next joints'))
        return (*moves, *own, *demand_bindings())

    def release(self) -> None:
        """Let all keys go."""
        self._until_ns[:] = 0
        self._gripper.release()

    def press(self, key: str, now_ns: int, pose: FloatArray) -> Demand | None:
        """
        Take a key; unknown ones do nothing.

        :param pose: The present target, shape (J,): a gripper is toggled from where it is.
        :return: What the key asks for beside motion.
        """
        found = next((one for one in self.bindings if one.key == key), None)
        if found is None or found.demand is not None:
            return None if found is None else found.demand
        if found.joint >= 0:
            self._signs[found.joint] = found.sign
            self._until_ns[found.joint] = now_ns + self._hold_ns
        elif key == STOP_KEY:
            self._until_ns[:] = 0
        elif key == GRIPPER_KEY:
            self._gripper.toggle(pose)
        elif key == GROUP_KEY:
            self._group = (self._group + 1) % -(-len(self._movable) // GROUP)
        else:
            factor = SPEED_STEP if key == FASTER_KEY else 1 / SPEED_STEP
            self._dial = min(max(self._dial * factor, SLOWEST_DIAL), FASTEST_DIAL)
        return None

    def wish(self, now_ns: int) -> Wish:
        """Return what is asked for at ``now_ns``."""
        left_ns = self._until_ns - now_ns
        # A clock that was set back does not make a press last longer.
        held = (left_ns > 0) & (left_ns <= self._hold_ns)
        wish = Wish.rest(len(self._names))
        wish.velocity[:] = np.where(held, self._signs * self._speed * self._dial, 0.0)
        self._gripper.apply(wish.position)
        return wish
