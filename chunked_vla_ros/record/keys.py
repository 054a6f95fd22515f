"""
The keys of a recording session: digits for the recorder, everything else for teleoperation.

Data, so that whoever shows help shows what is so. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from chunked_vla_ros.core.teleop_keyboard import HOLD_KEY, KeyBinding, TAKE_OVER_KEY
from chunked_vla_ros.core.teleop_targets import Demand


class Wish(Enum):
    """What a key asks for besides a button of the recorder."""

    SCENE = 'scene'
    RESET = 'reset'
    QUIT = 'quit'


@dataclass(frozen=True)
class SessionKey:
    """
    One line of the key table.

    :ivar button: Service of the recorder or of teleop that the key calls, '' for none.
    """

    key: str
    does: str
    button: str = ''
    wish: Wish | None = None


@dataclass(frozen=True)
class KeyLine:
    """One or two keys of teleoperation and what they do, in words."""

    keys: str
    does: str


SCENE_KEY = SessionKey('8', 'new scene', wish=Wish.SCENE)
SESSION_KEYS = (
    SessionKey('1', 'start', 'start'),
    SessionKey('2', 'stop', 'stop'),
    SessionKey('3', 'success', 'success'),
    SessionKey('4', 'failure', 'failure'),
    SessionKey('5', 'discard', 'discard'),
    SessionKey('6', 're-record', 'rerecord'),
    SessionKey('7', 'next', 'next'),
    SCENE_KEY,
    SessionKey('9', 'reset executor', wish=Wish.RESET),
    SessionKey('0', 'quit', wish=Wish.QUIT))


# Who drives by a device takes over by keys all the same: a leader arm has no button for it.
DEVICE_KEYS = (
    SessionKey(TAKE_OVER_KEY, 'take over', 'take_over'),
    SessionKey(HOLD_KEY, 'hold', 'hold'))


def session_keys(simulated: bool, device: bool) -> tuple[SessionKey, ...]:
    """
    Return the key table.

    :param simulated: Only a simulator can put up a new scene.
    :param device: A person drives by a device instead of by keys.
    """
    return (*(one for one in SESSION_KEYS if simulated or one is not SCENE_KEY),
            *(DEVICE_KEYS if device else ()))


def hand_lines(bindings: Sequence[KeyBinding]) -> tuple[KeyLine, ...]:
    """
    Return the key table of teleoperation with the two directions of a joint in one line.

    Without what needs a policy, and without help, which is on the screen anyway.
    """
    bindings = [one for one in bindings if one.demand not in (Demand.GIVE_BACK, Demand.HELP)]
    less = {one.joint: one for one in bindings if one.sign < 0}
    lines = []
    for one in bindings:
        if one.sign > 0 and one.joint in less:
            name = one.does.removesuffix('+').strip()
            lines.append(KeyLine(f'{one.label} {less[one.joint].label}', f'{name} + -'))
        elif one.sign >= 0:
            lines.append(KeyLine(one.label, one.does))
    return tuple(lines)
