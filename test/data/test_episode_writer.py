"""Bags of `EpisodeWriter` as independent readers see them: `mcap`'s and `rosbags`'s."""

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
import yaml

from chunked_vla_ros.core.loss_meter import NOT_NUMBERED
from chunked_vla_ros.core.recording import (
    EpisodeFacts,
    OfferedQos,
    Outcome,
    StreamSpec,
    Verdict,
    WireMessage,
)
from chunked_vla_ros.core.stream_health import StreamReport
from chunked_vla_ros.data import mcap_file, scatter_write
from chunked_vla_ros.data.bag_metadata import qos_text
from chunked_vla_ros.data.episode_writer import EpisodeWriter, RECORD
from chunked_vla_ros.data.message_definition import definition_of

START_NS = 1_700_000_000 * 10**9
JOINT_STATE, IMAGE, CHUNK = (
    'sensor_msgs/msg/JointState', 'sensor_msgs/msg/Image', 'chunked_vla_ros/msg/ActionChunk')
SENSOR_QOS = OfferedQos(reliability='best_effort', depth=5)
LATCHED_QOS = OfferedQos(durability='transient_local', depth=1, lifespan_ns=1_500_000_000)
GOOD = (Outcome.SUCCESS, Verdict.GOOD, (), ())
FACTS = EpisodeFacts(
    'episode_000000', task='put the ε-cube "left"\n: no', operator='Ann', robot='ur5e',
    contract_hash='ab' * 32, policy_id='', software_version='0.3.0', start_ns=START_NS)


def spec(topic: str, type_name: str = JOINT_STATE, **fields: Any) -> StreamSpec:
    values = {'definition': definition_of(type_name), 'offered_qos': (SENSOR_QOS,)} | fields
    return StreamSpec(topic, type_name, **values)


def wire(topic: str, data: bytes, number: int) -> WireMessage:
    """Return message ``number``: sent after that many milliseconds, received 1 us later."""
    sent_ns = START_NS + number * 10**6
    return WireMessage(topic, data, sent_ns + 1000, sent_ns, number)


@pytest.fixture(scope='module')
def typestore() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(definition_of(CHUNK), CHUNK))
    return store


def joint_state(store: Any, position: float) -> bytes:
    types = store.types
    header = types['std_msgs/msg/Header'](types['builtin_interfaces/msg/Time'](7, 8), 'base')
    message = types[JOINT_STATE](
        header, ['shoulder'], np.array([position]), np.array([0.5]), np.array([]))
    return bytes(store.serialize_cdr(message, JOINT_STATE))


def mcap_messages(path: Path) -> list[tuple[str, int, int, int, bytes]]:
    with path.open('rb') as file:
        return [(channel.topic, message.sequence, message.log_time, message.publish_time,
                 message.data)
                for _, channel, message in make_reader(
                    file, validate_crcs=True).iter_messages()]


def rosbags_messages(folder: Path) -> list[tuple[str, int, bytes]]:
    with Reader(folder) as reader:
        return [(connection.topic, stamp, bytes(data))
                for connection, stamp, data in reader.messages()]


def test_bytes_that_come_in_come_out_of_both_readers(tmp_path: Path, typestore: Any) -> None:
    sent = [wire('/joint_states', joint_state(typestore, float(i)), i) for i in range(500)]
    writer = EpisodeWriter(tmp_path, FACTS, [spec('/joint_states')])
    for message in sent:
        writer.write(message)
        if message.sequence % 200 == 0:
            writer.flush()
    folder = writer.finish(*GOOD)
    assert folder == tmp_path / 'episode_000000'
    assert mcap_messages(writer.path) == [
        (m.topic, m.sequence, m.log_ns, m.publish_ns, m.data) for m in sent]
    assert rosbags_messages(folder) == [(m.topic, m.log_ns, m.data) for m in sent]


