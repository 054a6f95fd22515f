"""Messages of any bag come in the order of their log times, all of them, or one line says why."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
import io
from pathlib import Path
import sqlite3
import struct
import tempfile
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
import pytest
import zstandard

from chunked_vla_ros.data import mcap_chunk, mcap_messages
from chunked_vla_ros.data.bag_messages import BagError, BagReader
from chunked_vla_ros.data.mcap_events import Damage
from chunked_vla_ros.data.mcap_records import MAGIC, Opcode
from chunked_vla_ros.data.mcap_walk import Walk

Writer = Callable[..., Path]
Row = tuple[str, int, bytes]
START_NS = 1_700_000_000 * 10**9
MS = 1_000_000
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bags'
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason='real bags are absent (shared/data)')
WRONG_FORMAT = 'rosbag2_upstream/rosbag2_tests/resources/mcap/wrong_rmw_test'


def real_bags() -> list[str]:
    """Return every bag: directories that hold files of one bag, and files that are a whole bag."""
    files = [path for ending in ('*.mcap', '*.db3') for path in REAL.rglob(ending)]
    return sorted({str((path if path.parent.name == 'bags' else path.parent).relative_to(REAL))
                   for path in files})


def rows(bag: BagReader, **options: object) -> list[Row]:
    return [(message.topic, message.log_ns, message.data)
            for message in bag.messages(**options)]


def stamps(bag: BagReader, **options: object) -> list[int]:
    """Return log times in [ms] after the first test message."""
    return [(message.log_ns - START_NS) // MS for message in bag.messages(**options)]


def write_sqlite(path: Path, messages: Sequence[Row], encoding: str = 'cdr',
                 definition: str = 'string data\n') -> Path:
    """Write messages in this order, as rosbag2 lays them out since Iron."""
    names = sorted({topic for topic, _, _ in messages})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, '
                           'serialization_format TEXT, offered_qos_profiles TEXT)')
        connection.execute('CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, '
                           'timestamp INTEGER, data BLOB)')
        connection.execute('CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type '
                           'TEXT, encoding TEXT, encoded_message_definition TEXT)')
        connection.execute("INSERT INTO message_definitions VALUES (1, 'std_msgs/msg/String', "
                           "'ros2msg', ?)", (definition,))
        connection.executemany(
            "INSERT INTO topics VALUES (?, ?, 'std_msgs/msg/String', ?, '')",
            [(number, name, encoding) for number, name in enumerate(names)])
        connection.executemany(
            'INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)',
            [(names.index(topic), stamp, data) for topic, stamp, data in messages])
        connection.commit()
    return path


def write_stamps(path: Path, times_ms: Sequence[int], *, size: int = 40, per_chunk: int = 0,
                 first: int = 0, types: Sequence[str] = ('std_msgs/msg/String',)) -> Path:
    """Write one MCAP message per time [ms], in this order; ``per_chunk`` 0: no chunks."""
    with path.open('wb') as stream:
        writer = McapWriter(stream, use_chunking=per_chunk > 0,
                            compression=CompressionType.NONE)
        writer.start('ros2', 'test')
        channels = [writer.register_channel(
            '/a', 'cdr', writer.register_schema(name, 'ros2msg', b'string data\n'))
            for name in types]
        for index, time_ms in enumerate(times_ms):
            stamp = START_NS + time_ms * MS
            writer.add_message(channels[index % len(channels)], stamp,
                               b'\0\1\0\0' + bytes([(first + index) % 256] * size), stamp)
            if per_chunk and index % per_chunk == per_chunk - 1:
                writer.flush()
        writer.finish()
    return path


def by_mcap(files: Sequence[Path]) -> Iterator[Row]:
    """Return what the `mcap` library reads."""
    for path in files:
        with path.open('rb') as stream:
            for _, channel, message in make_reader(stream).iter_messages(log_time_order=True):
                yield channel.topic, message.log_time, message.data


@needs_real
@pytest.mark.parametrize('name', real_bags() or [''])
def test_every_real_bag_is_read_whole_or_refused_with_one_line(name: str) -> None:
    path = REAL / name
    bag = BagReader(path)
    assert bag.damaged == ()
    if name == WRONG_FORMAT:
        with pytest.raises(BagError, match="serialised as 'wrong_format', only cdr") as error:
            bag.messages()
        assert '\n' not in str(error.value)
        return
    found = rows(bag)
    assert len(found) == sum(topic.count for topic in bag.topics.values())
    assert [stamp for _, stamp, _ in found] == sorted(stamp for _, stamp, _ in found)
    assert (found[0][1], found[-1][1]) == (bag.start_ns, bag.end_ns)
    files = sorted(path.glob('*.mcap')) if path.is_dir() else [path]
    if files and files[0].suffix == '.mcap':
        theirs = list(by_mcap(files))
        assert sorted(found) == sorted(theirs)
        if len({stamp for _, stamp, _ in theirs}) == len(theirs):
            assert found == sorted(theirs, key=lambda row: row[1])


@needs_real
def test_both_storages_hold_the_same_messages_and_definitions() -> None:
    mcap, sqlite = (BagReader(REAL / f'all_types/test_bag_{kind}') for kind in ('mcap', 'sqlite3'))
    assert len(rows(mcap)) == 188
    # Sent twice, so stamps differ; test_wire_values.py compares the values.
    found, same = (sorted((topic, len(data)) for topic, _, data in rows(bag))
                   for bag in (mcap, sqlite))
    assert found == same
    assert dict(mcap.topics) == dict(sqlite.topics)
    assert len(mcap.topics) == 94
    # std_msgs/Empty has nothing in it.
    assert sum(not topic.definition for topic in mcap.topics.values()) == 1


@pytest.mark.parametrize('options', [
    {}, {'compression': 'ZSTD'}, {'compression': 'LZ4'}, {'use_chunking': False}])
def test_messages_come_however_they_are_stored(
        tmp_path: Path, write_mcap: Writer, options: dict[str, object]) -> None:
    bag = BagReader(write_mcap(tmp_path / 'a.mcap', facts={'task': 'x'}, **options))
    assert stamps(bag) == list(range(0, 1000, 10))
    assert (bag.topics['/camera'].count, bag.topics['/camera'].definition) == (50, 'string data\n')
    assert (bag.facts, bag.damaged) == ({'task': 'x'}, ())
    message = next(bag.messages())
    assert (message.type_name, message.publish_ns) == ('std_msgs/msg/String', START_NS - MS)


def test_split_files_that_overlap_are_put_in_order(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    write_stamps(folder / 'bag_2.mcap', [0, 10, 20, 20, 30])
    write_stamps(folder / 'bag_10.mcap', [5, 20, 40], per_chunk=2)
    bag = BagReader(folder)
    assert stamps(bag) == [0, 5, 10, 20, 20, 20, 30, 40]
    # Of equal times the earlier file's come first: bag_2 before bag_10.
    assert [row[2][4] for row in rows(bag)][3:6] == [2, 3, 1]


@pytest.mark.parametrize('per_chunk', [0, 1, 3, 100])
def test_messages_that_were_stored_out_of_order_are_put_in_order(
        tmp_path: Path, per_chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [50, 10, 60, 20, 0, 70, 30, 10, 40]
    path = write_stamps(tmp_path / 'a.mcap', times, per_chunk=per_chunk)
    assert stamps(BagReader(path)) == sorted(times)
    # Stretches that have to be unpacked again and again give the same.
    monkeypatch.setattr(mcap_messages, 'HELD_BYTES', 1)
    assert stamps(BagReader(path)) == sorted(times)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=9), min_size=1, max_size=3),
       st.integers(0, 4))
def test_any_files_are_put_in_order_by_time_then_file_then_place(
        files: list[list[int]], per_chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, times in enumerate(files):
            write_stamps(Path(folder, f'bag_{number}.mcap'), times, per_chunk=per_chunk, size=1,
                         first=number * 16)
        found = [((row[1] - START_NS) // MS, row[2][4]) for row in rows(BagReader(Path(folder)))]
    # The byte says of which file a message is, and where in it.
    assert found == sorted((time, number * 16 + place) for number, times in enumerate(files)
                           for place, time in enumerate(times))


def test_sqlite_files_are_put_in_order(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    write_sqlite(folder / 'b_0.db3', [('/a', START_NS + at * MS, b'1') for at in (20, 0, 10)])
    write_sqlite(folder / 'b_1.db3', [('/b', START_NS + at * MS, b'2') for at in (10, 5)])
    bag = BagReader(folder)
    assert [(row[0], (row[1] - START_NS) // MS) for row in rows(bag)] == [
        ('/a', 0), ('/b', 5), ('/a', 10), ('/b', 10), ('/a', 20)]
    assert bag.topics['/b'].definition == 'string data\n'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_topics_and_a_stretch_of_time_are_chosen(
        tmp_path: Path, write_mcap: Writer, storage: str) -> None:
    path = write_mcap(tmp_path / 'a.mcap')
    if storage == 'sqlite3':
        path = write_sqlite(tmp_path / 'a.db3', rows(BagReader(path)))
    bag = BagReader(path)
    chosen = list(bag.messages(['/camera'], START_NS + 300 * MS, START_NS + 390 * MS))
    assert {message.topic for message in chosen} == {'/camera'}
    assert [(message.log_ns - START_NS) // MS for message in chosen] == [310, 330, 350, 370, 390]
    assert rows(bag, topics=[]) == []


@pytest.mark.parametrize('per_chunk', [0, 4])
def test_memory_does_not_grow_with_the_bag(tmp_path: Path, per_chunk: int) -> None:
    path = write_stamps(tmp_path / 'a.mcap', range(300), size=100_000, per_chunk=per_chunk)
    tracemalloc.start()
    assert sum(len(message.data) for message in BagReader(path).messages()) == 300 * 100_004
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6_000_000


def test_a_bag_without_metadata_is_whole_and_one_without_a_file_is_not(
        tmp_path: Path, write_bag: Writer) -> None:
    folder = write_bag(tmp_path / 'bag', facts={'task': 'x'})
    text = (folder / 'metadata.yaml').read_text()
    assert BagReader(folder).damaged == ()
    (folder / 'metadata.yaml').write_text(text.replace(
        '  - "bag_0.mcap"', '  - "bag_0.mcap"\n  - bag_1.mcap'))
    damage, = BagReader(folder).damaged
    assert 'lists bag_1.mcap, which is not there' in damage
    (folder / 'metadata.yaml').unlink()
    bag = BagReader(folder)
    assert (bag.damaged, bag.facts['task'], len(rows(bag))) == ((), 'x', 100)


def test_custom_data_are_facts_too(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    write_stamps(folder / 'bag_0.mcap', [0])
    (folder / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information:\n  relative_file_paths: [bag_0.mcap]\n'
        '  message_count: 2\n  custom_data: {operator: Ann, trial: 7}\n')
    bag = BagReader(folder)
    assert bag.facts == {'operator': 'Ann', 'trial': '7'}
    assert bag.damaged == (f'{folder}/metadata.yaml: message_count is 2, there are 1',)


def test_messages_beside_the_damage_are_read_and_the_damage_is_told(
        tmp_path: Path, write_mcap: Writer) -> None:
    path = write_mcap(tmp_path / 'a.mcap')
    data = bytearray(path.read_bytes())
    at, chunks = len(MAGIC), []
    while at < len(data) - len(MAGIC):
        opcode, length = struct.unpack_from('<BQ', data, at)
        chunks += [at] if opcode == Opcode.CHUNK else []
        at += 9 + length
    data[chunks[3] + 200] ^= 4
    path.write_bytes(data)
    bag = BagReader(path)
    assert stamps(bag) == [*range(0, 300, 10), *range(400, 1000, 10)]
    assert f'{path}: the CRC of a chunk is wrong at byte {chunks[3]} of' in bag.damaged[0]
    path.write_bytes(data[:chunks[2]])
    bag = BagReader(path)
    assert stamps(bag) == list(range(0, 200, 10))
    assert 'it has no end' in ''.join(bag.damaged)


def test_a_chunk_of_more_records_than_any_recorder_writes_is_damage(
        tmp_path: Path, write_mcap: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mcap(tmp_path / 'a.mcap', 20, per_chunk=10)
    monkeypatch.setattr(mcap_chunk, 'MOST_RECORDS', 8)
    bag = BagReader(path)
    assert 'a chunk holds more than 8 records' in bag.damaged[0]
    assert len(rows(bag)) == bag.topics['/camera'].count + bag.topics['/joint_states'].count < 20


class CountedReads(io.BytesIO):
    """Bytes that count how many of them are read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.count += len(found)
        return found


