"""
The full text of a message type, as bags carry it: its own definition and all it contains.

Reads the ``.msg`` files that every ROS package installs. Knows nothing about rclpy: what cannot be
found is said, not raised, for a type without definition can still be recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
import os
from pathlib import Path
import re

SEPARATOR = '=' * 80
TYPE_NAME = re.compile(r'([A-Za-z][A-Za-z0-9_]*)/(?:msg/)?([A-Za-z][A-Za-z0-9_]*)')
# A field: its type, a bound or an array where it has one, and a name.
FIELD = re.compile(
    r'\s*([A-Za-z][A-Za-z0-9_]*(?:/[A-Za-z0-9_]+)*)(?:<=\d+)?(?:\[(?:<=)?\d*\])?'
    r'\s+[A-Za-z]\w*\b(?!\s*=)')
PRIMITIVES = frozenset((
    'bool', 'byte', 'char', 'float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32',
    'uint32', 'int64', 'uint64', 'string', 'wstring'))


def installed_shares() -> tuple[Path, ...]:
    """Return the share folders of the sourced ROS environment, the overlay first."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    return tuple(Path(prefix) / 'share' for prefix in prefixes if prefix)


def definition_of(type_name: str, shares: Iterable[Path] | None = None) -> str:
    """
    Return the definition of ``type_name`` in rosbag2's 'ros2msg' form.

    :param type_name: Such as 'sensor_msgs/msg/Image'.
    :param shares: Folders that hold packages; ``None``: those of the environment.
    :returns: '' where it, or something that it contains, is not installed.
    """
    folders = installed_shares() if shares is None else tuple(shares)
    texts: dict[str, str] = {}
    wanted = [type_name]
    while wanted:
        match = TYPE_NAME.fullmatch(wanted.pop())
        if match is None:
            return ''
        package, name = match.groups()
        if f'{package}/{name}' in texts:
            continue
        text = _read(folders, package, name)
        if text is None:
            return ''
        texts[f'{package}/{name}'] = text
        wanted += reversed(list(_contained(text, package)))
    first, *others = texts.items()
    return '\n'.join([
        first[1].rstrip('\n'),
        *(f'{SEPARATOR}\nMSG: {name}\n{text.rstrip()}' for name, text in others)]) + '\n'


def _read(folders: Iterable[Path], package: str, name: str) -> str | None:
    for folder in folders:
        try:
            return (folder / package / 'msg' / f'{name}.msg').read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError):
            continue
    return None


def _contained(text: str, package: str) -> Iterable[str]:
    """Yield the full names of the message types that are fields in ``text``."""
    for line in text.splitlines():
        match = FIELD.match(line.partition('#')[0])
        if match is None or match[1] in PRIMITIVES:
            continue
        yield match[1] if '/' in match[1] else f'{package}/{match[1]}'