def test_types_are_decoded_from_the_bag_alone(tmp_path: Path, typestore: Any) -> None:
    writer = EpisodeWriter(tmp_path, FACTS, [spec('/joint_states'), spec('/chunks', CHUNK)])
    writer.write(wire('/joint_states', joint_state(typestore, 0.25), 0))
    chunk = action_chunk(typestore)
    writer.write(wire('/chunks', chunk, 1))
    folder = writer.finish(*GOOD)
    # No type store is given: what is decoded comes from the definitions in the file.
    with AnyReader([folder]) as reader:
        decoded = {connection.topic: reader.deserialize(data, connection.msgtype)
                   for connection, _, data in reader.messages()}
    assert decoded['/joint_states'].name == ['shoulder']
    assert decoded['/joint_states'].position.tolist() == [0.25]
    assert decoded['/chunks'].chunk_id == 7
    assert decoded['/chunks'].joint.joint_names == ['elbow']
    assert list(decoded['/chunks'].dim_kind) == [0]


def action_chunk(store: Any) -> bytes:
    """Return a chunk with id 7 for a joint 'elbow' without points, all else zero."""
    def empty(type_name: str, **given: Any) -> Any:
        fields = store.get_msgdef(type_name).fields
        return store.types[type_name](
            **{name: given.get(name, blank(*description)) for name, description in fields})

    def blank(node: int, detail: Any) -> Any:
        if node == 2:
            return empty(detail)
        if node in (3, 4):
            inner = detail[0]
            count = detail[1] if node == 3 else 0
            kind = inner[1][0] if inner[0] == 1 else ''
            return [] if kind in ('', 'string') else np.zeros(count, kind)
        return '' if detail[0] == 'string' else False if detail[0] == 'bool' else 0

    message = empty(
        CHUNK, chunk_id=7, dim_kind=np.zeros(1, np.uint8),
        joint=empty('trajectory_msgs/msg/JointTrajectory', joint_names=['elbow']))
    return bytes(store.serialize_cdr(message, CHUNK))


def test_qos_has_the_same_text_in_the_metadata_and_the_channel(tmp_path: Path) -> None:
    specs = [spec('/a', offered_qos=(SENSOR_QOS, LATCHED_QOS)), spec('/b', offered_qos=())]
    writer = EpisodeWriter(tmp_path, FACTS, specs)
    writer.write(wire('/a', b'\0\1\0\0', 0))
    folder = writer.finish(*GOOD)
    text = (folder / 'metadata.yaml').read_text()
    with (folder / 'episode_000000_0.mcap').open('rb') as file:
        channels = make_reader(file).get_summary().channels.values()
    offered = {channel.topic: channel.metadata['offered_qos_profiles'] for channel in channels}
    assert offered == {'/a': qos_text((SENSOR_QOS, LATCHED_QOS)), '/b': '[]'}
    # The same lines, further to the right.
    assert '\n'.join(' ' * 6 + line for line in offered['/a'].splitlines()) in text
    assert 'reliability: best_effort' in offered['/a']
    assert 'lifespan:\n    sec: 1\n    nsec: 500000000' in offered['/a']
    topics = yaml.safe_load(text)['rosbag2_bagfile_information']['topics_with_message_count']
    assert [entry['topic_metadata']['offered_qos_profiles'] for entry in topics] == [
        yaml.safe_load(offered['/a']), []]
    # rosbags matches them by equality and reads nothing where they differ.
    assert len(rosbags_messages(folder)) == 1