def test_much_damage_close_together_is_not_read_again_and_again() -> None:
    chunk = struct.pack('<BQQQQIIQ', Opcode.CHUNK, 40, 0, 0, 0, 0, 0, 0)
    data = MAGIC + (chunk + b'\0') * 5000
    stream = CountedReads(data)
    damaged = [event for event in Walk(stream, len(data)).events() if isinstance(event, Damage)]
    assert len(damaged) == 5000
    assert stream.count < 100 * len(data)


def test_what_a_killed_sqlite_writer_left_is_told(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / 'a.db3', [('/a', START_NS, b'1')])
    assert BagReader(path).damaged == ()
    path.with_name('a.db3-wal').write_bytes(b'pages')
    damage, = BagReader(path).damaged
    assert 'its writer did not finish, what is in a.db3-wal is not read' in damage


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_messages_that_rosbag2_has_packed_are_unpacked(tmp_path: Path, storage: str) -> None:
    content = b'\0\1\0\0' + bytes(range(256))
    packed = zstandard.compress(content)
    if storage == 'sqlite3':
        path = write_sqlite(tmp_path / 'a.db3', [('/a', START_NS, packed)])
    else:
        path = tmp_path / 'a.mcap'
        with path.open('wb') as stream:
            writer = McapWriter(stream)
            writer.start('ros2', 'test')
            channel = writer.register_channel('/a', 'cdr', 0)
            writer.add_message(channel, START_NS, packed, START_NS)
            writer.add_message(channel, START_NS, packed[:-9], START_NS)
            writer.finish()
    found = rows(BagReader(path))
    assert found[0] == ('/a', START_NS, content)
    # What does not unpack stays what it is: no CDR, which the reader of values refuses.
    assert found[1:] == ([('/a', START_NS, packed[:-9])] if storage == 'mcap' else [])


