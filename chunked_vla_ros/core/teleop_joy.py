"""
A joystick to motion: sticks are speeds, and only while the deadman button is held.

A message that stops coming counts as a release, as does a message that lacks the button. Wrong
sizes and values that are not numbers ask for nothing. Knows no ROS message and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.teleop_targets import Demand, gripper_column, GripperSwitch, Wish
from chunked_vla_ros.core.types import FloatArray, NS_PER_S

# Two sticks and the cross of a usual gamepad; triggers (2 and 5) do not rest at zero.
USUAL_AXES = (0, 1, 3, 4, 6, 7)


@dataclass(frozen=True)
class JoySettings:
    """Settings of teleoperation by joystick; each is a ROS parameter of teleop_node."""

    joy_axes: str = parameter(
        '', "which axis moves which joint, 'AXIS:JOINT[:SCALE]' separated by commas; SCALE -1 "
        'turns the direction; empty: axes 0 1 3 4 6 7 for the first joints')
    joy_speed_share: float = parameter(
        0.25, "speed at full deflection, as a share of the joint's velocity limit",
        minimum=0.005, maximum=1.0)
    joy_dead_zone: float = parameter(
        0.1, 'share of the deflection that counts as none', minimum=0.0, maximum=0.9)
    joy_timeout_s: float = parameter(
        0.3, 'a joystick that is silent for longer counts as released [s]; joy_node must repeat '
        'itself (autorepeat_rate, 20 Hz by default)', minimum=0.05, maximum=2.0)
    deadman_button: int = parameter(
        4, 'button that must be held for the arm to move', minimum=0, maximum=63)
    gripper_button: int = parameter(
        0, 'button that opens or closes the gripper, beside the deadman; -1: none',
        minimum=-1, maximum=63)
    take_over_button: int = parameter(
        7, 'button that takes over; -1: none', minimum=-1, maximum=63)
    give_back_button: int = parameter(
        6, 'button that gives back to the policy; -1: none', minimum=-1, maximum=63)


@dataclass(frozen=True)
class AxisBinding:
    """One axis and the joint whose speed it is; ``scale`` in -1 to 1."""

    axis: int
    joint: int
    scale: float = 1.0


def parse_axes(text: str, robot: RobotSpec) -> tuple[AxisBinding, ...]:
    """
    Return the bindings that ``text`` describes; see `JoySettings.joy_axes`.

    :raises ValueError: naming the entry and what is expected.
    """
    names = robot.joint_names
    if not text.strip():
        gripper = gripper_column(robot)
        movable = [index for index in range(len(names)) if index != gripper]
        return tuple(AxisBinding(axis, joint)
                     for axis, joint in zip(USUAL_AXES, movable, strict=False))
    bindings = []
    for entry in text.split(','):
        parts = [part.strip() for part in entry.split(':')]
        problem = f"joy_axes: {entry.strip()!r}, expected 'AXIS:JOINT' or 'AXIS:JOINT:SCALE' with"
        if len(parts) not in (2, 3) or not (parts[0].isascii() and parts[0].isdigit()):
            raise ValueError(f'{problem} AXIS a number from 0')
        if int(parts[0]) > 63:
            raise ValueError(f'{problem} AXIS from 0 to 63')
        if parts[1] not in names:
            raise ValueError(f'{problem} JOINT one of {", ".join(names)}')
        scale = _number(parts[2]) if len(parts) == 3 else 1.0
        if not 0.0 < abs(scale) <= 1.0:
            raise ValueError(f'{problem} SCALE from -1 to 1, not 0')
        bindings.append(AxisBinding(int(parts[0]), names.index(parts[1]), scale))
    joints = [binding.joint for binding in bindings]
    twice = next((names[joint] for joint in joints if joints.count(joint) > 1), None)
    if twice is not None:
        raise ValueError(f'joy_axes: {twice} is moved by two axes, expected one')
    return tuple(bindings)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


class JoyTeleop:
    """
    What a joystick asks the joints of ``robot`` to do.

    :ivar complaint: What is wrong with the messages, in one line; empty if nothing is.
    """

    def __init__(self, robot: RobotSpec, settings: JoySettings) -> None:
        """
        Take the settings.

        :raises ValueError: `JoySettings.joy_axes` is not as it should be.
        """
        self._settings = settings
        self._names = robot.joint_names
        self._axes = parse_axes(settings.joy_axes, robot)
        self._speed = settings.joy_speed_share * robot.limits.velocity
        self._gripper = GripperSwitch(robot)
        self._timeout_ns = round(settings.joy_timeout_s * NS_PER_S)
        self._heard_ns: int | None = None
        self._deflections: Sequence[float] = ()
        self._down: frozenset[int] | None = None
        self._must_release = True
        self.complaint = ''

    def release(self) -> None:
        """Ask for nothing until the deadman button is let go and pressed again."""
        self._must_release = True
        self._gripper.release()

    def hear(self, axes: Sequence[float], buttons: Sequence[int], now_ns: int,
             pose: FloatArray) -> tuple[Demand, ...]:
        """
        Take a message.

        :param pose: The present target, shape (J,): a gripper is toggled from where it is.
        :return: What buttons pressed just now ask for beside motion.
        """
        given = self._settings
        self._heard_ns, self._deflections = now_ns, tuple(axes)
        down = frozenset(index for index, value in enumerate(buttons) if value)
        # What is down in the first message was not pressed for us.
        pressed = frozenset() if self._down is None else down - self._down
        self._down = down
        self.complaint = self._missing(len(axes), len(buttons))
        if given.deadman_button not in down:
            self._must_release = False
        elif given.gripper_button in pressed and not self._must_release:
            self._gripper.toggle(pose)
        return tuple(demand for button, demand in (
            (given.take_over_button, Demand.TAKE_OVER), (given.give_back_button, Demand.GIVE_BACK))
            if button in pressed)

    @property
    def controls(self) -> tuple[tuple[str, str], ...]:
        """Return each button and axis that does something, and what it does, in words."""
        given = self._settings
        buttons = [(given.deadman_button, 'hold it to move'),
                   (given.gripper_button, 'open or close the gripper'),
                   (given.take_over_button, 'take over: you drive'),
                   (given.give_back_button, 'give back: the policy drives')]
        return (*((f'button {button}', does) for button, does in buttons if button >= 0),
                *((f'axis {one.axis}', self._names[one.joint]) for one in self._axes))

    def problem(self, now_ns: int) -> str:
        """Return why the joystick moves nothing at ``now_ns``, in one line; '' for no reason."""
        if self._heard_ns is None:
            return 'no message of the joystick yet: is joy_node running?'
        if self._is_silent(now_ns):
            return 'the joystick is silent: is joy_node running, and does it repeat itself?'
        button = self._settings.deadman_button
        if self._must_release and button in (self._down or ()):
            return f'let button {button} go and press it again'
        return self.complaint

    def wish(self, now_ns: int) -> Wish | None:
        """Return what is asked for at ``now_ns``, or None while the deadman is not held."""
        if self._is_silent(now_ns) or self._must_release or self._settings.deadman_button not in (
                self._down or ()):
            return None
        wish = Wish.rest(len(self._speed))
        for binding in self._axes:
            if binding.axis < len(self._deflections):
                share = deflection(self._deflections[binding.axis], self._settings.joy_dead_zone)
                wish.velocity[binding.joint] = share * binding.scale * self._speed[binding.joint]
        self._gripper.apply(wish.position)
        return wish

    def _is_silent(self, now_ns: int) -> bool:
        return (self._heard_ns is None
                or not 0 <= now_ns - self._heard_ns <= self._timeout_ns)

    def _missing(self, axes: int, buttons: int) -> str:
        """Return what the joystick lacks of what the settings name."""
        if self._settings.deadman_button >= buttons:
            return (f'joy has {buttons} buttons, deadman_button is '
                    f'{self._settings.deadman_button}: the arm will not move')
        most = max((binding.axis for binding in self._axes), default=-1)
        return f'joy has {axes} axes, joy_axes names axis {most}' if most >= axes else ''


def deflection(value: float, dead_zone: float) -> float:
    """Return an axis as a share of full deflection, -1 to 1, zero within the dead zone."""
    if not math.isfinite(value):
        return 0.0
    beyond = (min(abs(value), 1.0) - dead_zone) / (1.0 - dead_zone)
    return math.copysign(max(beyond, 0.0), value)