def test_facts_and_result_stand_in_the_metadata_and_in_the_file(tmp_path: Path) -> None:
    report = StreamReport('/a', messages=1, bytes=4, lost=2)
    writer = EpisodeWriter(tmp_path, FACTS, [spec('/a', type_hash='RIHS01_' + 'a' * 64)])
    writer.write(wire('/a', b'\0\1\0\0', 5))
    folder = writer.finish(Outcome.FAILURE, Verdict.USABLE, ['/a: 2 lost'], [report])
    metadata = yaml.safe_load((folder / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']
    with (folder / 'episode_000000_0.mcap').open('rb') as file:
        records = list(make_reader(file).iter_metadata())
    ours = [record.metadata for record in records if record.name == RECORD]
    assert ours[0] == FACTS.as_text()
    assert ours[-1] == metadata['custom_data'] == FACTS.as_text() | {
        'outcome': 'failure', 'verdict': 'usable', 'reasons': '["/a: 2 lost"]',
        'streams': metadata['custom_data']['streams']}
    assert json.loads(metadata['custom_data']['streams'])[0]['lost'] == 2
    inside = next(record for record in records if record.name == 'rosbag2')
    assert yaml.safe_load(inside.metadata['serialized_metadata']) == metadata
    assert metadata['version'] == 9
    assert metadata['message_count'] == 1
    assert metadata['starting_time'] == {'nanoseconds_since_epoch': START_NS + 5_001_000}
    assert metadata['topics_with_message_count'][0]['topic_metadata'][
        'type_description_hash'] == 'RIHS01_' + 'a' * 64
    with Reader(folder) as reader:
        assert reader.storage.metadata.custom == metadata['custom_data']


def test_a_type_without_definition_is_recorded_and_named_as_a_reason(tmp_path: Path) -> None:
    writer = EpisodeWriter(
        tmp_path, FACTS, [spec('/a'), StreamSpec('/odd', 'strange_msgs/msg/Odd')])
    writer.write(wire('/a', b'\0\1\0\0', 0))
    writer.write(wire('/odd', b'\0\1\0\0ODD', 1))
    folder = writer.finish(*GOOD)
    assert writer.verdict is Verdict.USABLE
    assert writer.reasons == [
        '/odd has no definition of strange_msgs/msg/Odd: readers need its package']
    assert rosbags_messages(folder)[1][::2] == ('/odd', b'\0\1\0\0ODD')
    with (folder / 'episode_000000_0.mcap').open('rb') as file:
        schema, _, message = next(make_reader(file).iter_messages(topics='/odd'))
    assert (schema.name, schema.encoding, schema.data) == ('strange_msgs/msg/Odd', '', b'')
    assert message.data == b'\0\1\0\0ODD'
    # The others are decoded all the same where the reader has types of its own for the rest.
    with AnyReader([folder], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        assert {connection.topic for connection, _, _ in reader.messages()} == {'/a', '/odd'}


def test_a_topic_that_appears_late_is_recorded_from_then_on(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path, FACTS, [spec('/a')])
    writer.write(wire('/a', b'\0\1\0\0', 0))
    writer.flush()
    for topic in ('/late', '/later'):
        writer.add_stream(spec(topic, IMAGE))
        writer.add_stream(spec(topic, IMAGE))
        writer.write(wire(topic, b'\0\1\0\0', 1))
    with pytest.raises(ValueError, match=r'^/late is recorded as sensor_msgs/msg/Image'):
        writer.add_stream(spec('/late', JOINT_STATE))
    folder = writer.finish(*GOOD)
    assert [topic for topic, _, _ in rosbags_messages(folder)] == ['/a', '/late', '/later']
    assert [row[0] for row in mcap_messages(folder / 'episode_000000_0.mcap')] == [
        '/a', '/late', '/later']


def test_a_bag_without_a_message_is_a_bag(tmp_path: Path) -> None:
    for number, specs in enumerate(([], [spec('/a')])):
        facts = EpisodeFacts(f'empty_{number}')
        folder = EpisodeWriter(tmp_path, facts, specs).finish(*GOOD)
        assert rosbags_messages(folder) == []
        assert mcap_messages(folder / f'empty_{number}_0.mcap') == []


def test_what_cannot_be_a_message_is_refused_in_one_line(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path, FACTS, [spec('/a')])
    with pytest.raises(ValueError, match='/b is no stream of this episode'):
        writer.write(wire('/b', b'', 0))
    for stamps in ((-1, 0), (0, -1), (2**63, 0), (0, 2**63)):
        with pytest.raises(ValueError, match=r'expected 0 to 2\*\*63 - 1'):
            writer.write(WireMessage('/a', b'', *stamps))
    # A middleware without numbers, and numbers beyond MCAP's 32 bits.
    writer.write(WireMessage('/a', b'', 0, 0, NOT_NUMBERED))
    writer.write(WireMessage('/a', b'', 0, 0, 2**32 + 5))
    folder = writer.finish(*GOOD)
    assert [row[1] for row in mcap_messages(folder / 'episode_000000_0.mcap')] == [0, 5]


@given(payloads=st.lists(st.tuples(
    st.sampled_from(['/a', '/b', '/c']), st.binary(max_size=300),
    st.integers(0, 2**63 - 1), st.booleans()), max_size=30))
@settings(max_examples=30, deadline=None)
def test_any_payload_in_any_order_comes_out_again(
        tmp_path_factory: pytest.TempPathFactory,
        payloads: list[tuple[str, bytes, int, bool]]) -> None:
    writer = EpisodeWriter(tmp_path_factory.mktemp('bag'), FACTS)
    for topic, data, log_ns, flush in payloads:
        writer.add_stream(StreamSpec(topic, 'a_msgs/msg/A', 'int8 a'))
        writer.write(WireMessage(topic, data, log_ns, log_ns // 2))
        if flush:
            writer.flush()
    folder = writer.finish(*GOOD)
    expected = sorted((log_ns, topic, data) for topic, data, log_ns, _ in payloads)
    assert sorted((row[2], row[0], row[4]) for row in mcap_messages(
        folder / 'episode_000000_0.mcap')) == expected


def test_large_messages_close_chunks_by_themselves(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_file, 'CHUNK_BYTES', 10_000)
    # More pieces than the system takes at once, in a chunk that is written by parts.
    monkeypatch.setattr(scatter_write, 'PIECES_AT_ONCE', 7)
    writer = EpisodeWriter(tmp_path, FACTS, [spec('/a')])
    sent = [wire('/a', bytes([i % 251]) * 997, i) for i in range(100)]
    for message in sent:
        writer.write(message)
    assert writer.bytes > 90_000
    folder = writer.finish(*GOOD)
    assert [row[4] for row in mcap_messages(folder / 'episode_000000_0.mcap')] == [
        message.data for message in sent]
    assert rosbags_messages(folder) == [(m.topic, m.log_ns, m.data) for m in sent]


def readable(data: bytes, path: Path) -> Iterator[int]:
    """Yield the numbers of the messages that mcap's stream reader finds in ``data``."""
    path.write_bytes(data)
    with path.open('rb') as file:
        try:
            for record in StreamReader(file, validate_crcs=True).records:
                if type(record).__name__ == 'Message':
                    yield record.sequence
        except Exception:  # noqa: BLE001 - whatever the reader says of a cut record
            return


@pytest.fixture(scope='module')
def flushed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[tuple[int, int]]]:
    """Return an unfinished file, and after each flush its size and how many messages it has."""
    writer = EpisodeWriter(tmp_path_factory.mktemp('cut'), FACTS, [spec('/a')])
    marks = []
    for number in range(12):
        if number == 5:
            writer.add_stream(spec('/late'))
        topic = '/late' if number > 5 else '/a'
        writer.write(wire(topic, bytes([number]) * (number * 17), number))
        if number % 2:
            writer.flush()
            marks.append((writer.path.stat().st_size, number + 1))
    writer.abandon()
    return writer.path.read_bytes(), marks


@given(place=st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_a_file_cut_anywhere_holds_all_up_to_the_last_flush(
        tmp_path_factory: pytest.TempPathFactory, place: int,
        flushed: tuple[bytes, list[tuple[int, int]]]) -> None:
    data, marks = flushed
    size = place % (len(data) + 1)
    expected = max((count for end, count in marks if end <= size), default=0)
    path = tmp_path_factory.getbasetemp() / 'cut.mcap'
    found = list(readable(data[:size], path))
    assert found[:expected] == list(range(expected))
