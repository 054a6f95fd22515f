"""Rescue of damaged bags: everything whole is kept as it was, the rest is told, nothing else."""

from collections.abc import Callable
import hashlib
import json
from pathlib import Path
import struct

from mcap.reader import make_reader
from mcap.writer import Writer as McapWriter
import pytest
from rosbags.rosbag2 import Reader
import yaml

from chunked_vla_ros.core.recording import EpisodeFacts, OfferedQos, StreamSpec, WireMessage
from chunked_vla_ros.data.bag_checks import FileCheck
from chunked_vla_ros.data.bag_directory import BagError, find_bag
from chunked_vla_ros.data.bag_metadata import qos_text
from chunked_vla_ros.data.bag_metadata_check import compare_metadata
from chunked_vla_ros.data.bag_recovery import recover_bag, Recovery
from chunked_vla_ros.data.bag_scan import FileScan, scan_mcap, Watcher
from chunked_vla_ros.data.episode_writer import EpisodeWriter
from chunked_vla_ros.data.mcap_events import DamageKind

Writer = Callable[..., Path]
START_NS = 1_700_000_000 * 10**9
MS = 1_000_000
QOS = qos_text((OfferedQos(),))
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bags'


def recover(path: Path, out: Path) -> Recovery:
    return recover_bag(find_bag(path), out, 'jazzy')


def messages_of(path: Path) -> list[tuple[str, int, int, int, bytes]]:
    """Return what `mcap`'s reader finds, every CRC checked."""
    with path.open('rb') as stream:
        return sorted((channel.topic, message.log_time, message.publish_time, message.sequence,
                       message.data)
                      for _, channel, message in make_reader(
                          stream, validate_crcs=True).iter_messages())


def file_of(folder: Path) -> Path:
    path, = folder.glob('*.mcap')
    return path


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.iterdir()}


def chunks_of(path: Path) -> list[tuple[int, int]]:
    """Return where every chunk begins and ends."""
    data, at, found = path.read_bytes(), 8, []
    while at < len(data) - 8:
        opcode, length = struct.unpack_from('<BQ', data, at)
        found += [(at, at + 9 + length)] if opcode == 6 else []
        at += 9 + length
    return found


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(bytes(data))


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def assert_whole(folder: Path) -> None:
    """Hold the bag at ``folder`` against all that it says of itself."""
    checks: list[FileCheck] = []

    def check(scan: FileScan) -> Watcher:
        checks.append(FileCheck(scan))
        return checks[-1].see

    place = find_bag(folder)
    bag = scan_mcap(place.files, check)
    assert place.flaws == ()
    assert [line for each in checks for line in each.findings()] == []
    assert place.information is not None
    assert list(compare_metadata(place.information, bag)) == []


def read_by_rosbags(folder: Path) -> int:
    """Return how many messages rosbags reads."""
    with Reader(folder) as reader:
        assert reader.message_count == sum(1 for _ in reader.messages())
        return reader.message_count


