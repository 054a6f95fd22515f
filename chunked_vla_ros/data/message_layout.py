"""
Read messages by the definition of their type, as bags carry it: bytes become nested mappings.

For types whose definition may be older or newer than this program's own. Definitions come from
files and are damaged like them: whatever is not understood raises `InputRejected`. Knows no types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import re
from typing import Any

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.data.message_definition import TYPE_NAME
from chunked_vla_ros.data.wire_cursor import checked_items, CODES, WireCursor

SEPARATOR = re.compile(r'^={20,}[ \t]*$', re.MULTILINE)
# A type, the bound of a string, an array, a name, and whether it is a constant.
FIELD = re.compile(
    r'\s*(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?:\[(?P<array>(?:<=)?\d*)\])?'
    r'\s+(?P<name>[A-Za-z]\w*)\s*(?P<constant>=)?')
# Not every writer repeats these.
ALWAYS_KNOWN = {
    'builtin_interfaces/Time': 'int32 sec\nuint32 nanosec',
    'builtin_interfaces/Duration': 'int32 sec\nuint32 nanosec'}
DEEPEST = 16
LONGEST_DEFINITION = 1 << 20
# Of messages that are read in this way; all of them are small.
LARGEST_MESSAGE = 4 << 20

Take = Callable[[WireCursor], Any]


@dataclass(frozen=True)
class _Field:
    """``array`` is the text between the brackets, ``None`` without."""

    name: str
    type_name: str
    array: str | None


class MessageLayout:
    """
    How the messages of one type lie in their bytes.

    :ivar fields: The names of the type's own fields.
    """

    def __init__(self, type_name: str, definition: str) -> None:
        """
        Read a definition in rosbag2's 'ros2msg' form.

        :raises InputRejected: it is not understood, or incomplete.
        """
        if len(definition) > LONGEST_DEFINITION:
            raise InputRejected(f'the definition of {type_name} has {len(definition)} characters')
        self._texts = ALWAYS_KNOWN | dict(_blocks(type_name, definition))
        self._known: dict[str, Take] = {}
        root = _short(type_name)
        self.fields = tuple(field.name for field in _fields(self._texts[root]))
        self._take = self._structure(root, 0)

    def read(self, data: bytes) -> dict[str, Any]:
        """
        Return the fields: numbers, texts, arrays of numpy, tuples of texts or of mappings.

        What follows the last field is not looked at: rclpy's ``serialize_message`` pads.

        :raises InputRejected: the bytes end too early, or contradict themselves.
        """
        if len(data) > LARGEST_MESSAGE:
            raise InputRejected(f'message of {len(data)} bytes, at most {LARGEST_MESSAGE} are '
                                f'read of its type')
        found: dict[str, Any] = self._take(WireCursor(data))
        return found

    def _structure(self, name: str, depth: int) -> Take:
        if name in self._known:
            return self._known[name]
        if name not in self._texts:
            raise InputRejected(f'the definition of {name} is not there')
        if depth > DEEPEST:
            raise InputRejected(f'the definition of {name} is nested more than {DEEPEST} deep')
        package = name.partition('/')[0]
        parts = [(field.name, self._field(field, package, depth))
                 for field in _fields(self._texts[name])]
        # A structure without fields has one byte on the wire.
        take = _taker(parts) if parts else lambda cursor: _nothing(cursor)
        self._known[name] = take
        return take

    def _field(self, field: _Field, package: str, depth: int) -> Take:
        code, array = CODES.get(field.type_name), field.array
        fixed = int(array) if array and array.isdigit() else None
        if code is not None:
            if array is None:
                return lambda cursor: cursor.number(code)
            return lambda cursor: cursor.numbers(code, fixed)
        if field.type_name == 'wstring':
            raise InputRejected(f'{field.name} is a wstring, which is not read')
        if field.type_name == 'string':
            text: Take = WireCursor.text
            if array is None:
                return text
            take, least = text, 4
        else:
            take, least = self._structure(_resolved(field, package, self._texts), depth + 1), 1
            if array is None:
                return take
        if fixed is not None:
            checked_items(fixed)
            return lambda cursor: tuple(take(cursor) for _ in range(fixed))
        return lambda cursor: tuple(
            take(cursor) for _ in range(checked_items(cursor.count(least))))


def _taker(parts: list[tuple[str, Take]]) -> Take:
    return lambda cursor: {name: take(cursor) for name, take in parts}


def _nothing(cursor: WireCursor) -> dict[str, Any]:
    cursor.number('B')
    return {}


def _blocks(type_name: str, definition: str) -> Iterator[tuple[str, str]]:
    """Yield the short name and the text of every type in a definition."""
    first, *others = SEPARATOR.split(definition)
    if first.strip() or not others:
        yield _short(type_name), first
    for block in others:
        head, _, text = block.lstrip().partition('\n')
        kind, _, name = head.partition(':')
        if kind.strip() != 'MSG':
            raise InputRejected(f'the definition of {type_name} has a part that begins with '
                                f'{head[:32]!r}, expected MSG:')
        yield _short(name.strip()), text


def _short(type_name: str) -> str:
    """Return package and name, as definitions write it."""
    match = TYPE_NAME.fullmatch(type_name)
    if match is None:
        raise InputRejected(f'{type_name[:64]!r} is no name of a message type')
    return f'{match[1]}/{match[2]}'


def _resolved(field: _Field, package: str, known: Mapping[str, str]) -> str:
    if '/' in field.type_name:
        return _short(field.type_name)
    near = f'{package}/{field.type_name}'
    return 'std_msgs/Header' if field.type_name == 'Header' and near not in known else near


def _fields(text: str) -> list[_Field]:
    found = []
    for line in text.splitlines():
        line = line.partition('#')[0]
        if not line.strip():
            continue
        match = FIELD.match(line)
        if match is None:
            raise InputRejected(f'a definition has the line {line.strip()[:64]!r}')
        if not match['constant']:
            found.append(_Field(match['name'], match['type'], match['array']))
    return found