def test_files_that_rosbag2_has_packed_are_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = tmp_path / 'bag'
    folder.mkdir()
    (folder / 'bag_0.db3.zstd').write_bytes(zstandard.compress(b'SQLite format 3'))
    (folder / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information:\n  relative_file_paths: [bag_0.db3.zstd]\n'
        '  compression_mode: FILE\n')
    with pytest.raises(BagError, match=r'unpack it first: zstd -d bag_0.db3.zstd'):
        BagReader(folder)


def test_a_topic_of_two_types_and_one_that_is_missing_are_refused(tmp_path: Path) -> None:
    path = write_stamps(tmp_path / 'a.mcap', [0, 10],
                        types=['std_msgs/msg/String', 'std_msgs/msg/Int8'])
    with pytest.raises(BagError, match="/a has two different type_names, 'std_msgs/msg/String'"):
        BagReader(path).messages()
    with pytest.raises(BagError, match=r'a.mcap: has no topic /b, it has: /a'):
        BagReader(path).messages(['/b'])


def test_a_bag_that_changes_while_it_is_read_is_refused(tmp_path: Path,
                                                        write_mcap: Writer) -> None:
    path = write_mcap(tmp_path / 'a.mcap')
    bag = BagReader(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BagError, match='has changed since it was opened'):
        next(bag.messages())


@pytest.mark.parametrize(('name', 'content', 'complaint'), [
    ('a.mcap', b'', 'is empty'), ('a.mcap', b'x' * 500, 'is not an MCAP file'),
    ('a.db3', b'', 'is empty'), ('a.db3', b'x' * 500, 'is not a sqlite3 file'),
    ('a.db3', b'SQLite format 3\0' + bytes(500), 'cannot be read as sqlite3'),
    ('a.bag', b'#ROSBAG V2.0', 'is no bag')])
def test_what_is_no_bag_is_refused_with_one_line(
        tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BagError, match=complaint) as error:
        BagReader(path)
    assert '\n' not in str(error.value)
    assert str(path) in str(error.value)


def test_a_path_without_a_bag_is_refused_with_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / 'none', tmp_path):
        with pytest.raises(BagError, match=str(path)):
            BagReader(path)
