"""
What a person drives with, as topics and a terminal: keyboard, joystick or leader arm.

Each takes its messages when it is asked, in the caller's thread, and hands them to the pure
mapping of its kind. Knows nothing about the executor nor about what becomes of the wishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import String

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.teleop_joy import JoySettings, JoyTeleop
from chunked_vla_ros.core.teleop_keyboard import KeyboardSettings, KeyboardTeleop
from chunked_vla_ros.core.teleop_leader import LeaderSettings, LeaderTeleop
from chunked_vla_ros.core.teleop_targets import Demand, Wish
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import stamp_to_ns
from chunked_vla_ros.nodes.polled import Polled
from chunked_vla_ros.terminal_keys import NoTerminalError, TerminalKeys

KEYS_TOPIC, JOY_TOPIC, LEADER_TOPIC = 'teleop/keys', 'joy', 'leader/joint_states'
# More keys in one message are no person's.
MOST_KEYS = 64
Say = Callable[[str], None]


class Hand(Protocol):
    """
    One way to drive; all times in [ns] on a clock that nobody sets.

    :ivar complaint: What is wrong or waited for, in one line; empty if nothing is.
    :ivar controls: What can be pressed or moved and what it does, in words; none where the hand
        shows them itself.
    """

    complaint: str
    controls: Sequence[tuple[str, str]]

    def poll(self, now_ns: int, pose: FloatArray) -> Iterable[Demand]:
        """Take what has come and return what is asked for; ``pose`` (J,) is the present target."""

    def wish(self, now_ns: int, pose: FloatArray) -> Wish | None:
        """Return what is wanted, or None while nothing may be sent."""

    def release(self) -> None:
        """Let go: what is held now does not count any more."""

    def destroy(self) -> None:
        """Leave topics and terminal."""


class KeyboardHand:
    """Keys of the terminal, and of whoever publishes them on `KEYS_TOPIC`."""

    def __init__(self, node: Node, robot: RobotSpec, settings: KeyboardSettings, say: Say) -> None:
        self._teleop, self._say = KeyboardTeleop(robot, settings), say
        self._typed: SimpleQueue[str] = SimpleQueue()
        self._sent = Polled(node, String, KEYS_TOPIC, qos.EVENT)
        self._terminal: TerminalKeys | None = None
        self.complaint = ''
        self.controls: Sequence[tuple[str, str]] = ()
        try:
            self._terminal = TerminalKeys(self._typed.put)
        except NoTerminalError as error:
            say(f'no keys from here, {error}: start teleop_node in a terminal of its own, or send '
                f'keys to {KEYS_TOPIC}')
        else:
            self._show_keys()

    def poll(self, now_ns: int, pose: FloatArray) -> Iterable[Demand]:
        """Take keys in the order in which they were pressed."""
        keys = [key for msg in self._sent.take() for key in msg.data[:MOST_KEYS]]
        while len(keys) < MOST_KEYS:
            try:
                keys.append(self._typed.get_nowait())
            except Empty:
                break
        demands = [self._teleop.press(key, now_ns, pose) for key in keys]
        if Demand.HELP in demands:
            self._show_keys()
        if self._terminal is not None and not self._terminal.alive:
            self.complaint = 'the terminal was closed'
        return [demand for demand in demands if demand not in (None, Demand.HELP)]

    def wish(self, now_ns: int, pose: FloatArray) -> Wish | None:
        """Return what the keys held want: without keys, to stand still."""
        return self._teleop.wish(now_ns)

    def release(self) -> None:
        """Let all keys go."""
        self._teleop.release()

    def destroy(self) -> None:
        """Give the terminal back."""
        self._sent.destroy()
        if self._terminal is not None:
            self._terminal.close()

    def _show_keys(self) -> None:
        self._say('keys: ' + ', '.join(
            f'{one.label} {one.does}' for one in self._teleop.bindings))


class JoyHand:
    """A joystick on `JOY_TOPIC`."""

    def __init__(self, node: Node, robot: RobotSpec, settings: JoySettings, say: Say) -> None:
        self._teleop = JoyTeleop(robot, settings)
        self._messages = Polled(node, Joy, JOY_TOPIC, qos.SENSOR)
        self.complaint = ''
        self.controls: Sequence[tuple[str, str]] = self._teleop.controls

    def poll(self, now_ns: int, pose: FloatArray) -> Iterable[Demand]:
        """Take every message: a button may be pressed in one and not in the next."""
        demands = [demand for msg in self._messages.take()
                   for demand in self._teleop.hear(msg.axes, msg.buttons, now_ns, pose)]
        self.complaint = self._teleop.problem(now_ns)
        return demands

    def wish(self, now_ns: int, pose: FloatArray) -> Wish | None:
        """Return what the sticks want while the deadman is held."""
        return self._teleop.wish(now_ns)

    def release(self) -> None:
        """Count only a deadman button that is pressed from now on."""
        self._teleop.release()

    def destroy(self) -> None:
        """Leave the topic."""
        self._messages.destroy()


class LeaderHand:
    """A leader arm on `LEADER_TOPIC`."""

    def __init__(self, node: Node, robot: RobotSpec, settings: LeaderSettings, say: Say) -> None:
        self._teleop = LeaderTeleop(robot, settings)
        self._messages = Polled(node, JointState, LEADER_TOPIC, qos.SENSOR)
        self.complaint = self._refusal = ''
        self.controls: Sequence[tuple[str, str]] = self._teleop.controls

    def poll(self, now_ns: int, pose: FloatArray) -> Iterable[Demand]:
        """Take the newest message that can be used."""
        for msg in reversed(self._messages.take()):
            try:
                self._teleop.hear(
                    msg.name, msg.position, now_ns, stamp_to_ns(msg.header.stamp))
            except InputRejected as error:
                self._refusal = str(error)
            else:
                self._refusal = ''
                break
        self.complaint = self._refusal or self._teleop.waiting
        return ()

    def wish(self, now_ns: int, pose: FloatArray) -> Wish | None:
        """Return where the leader is, once it may be followed."""
        return self._teleop.wish(now_ns, pose)

    def release(self) -> None:
        """Let go of the leader: to follow it again is a take-over."""
        self._teleop.release()

    def destroy(self) -> None:
        """Leave the topic."""
        self._messages.destroy()
