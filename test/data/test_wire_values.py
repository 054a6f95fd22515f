"""Message bytes become values, the same that ROS and rosbags find, or one line; nothing else."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
import struct
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import get_typestore, Stores

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.data.bag_messages import BagReader
from chunked_vla_ros.data.message_definition import definition_of
from chunked_vla_ros.data.message_layout import MessageLayout
from chunked_vla_ros.data.wire_values import (
    CompressedImageValue,
    DiagnosticValue,
    EpisodeEventValue,
    ExecutorStateValue,
    FloatsValue,
    header_stamp_ns,
    ImageValue,
    JointStateValue,
    reader_of,
    TextValue,
    TrajectoryValue,
)

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bags'
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason='real bags are absent (shared/data)')
KINDS = [CompressedImageValue, DiagnosticValue, EpisodeEventValue, ExecutorStateValue, FloatsValue,
         ImageValue, JointStateValue, TextValue, TrajectoryValue]
STORE = get_typestore(Stores.ROS2_JAZZY)
HEADER = 'std_msgs/Header header\n'
SEPARATOR = '=' * 80
MOST_OF_A_TOPIC = 200
HEADER_TYPE = (f'{SEPARATOR}\nMSG: std_msgs/Header\n'
               'builtin_interfaces/Time stamp\nstring frame_id\n')
EVENT = (HEADER + 'string episode_id\nuint8 START=0\nuint8 type  # what\nfloat64 value\n'
         'string text "#"\nstring source\n' + HEADER_TYPE)


def cdr(order: str, *parts: object) -> bytes:
    """Return CDR by hand: 'I', 'd', ... before a number aligns and packs it, a str is a text."""
    data = b'\0\1\0\0' if order == '<' else bytes(4)
    each = iter(parts)
    for part in each:
        code, values = ('I', [len(str(part)) + 1]) if isinstance(part, str) and len(part) != 1 \
            else (str(part), [next(each)])
        layout = struct.Struct(order + code)
        data += bytes((4 - len(data)) % layout.size) + layout.pack(*values)
        if len(values) and isinstance(part, str) and len(part) != 1:
            data += part.encode() + b'\0'
    return data


def joints(order: str = '<') -> bytes:
    """Return two joints with positions 1 and 2, no velocities, and efforts 3 and 4."""
    return cdr(order, 'i', 5, 'I', 7, 'base', 'I', 2, 'elbow', 'wrist', 'I', 2, 'd', 1.0, 'd', 2.0,
               'I', 0, 'I', 2, 'd', 3.0, 'd', 4.0)


@pytest.mark.parametrize('order', '<>')
def test_a_joint_state_is_read_in_either_byte_order(order: str) -> None:
    read = reader_of(JointStateValue, 'sensor_msgs/msg/JointState')
    for _ in range(2):    # the second time its names are known
        value = read(joints(order))
        assert (value.stamp_ns, value.names) == (5_000_000_007, ('elbow', 'wrist'))
        assert value.position.tolist() == [1.0, 2.0]
        assert (value.velocity.tolist(), value.effort.tolist()) == ([], [3.0, 4.0])
    assert header_stamp_ns(joints(order)) == 5_000_000_007


def test_names_that_change_are_read_anew() -> None:
    read = reader_of(JointStateValue, 'sensor_msgs/msg/JointState')
    for data in (joints(), joints().replace(b'elbow', b'ankle'), joints()):
        assert read(data).names[0] == data[32:37].decode()


def test_what_pads_a_message_at_its_end_is_not_looked_at() -> None:
    read = reader_of(JointStateValue, 'sensor_msgs/msg/JointState')
    assert read(joints() + b'xyz').effort.tolist() == [3.0, 4.0]


def test_a_message_cut_anywhere_is_refused_with_one_line() -> None:
    for length in range(len(joints())):
        with pytest.raises(InputRejected) as error:
            reader_of(JointStateValue, 'sensor_msgs/msg/JointState')(joints()[:length])
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('start', [b'\0', b'\0\2\0\0', b'\x28\xb5\x2f\xfd', b'{"a":1}'])
def test_what_is_not_plain_cdr_is_refused(start: bytes) -> None:
    with pytest.raises(InputRejected, match='expected CDR'):
        header_stamp_ns(start + bytes(20 if len(start) > 1 else 0))


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(kind: type, content: bytes) -> None:
    definition = EVENT if kind is EpisodeEventValue else ''
    if kind is ExecutorStateValue:
        return
    try:
        value = reader_of(kind, kind.TYPE, definition)(b'\0\1\0\0' + content)
    except InputRejected:
        return
    assert isinstance(value, kind)


@pytest.mark.parametrize('kind', [JointStateValue, TrajectoryValue, FloatsValue, ImageValue,
                                  CompressedImageValue, DiagnosticValue, TextValue])
def test_a_count_takes_no_memory(kind: type) -> None:
    read = reader_of(kind, kind.TYPE)
    tracemalloc.start()
    for at in range(4, 100, 4):
        for count in (2**16, 2**28, 2**31, 2**32 - 1):
            data = bytearray(b'\0\1\0\0' + bytes(100))
            struct.pack_into('<I', data, at, count)
            try:
                read(bytes(data))
            except InputRejected:
                continue
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_more_names_than_any_robot_has_are_refused() -> None:
    data = cdr('<', 'i', 0, 'I', 0, 'base', 'I', 70_000) + bytes(4 * 70_000)
    with pytest.raises(InputRejected, match='70000 values in one field, at most 65536'):
        reader_of(JointStateValue, 'sensor_msgs/msg/JointState')(data)


def event(order: str = '<') -> bytes:
    return cdr(order, 'i', 1, 'I', 2, 'map', 'ep-1', 'B', 4, 'd', 0.5, 'hit', 'sim')


@pytest.mark.parametrize('order', '<>')
def test_our_own_types_are_read_by_the_bag_s_definition(order: str) -> None:
    value = reader_of(EpisodeEventValue, 'chunked_vla_ros/msg/EpisodeEvent', EVENT)(event(order))
    assert value == EpisodeEventValue(1_000_000_002, 'ep-1', 4, 0.5, 'hit', 'sim')


def test_a_definition_with_another_field_is_read_and_one_that_lacks_a_field_refused() -> None:
    newer = EVENT.replace('float64 value', 'uint8[2] more\nfloat64 value')
    data = cdr('<', 'i', 1, 'I', 2, 'map', 'ep-1', 'B', 4, 'B', 9, 'B', 9, 'd', 0.5, 'hit', 'sim')
    read = partial(reader_of, EpisodeEventValue, 'chunked_vla_ros/msg/EpisodeEvent')
    assert read(newer)(data) == read(EVENT)(event())
    with pytest.raises(InputRejected, match='lacks value'):
        read(EVENT.replace('float64 value\n', ''))
    other = read(EVENT.replace('float64 value', 'std_msgs/Header value'))
    with pytest.raises(InputRejected, match='is another one'):
        other(cdr('<', 'i', 1, 'I', 2, 'map', 'ep-1', 'B', 4, 'i', 0, 'I', 0, 'map', 'a1', 'b1'))


@pytest.mark.parametrize(('definition', 'complaint'), [
    ('', 'has no definition'), ('Nothing x\n', 'definition of chunked_vla_ros/Nothing is not'),
    ('EpisodeEvent x\n', 'nested more than 16'), ('%\n', "has the line '%'"),
    ('wstring x\n', 'is a wstring'), (f'{SEPARATOR}\nIDL: a/b\nmodule\n', 'expected MSG:'),
    ('Time[99999] x\n' + SEPARATOR + '\nMSG: chunked_vla_ros/Time\nint8 x\n', 'at most 65536'),
    ('x' * 2_000_000, '2000000 characters')])
def test_a_definition_that_is_not_understood_is_refused(definition: str, complaint: str) -> None:
    with pytest.raises(InputRejected, match=complaint):
        reader_of(EpisodeEventValue, 'chunked_vla_ros/msg/EpisodeEvent', definition)


@given(st.text(max_size=300), st.binary(max_size=64))
def test_any_definition_and_any_bytes_end_in_values_or_a_refusal(text: str, data: bytes) -> None:
    for definition in (text, EVENT[:len(text)] + text + EVENT[len(text):]):
        try:
            MessageLayout('a/msg/B', definition).read(b'\0\1\0\0' + data)
        except InputRejected:
            continue


def test_a_topic_of_another_type_is_refused() -> None:
    with pytest.raises(InputRejected, match='is of type std_msgs/msg/String, expected sensor_m'):
        reader_of(JointStateValue, 'std_msgs/msg/String')


def differences(found: Any, expected: Any, at: str = '') -> Iterator[str]:
    """Yield where a value differs from a message of rosbags or rclpy, its own fields only."""
    if isinstance(found, dict):
        names = [each.name for each in fields(expected)] if is_dataclass(expected) else []
        wire = {name for name in names if not name.startswith('__') and not name.isupper()}
        if wire - {'structure_needs_at_least_one_member'} != found.keys():
            yield f'{at}: {found.keys()}'
        for name, value in found.items():
            yield from differences(value, getattr(expected, name), f'{at}.{name}')
    elif isinstance(found, tuple) and not isinstance(expected, np.ndarray):
        if len(found) != len(expected):
            yield f'{at}: {len(found)} and {len(expected)}'
        for index, pair in enumerate(zip(found, expected, strict=False)):
            yield from differences(*pair, f'{at}[{index}]')
    elif not np.array_equal(found, expected, equal_nan=isinstance(
            found, float) or (isinstance(found, np.ndarray) and found.dtype.kind == 'f')):
        yield f'{at}: {found!r} and {expected!r}'


@needs_real
@pytest.mark.parametrize(('name', 'count'), [
    ('abitobot', 400), ('all_types/test_bag_mcap', 188), ('all_types/test_bag_sqlite3', 188),
    ('humble_sensor_msgs/rosbag2_2025_09_10-13_03_56_0.mcap', 194)])
def test_every_value_of_real_bags_is_the_one_that_rosbags_finds(name: str, count: int) -> None:
    bag, equal = BagReader(REAL / name), 0
    layouts = {topic.name: MessageLayout(topic.type_name, topic.definition)
               for topic in bag.topics.values()}
    with AnyReader([REAL / name], default_typestore=STORE) as theirs:
        raw = sorted((stamp, each.topic, bytes(data)) for each, stamp, data in theirs.messages())
        assert raw == sorted((each.log_ns, each.topic, each.data) for each in bag.messages())
        seen: Counter[str] = Counter()
        for message in bag.messages():
            seen[message.topic] += 1
            if seen[message.topic] > MOST_OF_A_TOPIC:
                continue
            layout = layouts[message.topic]
            expected = theirs.deserialize(message.data, message.type_name)
            assert not list(differences(layout.read(message.data), expected, message.topic))
            equal += 1
    assert equal == count


def without_stamps(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_stamps(each) for name, each in value.items() if name != 'stamp'}
    if isinstance(value, tuple):
        return tuple(map(without_stamps, value))
    return value.tolist() if isinstance(value, np.ndarray) else value


@needs_real
def test_both_storages_hold_the_same_values() -> None:
    found = []
    for storage in ('mcap', 'sqlite3'):
        bag = BagReader(REAL / f'all_types/test_bag_{storage}')
        found.append(sorted(
            (message.topic, repr(without_stamps(MessageLayout(
                message.type_name, bag.topics[message.topic].definition).read(message.data))))
            for message in bag.messages()))
    assert len(found[0]) == 188
    assert found[0] == found[1]


def messages() -> Iterator[tuple[type, Any]]:
    """Yield messages of every kind, with all fields filled, and the value's class."""
    from builtin_interfaces.msg import Duration, Time
    from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
    from sensor_msgs.msg import CompressedImage, Image, JointState
    from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension, String
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
    from unique_identifier_msgs.msg import UUID

    from chunked_vla_ros.msg import EpisodeEvent, ExecutorState
    header = Header(stamp=Time(sec=-3, nanosec=4), frame_id='Küche')
    point = JointTrajectoryPoint(
        positions=[1.0, np.nan], velocities=[3.0], accelerations=[5.0, 6.0], effort=[7.0],
        time_from_start=Duration(sec=1, nanosec=5))
    yield JointStateValue, JointState(header=header, name=['', 'ö'], position=[1.0, np.inf],
                                      effort=[2.0])
    yield TrajectoryValue, JointTrajectory(header=header, joint_names=['a'],
                                           points=[point, JointTrajectoryPoint(), point])
    array = Float64MultiArray(data=[1.0, 2.0])
    array.layout.dim = [MultiArrayDimension(label='abc', size=1, stride=2)]
    yield FloatsValue, array
    yield TextValue, String(data='nimm die Tasse ☕')
    yield ImageValue, Image(header=header, height=2, width=3, encoding='mono8', step=4,
                            is_bigendian=1, data=list(range(8)))
    yield CompressedImageValue, CompressedImage(header=header, format='jpeg', data=[1, 2, 3])
    yield DiagnosticValue, DiagnosticStatus(
        level=b'\2', name='policy', message='m', hardware_id='h',
        values=[KeyValue(key='k', value='v'), KeyValue()])
    yield ExecutorStateValue, ExecutorState(
        header=header, mode=1, control_source=2, session_id=UUID(uuid=list(range(16))),
        chunk_id=2**63, chunk_position=1.5, joint_names=['a', 'b'], command=point,
        limit_flags=[1, 8], reason='why', accepted=3, lateness_p99=0.25)
    yield EpisodeEventValue, EpisodeEvent(header=header, episode_id='e', type=4, value=-1.0,
                                          text='t', source='s')


