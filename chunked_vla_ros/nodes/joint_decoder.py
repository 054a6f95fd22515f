"""
Joint samples straight from the bytes of JointState messages.

A driver says the same names in the same order hundreds of times a second, and turning each message
into Python objects first was a tenth of the chunk executor's work. Here the message is decoded by
rclpy once; as long as the following ones are laid out alike, their numbers are read where they
are. Decides nothing about samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import struct

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import FloatArray, JointSample, NS_PER_S
from chunked_vla_ros.nodes.conversions import joint_sample_from_msg, stamp_to_ns

# Plain CDR, little-endian: encapsulation, then alignment counts from byte 4 on.
LITTLE_ENDIAN, ENCAPSULATION, AFTER_STAMP = b'\x00\x01', 4, 12


@dataclass(frozen=True)
class _Layout:
    """
    Where things are in a message.

    :ivar fixed: (offset, bytes) of all that must be equal: lengths, counts and names.
    :ivar position: Offset of the first position.
    :ivar velocity: Offset of the first velocity, 0 if there are none.
    :ivar count: Joints in the message.
    """

    size: int
    fixed: tuple[tuple[int, bytes], ...]
    position: int
    velocity: int
    count: int

    def fits(self, data: bytes) -> bool:
        """Return whether ``data`` is laid out like this."""
        return len(data) == self.size and all(
            data[at:at + len(piece)] == piece for at, piece in self.fixed)


class JointDecoder:
    """Decode the messages of one topic; remembers how the newest was laid out."""

    def __init__(self, joint_names: Sequence[str]) -> None:
        self._names = tuple(joint_names)
        self._layout: _Layout | None = None
        self._pick = np.empty(0, dtype=np.intp)

    def sample(self, data: bytes, arrival_ns: int | None = None) -> JointSample:
        """
        Return the sample in ``data``, the wire bytes of a JointState.

        :param arrival_ns: Its time in [ns] if the message's own stamp does not count.
        :raises InputRejected: as `conversions.joint_sample_from_msg`.
        """
        layout = self._layout
        if layout is None or not layout.fits(data):
            return self._decoded(data, arrival_ns)
        position = self._numbers(data, layout.position, layout.count)
        velocity = (self._numbers(data, layout.velocity, layout.count) if layout.velocity
                    else np.zeros(len(self._names)))
        # A sum is finite only if every part is.
        if not np.isfinite((position + velocity).sum()):
            raise InputRejected('joint_states has a value that is not finite')
        if arrival_ns is None:
            seconds, nanoseconds = struct.unpack_from('<iI', data, ENCAPSULATION)
            arrival_ns = seconds * NS_PER_S + nanoseconds
        return JointSample(arrival_ns, position, velocity)

    def _numbers(self, data: bytes, at: int, count: int) -> FloatArray:
        numbers: FloatArray = np.frombuffer(data, '<f8', count, at)[self._pick]
        return numbers

    def _decoded(self, data: bytes, arrival_ns: int | None) -> JointSample:
        msg = deserialize_message(data, JointState)
        stamp_ns = stamp_to_ns(msg.header.stamp) if arrival_ns is None else arrival_ns
        found = joint_sample_from_msg(msg, self._names, stamp_ns)
        self._layout = _layout(data)
        self._pick = np.array([msg.name.index(name) for name in self._names])
        return found


def _layout(data: bytes) -> _Layout | None:
    """Return how ``data`` is laid out, ``None`` if that is nothing to rely on."""
    if data[:2] != LITTLE_ENDIAN:
        return None
    fixed: list[tuple[int, bytes]] = [(0, LITTLE_ENDIAN)]

    def number(at: int) -> tuple[int, int]:
        at += -at % 4
        fixed.append((at, data[at:at + 4]))
        return struct.unpack_from('<I', data, at)[0], at + 4

    try:
        length, at = number(AFTER_STAMP)
        at += length    # the frame's name may change
        count, at = number(at)
        for _ in range(count):
            length, at = number(at)
            fixed.append((at, data[at:at + length]))
            at += length
        starts = []
        for _ in ('position', 'velocity'):
            values, at = number(at)
            at += (ENCAPSULATION - at) % 8 if values else 0
            starts.append(at if values else 0)
            if values not in (0, count) or at + 8 * values > len(data):
                return None
            at += 8 * values
    except struct.error:
        return None
    return _Layout(len(data), tuple(fixed), starts[0], starts[1], count) if starts[0] else None
