"""
Take values out of a message's bytes (CDR) one after the other; what is not there is refused.

A count is held against the bytes that are left before anything is made of it. Knows no message.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import NS_PER_S

ENCAPSULATION = 4
# Representation identifier: plain CDR of either byte order.
ORDERS = {b'\x00\x00': '>', b'\x00\x01': '<'}
# By the names of message definitions; of each the code of `struct`, which numpy knows too.
CODES = {
    'bool': '?', 'byte': 'B', 'char': 'B', 'int8': 'b', 'uint8': 'B', 'int16': 'h', 'uint16': 'H',
    'int32': 'i', 'uint32': 'I', 'int64': 'q', 'uint64': 'Q', 'float32': 'f', 'float64': 'd'}
LAYOUTS = {order: {code: struct.Struct(order + code) for code in CODES.values()}
           for order in ORDERS.values()}
TIMES = {order: struct.Struct(order + 'iI') for order in ORDERS.values()}
KINDS = {order: {code: np.dtype(order + code) for code in CODES.values()}
         for order in ORDERS.values()}
NATIVE = {code: np.dtype(code) for code in CODES.values()}
# Of texts or structures in one field: no message that is read here has a thousandth of them.
MOST_ITEMS = 65_536


class WireCursor:
    """
    A place in a message.

    :ivar at: Offset of what comes next.
    """

    __slots__ = ('_layouts', '_order', 'at', 'data')

    def __init__(self, data: bytes) -> None:
        """
        Begin after the encapsulation.

        :raises InputRejected: ``data`` is not plain CDR.
        """
        order = ORDERS.get(data[:2])
        if order is None or len(data) < ENCAPSULATION:
            raise InputRejected(f'message starts with {data[:4].hex() or "nothing"}, expected CDR')
        self.data, self.at = data, ENCAPSULATION
        self._order, self._layouts = order, LAYOUTS[order]

    def align(self, size: int) -> None:
        """Go on to the next place for a number of ``size`` bytes."""
        self.at += (ENCAPSULATION - self.at) % size

    def number(self, code: str) -> int | float | bool:
        """Return a number by its code in `struct`."""
        layout = self._layouts[code]
        self.align(layout.size)
        try:
            (value,) = layout.unpack_from(self.data, self.at)
        except struct.error:
            raise self._cut() from None
        self.at += layout.size
        found: int | float | bool = value
        return found

    def integer(self, code: str = 'I') -> int:
        """Return a whole number."""
        return int(self.number(code))

    def count(self, least: int) -> int:
        """Return the count before a sequence whose items have ``least`` bytes or more each."""
        count = int(self.number('I'))
        if count * least > len(self.data) - self.at:
            raise InputRejected(f'message promises {count} values and has '
                                f'{len(self.data) - self.at} bytes left')
        return count

    def view(self, size: int) -> memoryview:
        """Return the next ``size`` bytes, as a view."""
        end = self.at + size
        if end > len(self.data):
            raise self._cut()
        found = memoryview(self.data)[self.at:end]
        self.at = end
        return found

    def text(self) -> str:
        """Return a text; what is not UTF-8 in it is replaced, as rclpy does."""
        found = bytes(self.view(self.count(1)))
        return found.removesuffix(b'\0').decode('utf-8', 'replace')

    def texts(self) -> tuple[str, ...]:
        """Return a sequence of texts."""
        return tuple(self.text() for _ in range(checked_items(self.count(4))))

    def numbers(self, code: str, count: int | None = None) -> NDArray[np.generic]:
        """Return an array of ``count`` numbers; ``None``: of as many as stand before it."""
        size = self._layouts[code].size
        found = self.count(size) if count is None else count
        if found:    # without values there is nothing to align
            self.align(size)
        start, self.at = self.at, self.at + found * size
        if self.at > len(self.data):
            raise self._cut()
        # Native and aligned, so that nobody computes with it in any other way.
        return np.frombuffer(self.data, KINDS[self._order][code], found, start).astype(
            NATIVE[code])

    def floats(self) -> NDArray[np.float64]:
        """Return a sequence of float64."""
        return self.numbers('d').view(np.float64)

    def time_ns(self) -> int:
        """Return a builtin_interfaces/Time, or a Duration, in [ns]."""
        self.align(4)
        layout = TIMES[self._order]
        try:
            seconds, nanoseconds = layout.unpack_from(self.data, self.at)
        except struct.error:
            raise self._cut() from None
        self.at += layout.size
        time_ns: int = seconds * NS_PER_S + nanoseconds
        return time_ns

    def _cut(self) -> InputRejected:
        return InputRejected(f'message ends after {len(self.data)} bytes')


def checked_items(count: int) -> int:
    """
    Return ``count`` if so many texts or structures may stand in one field.

    :raises InputRejected: they may not.
    """
    if count > MOST_ITEMS:
        raise InputRejected(f'message has {count} values in one field, at most {MOST_ITEMS} '
                            f'are read')
    return count