def test_a_cut_file_becomes_a_valid_bag_of_all_that_was_whole(
        tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')
    before = messages_of(file_of(bag))
    start, _ = chunks_of(file_of(bag))[5]
    cut(file_of(bag), start + 20)
    untouched = digest(bag)
    recovery = recover(bag, tmp_path / 'out')
    assert digest(bag) == untouched
    after = messages_of(tmp_path / 'out' / 'out_0.mcap')
    assert len(after) == recovery.messages == 50
    assert set(after) <= set(before)
    assert read_by_rosbags(tmp_path / 'out') == 50
    assert_whole(tmp_path / 'out')
    assert recovery.lost_bytes == 20
    assert {path.name for path in tmp_path.iterdir()} == {'bag', 'out'}


def test_an_incomplete_chunk_gives_its_whole_messages_and_that_is_told(
        tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')
    _, end = chunks_of(file_of(bag))[5]
    cut(file_of(bag), end - 1)
    recovery = recover(bag, tmp_path / 'out')
    assert recovery.messages == 59
    assert any('9 messages are from the incomplete chunk' in note for note in recovery.notes)
    assert_whole(tmp_path / 'out')


def test_a_chunk_with_a_wrong_crc_is_left_out_and_told(tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')
    before = messages_of(file_of(bag))
    start, end = chunks_of(file_of(bag))[3]
    flip(file_of(bag), end - 5)
    recovery = recover(bag, tmp_path / 'out')
    lost = {row for row in before if START_NS + 300 * MS <= row[1] < START_NS + 400 * MS}
    assert set(messages_of(tmp_path / 'out' / 'out_0.mcap')) == set(before) - lost
    (_, damage), = recovery.damages
    assert (damage.kind, damage.offset, damage.length) == (DamageKind.CRC, start, end - start)
    for topic in recovery.topics:
        # Five of its messages, 20 ms apart: 120 ms of silence where 20 ms are usual.
        assert (topic.recovered, topic.lost_messages) == (45, 5)
        assert topic.lost_s == pytest.approx(0.1, abs=1e-3)
    assert_whole(tmp_path / 'out')


def test_the_time_lost_at_the_end_is_what_the_last_chunk_would_have_held(
        tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag', compression='ZSTD')
    start, _ = chunks_of(file_of(bag))[8]
    cut(file_of(bag), start + 70)
    recovery = recover(bag, tmp_path / 'out')
    last = {topic.topic: (topic.last_ns, topic.lost_s) for topic in recovery.topics}
    # The chunk says that it goes on until 890 ms; 20 ms of silence are usual.
    assert last['/camera'] == (START_NS + 790 * MS, pytest.approx(0.08, abs=1e-3))
    assert last['/joint_states'] == (START_NS + 780 * MS, pytest.approx(0.09, abs=1e-3))


@pytest.mark.parametrize('options', [
    {'compression': 'ZSTD'}, {'compression': 'LZ4'}, {'use_chunking': False}])
def test_packed_and_unchunked_bags_are_rescued_too(
        tmp_path: Path, write_bag: Writer, options: dict[str, object]) -> None:
    bag = write_bag(tmp_path / 'bag', **options)
    before = messages_of(file_of(bag))
    cut(file_of(bag), file_of(bag).stat().st_size // 2)
    recovery = recover(bag, tmp_path / 'out')
    assert 20 <= recovery.messages < 100
    assert set(messages_of(tmp_path / 'out' / 'out_0.mcap')) <= set(before)
    assert_whole(tmp_path / 'out')


def test_a_whole_bag_is_copied_message_by_message(tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')
    recovery = recover(bag, tmp_path / 'out')
    assert (recovery.messages, recovery.lost_bytes, recovery.damages) == (100, 0, [])
    assert messages_of(tmp_path / 'out' / 'out_0.mcap') == messages_of(file_of(bag))


def test_splits_become_one_file(tmp_path: Path, write_mcap: Writer) -> None:
    (tmp_path / 'bag').mkdir()
    for number in (0, 1, 10):    # natural order, not that of the alphabet
        write_mcap(tmp_path / 'bag' / f'bag_{number}.mcap', start_ns=START_NS + number * 10**9)
    cut(tmp_path / 'bag' / 'bag_10.mcap', 3000)
    recovery = recover(tmp_path / 'bag', tmp_path / 'out')
    assert 200 < recovery.messages < 300
    assert [path.name for path in find_bag(tmp_path / 'bag').files] == [
        'bag_0.mcap', 'bag_1.mcap', 'bag_10.mcap']
    assert read_by_rosbags(tmp_path / 'out') == recovery.messages
    assert_whole(tmp_path / 'out')


def test_splits_that_number_their_types_differently_are_not_mixed_up(tmp_path: Path) -> None:
    (tmp_path / 'bag').mkdir()
    for number, types in enumerate((('A', 'B'), ('B', 'A'))):
        with (tmp_path / 'bag' / f'bag_{number}.mcap').open('wb') as stream:
            writer = McapWriter(stream)
            writer.start('ros2', 'test')
            for name in types:
                schema = writer.register_schema(f'p/msg/{name}', 'ros2msg', name.encode())
                channel = writer.register_channel(f'/{name.lower()}', 'cdr', schema, {
                    'offered_qos_profiles': '' if number else QOS})
                writer.add_message(channel, START_NS + number, name.encode(), START_NS)
            writer.finish()
    recover(tmp_path / 'bag', tmp_path / 'out')
    with Reader(tmp_path / 'out') as reader:
        found = [(connection.topic, connection.msgtype, data)
                 for connection, _, data in reader.messages()]
    # More publishers in the first split than in the second: one channel all the same.
    assert sorted(found) == [('/a', 'p/msg/A', b'A')] * 2 + [('/b', 'p/msg/B', b'B')] * 2


def test_the_facts_survive_in_both_places(tmp_path: Path, write_bag: Writer) -> None:
    facts = {'episode_id': 'bag', 'task': 'put the cube away', 'outcome': 'success',
             'verdict': 'good', 'reasons': '["slow"]'}
    bag = write_bag(tmp_path / 'bag', facts=facts)
    (bag / 'metadata.yaml').unlink()
    (bag / 'labels.json').write_text('{"labels": []}')
    _, end = chunks_of(file_of(bag))[3]
    flip(file_of(bag), end - 5)
    recover(bag, tmp_path / 'out')
    custom = yaml.safe_load((tmp_path / 'out' / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']['custom_data']
    assert (custom['task'], custom['outcome']) == ('put the cube away', 'success')
    # Data is missing now, so it is no longer good.
    assert custom['verdict'] == 'usable'
    assert json.loads(custom['reasons'])[0] == 'slow'
    assert custom['recovered_from'] == 'bag'
    assert scan_mcap([tmp_path / 'out' / 'out_0.mcap']).facts == custom
    assert (tmp_path / 'out' / 'labels.json').read_text() == '{"labels": []}'


def test_an_episode_that_was_never_finished_becomes_a_bag(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path, EpisodeFacts('episode_000001', 'wave'),
                           [StreamSpec('/a', 'std_msgs/msg/String', 'string data\n')])
    for i in range(100):
        writer.write(WireMessage('/a', b'\0\1\0\0' + bytes(40), START_NS + i * MS, 0, i + 1))
        if i == 49:
            writer.flush()
    # What a SIGKILL leaves: the file as it is.
    recovery = recover(writer.folder, tmp_path / 'episode_000001')
    assert recovery.messages == 50
    assert_whole(tmp_path / 'episode_000001')
    custom = yaml.safe_load((tmp_path / 'episode_000001' / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']['custom_data']
    assert (custom['task'], custom['outcome']) == ('wave', 'unlabeled')
    writer.abandon()


def test_nothing_is_ever_overwritten(tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')
    for name, message in (('out', 'exists and is not overwritten, choose another --out'),
                          ('.out.recovering', 'is left from a recovery that was cut off')):
        (tmp_path / name).mkdir()
        with pytest.raises(BagError, match=message):
            recover(bag, tmp_path / 'out')
        assert list((tmp_path / name).iterdir()) == []
        (tmp_path / name).rmdir()
    with pytest.raises(BagError, match='exists and is not overwritten'):
        recover(bag, bag)
    with pytest.raises(BagError, match='lies inside of the damaged bag'):
        recover(bag, bag / 'deep' / 'out')
    assert not (bag / 'deep').exists()


@pytest.mark.parametrize(('data', 'message'), [
    (b'', 'is empty, nothing was ever written'), (bytes(5000), 'is not an MCAP file'),
    (b'\x89MCAP0\r\n', 'is not an MCAP file')])
def test_where_nothing_can_be_rescued_nothing_is_left_behind(
        tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / 'a.mcap').write_bytes(data)
    with pytest.raises(BagError, match=message):
        recover(tmp_path / 'a.mcap', tmp_path / 'out')
    assert [path.name for path in tmp_path.iterdir()] == ['a.mcap']


def test_an_interrupted_recovery_leaves_nothing_behind(tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')

    def interrupt(count: int) -> None:
        if count > 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover_bag(find_bag(bag), tmp_path / 'out', progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ['bag']


def test_a_bag_without_a_message_is_nothing_to_recover(tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag')
    cut(file_of(bag), chunks_of(file_of(bag))[0][0] + 30)
    with pytest.raises(BagError, match='holds no whole message, nothing to recover'):
        recover(bag, tmp_path / 'out')


def test_a_sqlite3_bag_is_sent_to_sqlite(tmp_path: Path) -> None:
    (tmp_path / 'a.db3').write_bytes(b'SQLite format 3\0')
    with pytest.raises(BagError, match=r'is sqlite3, recover rescues MCAP; try: sqlite3 a\.db3'):
        recover(tmp_path / 'a.db3', tmp_path / 'out')


@pytest.mark.skipif(not REAL.is_dir(), reason='real bags are absent (shared/data)')
@pytest.mark.parametrize('name', sorted(
    str(path.relative_to(REAL)) for path in REAL.rglob('*.mcap')))
def test_real_bags_survive_whole_and_cut(tmp_path: Path, name: str) -> None:
    data = (REAL / name).read_bytes()
    (tmp_path / 'whole.mcap').write_bytes(data)
    before = messages_of(tmp_path / 'whole.mcap')
    assert recover(tmp_path / 'whole.mcap', tmp_path / 'whole').messages == len(before)
    assert messages_of(tmp_path / 'whole' / 'whole_0.mcap') == before
    assert_whole(tmp_path / 'whole')
    if 'wrong_rmw' not in name:
        assert read_by_rosbags(tmp_path / 'whole') == len(before)
    (tmp_path / 'cut.mcap').write_bytes(data[:len(data) * 2 // 3])
    if scan_mcap([tmp_path / 'cut.mcap']).messages == 0:
        with pytest.raises(BagError, match='nothing to recover'):
            recover(tmp_path / 'cut.mcap', tmp_path / 'cut')
        return
    recover(tmp_path / 'cut.mcap', tmp_path / 'cut')
    assert set(messages_of(tmp_path / 'cut' / 'cut_0.mcap')) <= set(before)
    assert_whole(tmp_path / 'cut')
