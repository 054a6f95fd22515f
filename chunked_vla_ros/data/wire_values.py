"""
Messages of a bag as plain values: the few types that a dataset is made of, without any ROS.

What the bytes claim is checked before anything is made of it. Knows no bags, files or robots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast, TypeVar

import numpy as np

from chunked_vla_ros.core.image_cdr import ImageCdrError, read_image
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import FloatArray, NS_PER_S
from chunked_vla_ros.data.message_layout import MessageLayout
from chunked_vla_ros.data.wire_cursor import checked_items, WireCursor
from chunked_vla_ros.data.wire_kinds import (
    CompressedImageValue,
    DiagnosticValue,
    EpisodeEventValue,
    ExecutorStateValue,
    FloatsValue,
    ImageValue,
    JointStateValue,
    PointValue,
    TextValue,
    TrajectoryValue,
)

__all__ = [
    'CompressedImageValue', 'DiagnosticValue', 'EpisodeEventValue', 'ExecutorStateValue',
    'FloatsValue', 'ImageValue', 'JointStateValue', 'PointValue', 'TextValue',
    'TrajectoryValue', 'WireValue', 'header_stamp_ns', 'reader_of']


WireValue = (JointStateValue | TrajectoryValue | FloatsValue | TextValue | ImageValue
             | CompressedImageValue | ExecutorStateValue | EpisodeEventValue | DiagnosticValue)
ValueT = TypeVar('ValueT', bound=WireValue)


def reader_of(kind: type[ValueT], type_name: str, definition: str = ''
              ) -> Callable[[bytes], ValueT]:
    """
    Return what reads the messages of one topic.

    :param kind: The values that are wanted; ``kind.TYPE`` is their message type.
    :param type_name: The topic's type, as the bag says it.
    :param definition: The type's definition, as the bag has it. The types that other packages
        define have been the same in every ROS 2; the definition counts for our own.
    :returns: A function of a message's bytes; raises `InputRejected` for damaged ones.
    :raises InputRejected: the topic is of another type, or its definition lacks what is wanted.
    """
    if type_name != kind.TYPE:
        raise InputRejected(f'is of type {type_name[:64]}, expected {kind.TYPE}')
    if kind is JointStateValue:
        found: Any = JointStateReader().read
    elif kind in FIXED:
        found = _checked(FIXED[kind])
    else:
        found = _by_definition(kind, definition)
    return cast('Callable[[bytes], ValueT]', found)


def header_stamp_ns(data: bytes) -> int:
    """
    Return the stamp [ns] of a message that begins with a std_msgs/Header, nothing else read.

    :raises InputRejected: the bytes end before it, or are not CDR.
    """
    return WireCursor(data).time_ns()


class JointStateReader:
    """Read JointStates; a driver says the same names in each, so they are read once."""

    def __init__(self) -> None:
        self._names_bytes, self._names = b'', tuple[str, ...]()

    def read(self, data: bytes) -> JointStateValue:
        """
        Return what a message says.

        :raises InputRejected: it is damaged.
        """
        cursor = WireCursor(data)
        stamp_ns = _header(cursor)
        cursor.align(4)
        start, known = cursor.at, self._names_bytes
        if known and data.startswith(known, start):
            cursor.at += len(known)
        else:
            self._names = cursor.texts()
            self._names_bytes = data[start:cursor.at]
        return JointStateValue(
            stamp_ns, self._names, cursor.floats(), cursor.floats(), cursor.floats())


def _checked(read: Callable[[WireCursor], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(WireCursor(data))


def _header(cursor: WireCursor) -> int:
    """Return the stamp of a header, and go on behind it."""
    stamp_ns = cursor.time_ns()
    cursor.view(cursor.count(1))    # frame_id
    return stamp_ns


def _trajectory(cursor: WireCursor) -> TrajectoryValue:
    stamp_ns, names = _header(cursor), cursor.texts()
    # Four counts and a duration.
    count = checked_items(cursor.count(24))
    return TrajectoryValue(stamp_ns, names, tuple(_point(cursor) for _ in range(count)))


def _point(cursor: WireCursor) -> PointValue:
    positions, velocities, accelerations = cursor.floats(), cursor.floats(), cursor.floats()
    cursor.floats()    # effort
    return PointValue(positions, velocities, accelerations, cursor.time_ns())


def _floats(cursor: WireCursor) -> FloatsValue:
    for _ in range(checked_items(cursor.count(12))):    # the layout's dimensions
        cursor.text()
        cursor.integer()
        cursor.integer()
    cursor.integer()    # data_offset
    return FloatsValue(cursor.floats())


def _image(cursor: WireCursor) -> ImageValue:
    stamp_ns = cursor.time_ns()
    try:
        view = read_image(cursor.data)
    except ImageCdrError as error:
        raise InputRejected(str(error)) from None
    return ImageValue(stamp_ns, view.height, view.width, view.encoding, view.is_bigendian,
                      view.step, view.pixels)


def _compressed_image(cursor: WireCursor) -> CompressedImageValue:
    stamp_ns, kind = _header(cursor), cursor.text()
    return CompressedImageValue(stamp_ns, kind, cursor.view(cursor.count(1)))


def _diagnostic(cursor: WireCursor) -> DiagnosticValue:
    level, name = cursor.integer('B'), cursor.text()
    message, hardware_id = cursor.text(), cursor.text()
    count = checked_items(cursor.count(8))
    return DiagnosticValue(level, name, message, hardware_id,
                           tuple((cursor.text(), cursor.text()) for _ in range(count)))


FIXED: dict[Any, Callable[[WireCursor], Any]] = {
    TrajectoryValue: _trajectory, FloatsValue: _floats, ImageValue: _image,
    CompressedImageValue: _compressed_image, DiagnosticValue: _diagnostic,
    TextValue: lambda cursor: TextValue(cursor.text())}


def _by_definition(kind: type[Any], definition: str) -> Callable[[bytes], Any]:
    fields, make = OURS[kind]
    if not definition:
        raise InputRejected(f'the bag has no definition of {kind.TYPE}')
    layout = MessageLayout(kind.TYPE, definition)
    missing = [name for name in fields if name not in layout.fields]
    if missing:
        raise InputRejected(f'its definition of {kind.TYPE} lacks {", ".join(missing)}')

    def read(data: bytes) -> Any:
        try:
            return make(layout.read(data))
        except (KeyError, TypeError, ValueError) as error:
            # Of the names that count, but of other types than ours.
            raise InputRejected(f'its definition of {kind.TYPE} is another one '
                                f'({type(error).__name__})') from None
    return read


def _executor_state(found: Mapping[str, Any]) -> ExecutorStateValue:
    point = found['command']
    return ExecutorStateValue(
        _stamp_ns(found['header']), int(found['mode']), int(found['control_source']),
        bytes(found['session_id']['uuid']).hex(), int(found['chunk_id']),
        float(found['chunk_position']), tuple(map(str, found['joint_names'])),
        PointValue(
            _array(point['positions']), _array(point['velocities']),
            _array(point['accelerations']), _time_ns(point['time_from_start'])),
        tuple(int(flag) for flag in found['limit_flags']), str(found['reason']))


def _episode_event(found: Mapping[str, Any]) -> EpisodeEventValue:
    return EpisodeEventValue(
        _stamp_ns(found['header']), str(found['episode_id']), int(found['type']),
        float(found['value']), str(found['text']), str(found['source']))


def _array(values: Any) -> FloatArray:
    found: FloatArray = np.asarray(values, np.float64)
    return found


def _stamp_ns(header: Mapping[str, Any]) -> int:
    return _time_ns(header['stamp'])


def _time_ns(time: Mapping[str, Any]) -> int:
    return int(time['sec']) * NS_PER_S + int(time['nanosec'])


OURS: dict[Any, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], Any]]] = {
    ExecutorStateValue: (('header', 'mode', 'control_source', 'session_id', 'chunk_id',
                          'chunk_position', 'joint_names', 'command', 'limit_flags', 'reason'),
                         _executor_state),
    EpisodeEventValue: (('header', 'episode_id', 'type', 'value', 'text', 'source'),
                        _episode_event)}
