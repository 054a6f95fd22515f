"""
A message as wire bytes that are the same each time: CDR, little-endian, padded with zeros.

rclpy's serialiser leaves in the padding, and after the last field where it had reckoned with more,
whatever was in memory there. All else is the same. Knows types by what their classes tell of
their fields.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
import re
from struct import Struct
from typing import Any

import numpy as np

ENCAPSULATION = b'\x00\x01\x00\x00'
# By the names that fields have: how one is packed, and the type code of an array of them.
NUMBERS = {
    'boolean': '?', 'octet': 'B', 'uint8': 'B', 'int8': 'b', 'int16': 'h', 'uint16': 'H',
    'int32': 'i', 'uint32': 'I', 'int64': 'q', 'uint64': 'Q', 'float': 'f', 'double': 'd'}
PACKERS = {name: Struct(f'<{code}') for name, code in NUMBERS.items()}
COUNT = Struct('<I')
SEQUENCE = re.compile(r'sequence<([^,>]+)(?:,\s*\d+)?>')
ARRAY = re.compile(r'(.+)\[(\d+)\]')
# Filled as types are met.
KNOWN: dict[Any, list[tuple[str, str, str]]] = {}


def message_bytes(message: Any) -> bytes:
    """Return ``message`` as wire bytes, its encapsulation of 4 bytes included."""
    data = bytearray()
    _put_message(data, message)
    return ENCAPSULATION + bytes(data)


def _put_message(data: bytearray, message: Any) -> None:
    for name, kind, element in _fields(type(message)):
        value = getattr(message, name)
        if kind == 'one':
            _put(data, element, value)
            continue
        if kind == 'sequence':
            _align(data, 4)
            data += COUNT.pack(len(value))
        _put_all(data, element, value)


def _fields(message_class: Any) -> list[tuple[str, str, str]]:
    """Return name, kind (one, array or sequence) and type of one, of each field."""
    if message_class in KNOWN:
        return KNOWN[message_class]
    found = KNOWN[message_class] = []
    for name, text in message_class.get_fields_and_field_types().items():
        if (match := SEQUENCE.fullmatch(text)) is not None:
            found.append((name, 'sequence', match[1].strip()))
        elif (match := ARRAY.fullmatch(text)) is not None:
            found.append((name, 'array', match[1].strip()))
        else:
            found.append((name, 'one', text))
    return found


def _put(data: bytearray, element: str, value: Any) -> None:
    packer = PACKERS.get(element)
    if packer is not None:
        _align(data, packer.size)
        data += packer.pack(value[0] if element == 'octet' else value)
    elif element.startswith('string'):
        text = value.encode()
        _align(data, 4)
        data += COUNT.pack(len(text) + 1) + text + b'\x00'
    else:
        _put_message(data, value)


def _put_all(data: bytearray, element: str, values: Sequence[Any]) -> None:
    packer = PACKERS.get(element)
    if packer is None or not isinstance(values, (array, np.ndarray)):
        for value in values:
            _put(data, element, value)
    elif len(values):
        _align(data, packer.size)
        data += np.asarray(values).astype(f'<{NUMBERS[element]}').tobytes()


def _align(data: bytearray, size: int) -> None:
    data += bytes(-len(data) % size)
