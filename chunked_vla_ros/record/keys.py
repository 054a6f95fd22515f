"""
The keys of a recording session: digits for the recorder, everything else for teleoperation.

Data, so that whoever shows help shows what is so. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from chunked_vla_ros.core.teleop_keyboard import KeyBinding
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

    :ivar button: Service of the recorder that the key calls, '' for none.
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


def session_keys(simulated: bool) -> tuple[SessionKey, ...]:
    """Return the key table; only a simulator can put up a new scene."""
    return tuple(one for one in SESSION_KEYS if simulated or one is not SCENE_KEY)


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