def point_of(msg: Any) -> list[Any]:
    return [msg.positions, msg.velocities, msg.accelerations,
            msg.time_from_start.sec * 10**9 + msg.time_from_start.nanosec]


def by_rclpy(kind: type, msg: Any) -> list[Any]:
    """Return the fields of a value, in their order, as rclpy's message has them."""
    stamp = [msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec] \
        if hasattr(msg, 'header') else []
    special = {
        JointStateValue: lambda: [msg.name, msg.position, msg.velocity, msg.effort],
        TrajectoryValue: lambda: [msg.joint_names, [point_of(each) for each in msg.points]],
        DiagnosticValue: lambda: [msg.level[0], msg.name, msg.message, msg.hardware_id,
                                  [[each.key, each.value] for each in msg.values]],
        ExecutorStateValue: lambda: [
            msg.mode, msg.control_source, bytes(msg.session_id.uuid.tolist()).hex(), msg.chunk_id,
            msg.chunk_position, msg.joint_names, point_of(msg.command), msg.limit_flags,
            msg.reason]}
    names = [each.name for each in fields(kind) if each.name != 'stamp_ns']
    return stamp + (special[kind]() if kind in special else [getattr(msg, name) for name in names])


def plain(value: Any) -> Any:
    """Return nested lists of numbers and texts; NaN becomes a text, to be equal to itself."""
    if is_dataclass(value):
        return [plain(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, str):
        return value
    if hasattr(value, '__iter__'):
        return [plain(each) for each in value]
    return 'nan' if isinstance(value, float) and np.isnan(value) else value


def test_every_value_is_the_one_that_rclpy_finds() -> None:
    serialization = pytest.importorskip('rclpy.serialization', reason='no ROS 2 here')
    kinds = set()
    for kind, msg in messages():
        data = serialization.serialize_message(msg)
        found = reader_of(kind, kind.TYPE, definition_of(kind.TYPE))(data)
        expected = by_rclpy(kind, serialization.deserialize_message(data, type(msg)))
        assert plain(found) == plain(expected)
        kinds.add(kind)
    assert kinds == set(KINDS)
