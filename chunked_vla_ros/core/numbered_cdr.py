"""
Number messages inside their own bytes: send time and number stand in the standard header.

So that whoever has the bytes knows which message it is, whatever carried them. Works on
serialised messages whose first field is a `std_msgs/Header`; knows neither ROS nor their types.
"""

from __future__ import annotations

import struct

from chunked_vla_ros.core.types import NS_PER_S

# What stands in for the number where a message is made: as long as every number.
PLACEHOLDER = '0' * 12
# After the encapsulation: seconds, nanoseconds, length of frame_id with its closing NUL.
HEAD = struct.Struct('<4siII12sB')
LENGTH = len(PLACEHOLDER) + 1


class NotNumberedError(ValueError):
    """Bytes that no numbered message begins with; one line."""


class NumberedCdr:
    """A serialised message that is sent again and again, each time with another number."""

    def __init__(self, data: bytes) -> None:
        """
        Take a serialised message whose frame_id is `PLACEHOLDER`.

        :raises NotNumberedError: it is not.
        """
        if read_number(data)[0] != 0:
            raise NotNumberedError(f'frame_id is not {PLACEHOLDER!r}')
        self._encapsulation, self._rest = data[:4], data[HEAD.size:]

    def numbered(self, number: int, stamp_ns: int) -> bytes:
        """Return the message as number ``number``, stamped ``stamp_ns`` [ns]."""
        sec, nanosec = divmod(stamp_ns, NS_PER_S)
        return HEAD.pack(self._encapsulation, sec, nanosec, LENGTH,
                         b'%0*d' % (len(PLACEHOLDER), number), 0) + self._rest


def read_number(data: bytes) -> tuple[int, int]:
    """
    Return number and stamp [ns] of a numbered message.

    :raises NotNumberedError: it carries none.
    """
    if len(data) < HEAD.size:
        raise NotNumberedError(f'message of {len(data)} bytes, expected at least {HEAD.size}')
    _, sec, nanosec, length, digits, end = HEAD.unpack_from(data)
    if length != LENGTH or end or not digits.isdigit():
        raise NotNumberedError(f'frame_id begins with {digits!r}, expected 12 digits')
    return int(digits), sec * NS_PER_S + nanosec
