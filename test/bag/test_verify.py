"""``chunked-vla bag verify``: 0 for a whole bag, 1 with a line for each fault, 2 for none."""

from collections.abc import Callable
import json
from pathlib import Path
import struct
from typing import Any
import zlib

import pytest
from rosbags.rosbag2 import Reader
import yaml

from chunked_vla_ros.bag.verify import find_faults
from chunked_vla_ros.cli import main
from chunked_vla_ros.core.recording import (
    EpisodeFacts,
    OfferedQos,
    Outcome,
    StreamSpec,
    Verdict,
    WireMessage,
)
from chunked_vla_ros.data.bag_directory import BagError, find_bag
from chunked_vla_ros.data.episode_writer import EpisodeWriter

Writer = Callable[..., Path]
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bags'
START_NS = 1_700_000_000 * 10**9
CHUNK, STATISTICS, CHUNK_INDEX, MESSAGE_INDEX = 0x06, 0x0B, 0x08, 0x07


def findings(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what verify says in JSON, after its text and its exit code agreed with it."""
    code = main(['bag', 'verify', str(path)])
    text = capsys.readouterr().out.splitlines()
    assert main(['bag', 'verify', str(path), '--json']) == code
    result = json.loads(capsys.readouterr().out)
    assert result['whole'] == (code == 0) == (not result['findings'])
    assert text[:len(result['findings'])] == result['findings']
    assert text[-1].startswith('whole: ' if code == 0 else 'not whole: ')
    return list(result['findings'])


def file_of(folder: Path) -> Path:
    path, = folder.glob('*.mcap')
    return path


def place(data: bytes, opcode: int, number: int = 0) -> tuple[int, int]:
    """Return where the body of a record begins and ends."""
    at, found = 8, []
    while at < len(data) - 8:
        kind, length = struct.unpack_from('<BQ', data, at)
        found += [(at + 9, at + 9 + length)] if kind == opcode else []
        at += 9 + length
    return found[number]


def change(path: Path, opcode: int, offset: int, number: int = 0, mend_summary: bool = True
           ) -> None:
    """Add 1 to a byte of a record's body, and make the summary's CRC right again."""
    data = bytearray(path.read_bytes())
    start, _ = place(bytes(data), opcode, number)
    data[start + offset] = (data[start + offset] + 1) % 256
    if mend_summary:
        summary, = struct.unpack_from('<Q', data, len(data) - 28)
        struct.pack_into('<I', data, len(data) - 12, zlib.crc32(data[summary:-12]))
    path.write_bytes(bytes(data))


def edit(folder: Path, edit_information: Callable[[dict[str, Any]], None]) -> None:
    path = folder / 'metadata.yaml'
    content = yaml.safe_load(path.read_text())
    edit_information(content['rosbag2_bagfile_information'])
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize('options', [
    {}, {'compression': 'ZSTD'}, {'compression': 'LZ4'}, {'use_chunking': False},
    {'enable_crcs': False}, {'use_statistics': False}, {'repeat_channels': False}])
def test_a_whole_bag_is_whole(tmp_path: Path, write_bag: Writer, options: dict[str, object],
                              capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(write_bag(tmp_path / 'bag', **options), capsys) == []


def test_a_recorded_episode_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = EpisodeWriter(tmp_path, EpisodeFacts('one', 'wave'), [
        StreamSpec('/a', 'std_msgs/msg/String', 'string data\n', 'RIHS01_' + 'a' * 64,
                   (OfferedQos(), OfferedQos('best_effort', depth=5))),
        StreamSpec('/silent', 'std_msgs/msg/String', 'string data\n')])
    for i in range(10):
        writer.write(WireMessage('/a', b'\0\1\0\0abcd', START_NS + i * 10**6, START_NS, i + 1))
    folder = writer.finish(Outcome.SUCCESS, Verdict.GOOD, [], [])
    assert findings(folder, capsys) == []
    edit(folder, lambda information: information.pop('custom_data'))
    line, = findings(folder, capsys)
    assert "custom_data with the episode's facts is gone" in line


@pytest.mark.parametrize(('opcode', 'offset', 'message'), [
    (CHUNK, -5, 'the CRC of a chunk is wrong at byte'),
    (CHUNK, 24, 'the CRC of a chunk is wrong at byte'),
    (CHUNK, 0, 'says other times than its messages'),
    (CHUNK, 16, 'unpacks to'),
    (MESSAGE_INDEX, 6, 'does not fit its messages'),
    (CHUNK_INDEX, 0, 'the summary says something else of the chunk at byte'),
    (CHUNK_INDEX, 16, 'the summary does not know the chunk at byte'),
    (CHUNK_INDEX, -8, 'the summary says something else of the chunk at byte'),
    (STATISTICS, 0, 'the summary counts 101 messages, there are 100'),
    (STATISTICS, 22, 'the summary counts 11 chunks, there are 10'),
    (STATISTICS, 26, 'as its first stamp'),
    (STATISTICS, -8, 'messages on /camera, there are 50')])
def test_one_changed_byte_is_found(tmp_path: Path, write_bag: Writer, opcode: int, offset: int,
                                   message: str, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    data = file_of(bag).read_bytes()
    start, end = place(data, opcode)
    change(file_of(bag), opcode, offset if offset >= 0 else end - start + offset)
    assert any(message in line for line in findings(bag, capsys))


def is_whole(path: Path) -> bool:
    """Return what the command's exit code says, without its words: a thousand times."""
    try:
        return not find_faults(find_bag(path))[1]
    except BagError:
        return False


def test_every_flipped_bit_of_a_file_with_crcs_is_found(
        tmp_path: Path, write_mcap: Writer) -> None:
    whole = write_mcap(tmp_path / 'whole.mcap', 6, per_chunk=3).read_bytes()
    # The last 4 bytes of the data section's end are a CRC that may be 0: it says 'none' then.
    path, missed = tmp_path / 'a.mcap', []
    for offset in range(0, len(whole), 3):
        data = bytearray(whole)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(bytes(data))
        if is_whole(path):
            missed.append(offset)
    assert missed == []


def test_a_flipped_bit_in_an_episode_of_ours_is_found_but_in_its_writers_name(
        tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path, EpisodeFacts('one', 'wave'),
                           [StreamSpec('/a', 'std_msgs/msg/String', 'string data\n')])
    for i in range(6):
        writer.write(WireMessage('/a', b'\0\1\0\0abcd', START_NS + i * 10**6, START_NS, i + 1))
        writer.flush()
    folder = writer.finish(Outcome.SUCCESS, Verdict.GOOD, [], [])
    path, missed = file_of(folder), []
    whole = path.read_bytes()
    _, header_end = place(whole, 0x01)
    for offset in range(0, len(whole), 7):
        data = bytearray(whole)
        data[offset] ^= 1 << offset % 8
        path.write_bytes(bytes(data))
        if is_whole(folder):
            missed.append(offset)
    # Nothing depends on what wrote the file, and no CRC covers its name.
    assert all(21 <= offset < header_end for offset in missed)


def test_a_damaged_summary_is_told_apart_from_damaged_messages(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    change(file_of(bag), STATISTICS, 0, mend_summary=False)
    line, = findings(bag, capsys)
    assert 'the CRC of the summary is wrong: messages are all there' in line


def test_a_cut_file_is_one_finding_and_its_missing_end_another(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    file_of(bag).write_bytes(file_of(bag).read_bytes()[:3000])
    first, second = findings(bag, capsys)
    assert 'it ends in the middle of a' in first
    assert 'save the rest with recover' in first
    assert 'it has no end' in second


def test_losses_are_findings(tmp_path: Path, write_mcap: Writer,
                             capsys: pytest.CaptureFixture[str]) -> None:
    line, = findings(write_mcap(tmp_path / 'a.mcap', leave_out=(21, 23)), capsys)
    assert line.startswith('/camera: 2 of 50 messages are missing')


def test_losses_of_two_publishers_are_told_as_a_lower_bound(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages do not say who sent them: 7 and 8 are missing, but perhaps more."""
    both = (OfferedQos(), OfferedQos())
    writer = EpisodeWriter(tmp_path, EpisodeFacts('one', 'wave'), [
        StreamSpec('/a', 'std_msgs/msg/String', 'string data\n', offered_qos=both)])
    for i, number in enumerate((5, 900, 6, 9, 901)):
        writer.write(WireMessage('/a', b'\0\1\0\0abcd', START_NS + i * 10**6, START_NS, number))
    folder = writer.finish(Outcome.SUCCESS, Verdict.GOOD, [], [])
    line, = findings(folder, capsys)
    assert '/a: at least 2 of 7 messages are missing' in line
    assert main(['bag', 'info', str(folder)]) == 0
    assert 'at least 2' in capsys.readouterr().out


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('version', 99, 'version is 99, expected 1 to 9'),
    ('storage_identifier', 'sqlite3', "storage is 'sqlite3', the files are mcap"),
    ('message_count', 101, 'message_count is 101, there are 100'),
    ('duration', {'nanoseconds': 5}, 'duration is 5 ns, the messages say 990000000 ns'),
    ('starting_time', {}, 'starting_time is None ns'),
    ('topics_with_message_count', [], 'does not list /camera with its 50 messages'),
    ('relative_file_paths', ['gone.mcap'], 'lists gone.mcap, which is not there'),
    ('custom_data', {'episode_id': 'x'}, 'lacks the facts of the episode')])
def test_metadata_that_differs_from_the_file_is_a_finding(
        tmp_path: Path, write_bag: Writer, key: str, value: object, message: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    edit(bag, lambda information: information.update({key: value}))
    assert any(message in line for line in findings(bag, capsys))


@pytest.mark.parametrize(('change_topic', 'message'), [
    (lambda topic: topic.update(message_count=7), 'has message_count 7, there are 50'),
    (lambda topic: topic['topic_metadata'].update(type='std_msgs/msg/Int8'),
     "is 'std_msgs/msg/Int8', the file says std_msgs/msg/String"),
    (lambda topic: topic['topic_metadata'].update(name='/elsewhere'),
     'lists /elsewhere with 50 messages, there are none')])
def test_a_topic_that_differs_is_a_finding(
        tmp_path: Path, write_bag: Writer, change_topic: Callable[[dict[str, Any]], None],
        message: str, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    edit(bag, lambda information: change_topic(information['topics_with_message_count'][0]))
    assert any(message in line for line in findings(bag, capsys))


def test_other_qos_is_a_finding_because_rosbags_then_reads_nothing(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    never = {'sec': 9223372036, 'nsec': 854775807}
    offered = {'history': 'keep_last', 'depth': 5, 'reliability': 'reliable',
               'durability': 'volatile', 'liveliness': 'automatic',
               'avoid_ros_namespace_conventions': False,
               'deadline': never, 'lifespan': never, 'liveliness_lease_duration': never}
    edit(bag, lambda information: information['topics_with_message_count'][0]['topic_metadata']
         .update(offered_qos_profiles=[offered]))
    line, = findings(bag, capsys)
    assert '/joint_states has other offered_qos_profiles than the file' in line
    with Reader(bag) as reader:
        assert {connection.topic for connection, _, _ in reader.messages()} == {'/camera'}


def test_a_missing_metadata_file_is_a_finding_for_the_directory_only(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    (bag / 'metadata.yaml').unlink()
    line, = findings(bag, capsys)
    assert 'metadata.yaml: is missing, write it anew with: ros2 bag reindex' in line
    assert findings(file_of(bag), capsys) == []


def test_an_episode_after_ros2_bag_reindex_is_as_whole_as_before(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard = OfferedQos(history='unknown', depth=0)    # what discovery tells
    writer = EpisodeWriter(tmp_path, EpisodeFacts('one', '12', operator='null'), [
        StreamSpec(topic, 'std_msgs/msg/Bool', 'bool data\n', offered_qos=(heard,))
        for topic in ('/a', '/b')])
    writer.write(WireMessage('/a', b'\x00\x01\x00\x00\x01', START_NS, START_NS))
    bag = writer.finish(Outcome.SUCCESS, Verdict.GOOD, [], [])
    edit(bag, as_reindex_writes)
    assert findings(bag, capsys) == []
    with Reader(bag) as reader:
        assert len(list(reader.messages())) == 1
    edit(bag, lambda information: information['custom_data'].update(task=13))
    told = findings(bag, capsys)
    assert any('custom_data and the MCAP differ in task' in line for line in told)


def as_reindex_writes(information: dict[str, Any]) -> None:
    """Change what rosbag2 0.26.5 changes when it writes the metadata of such a bag anew."""
    information['topics_with_message_count'].reverse()
    information['files'] = []
    facts = information['custom_data']
    facts.update(task=12, operator=None, start_ns=int(facts['start_ns']))
    for topic in information['topics_with_message_count']:
        for offered in topic['topic_metadata']['offered_qos_profiles']:
            offered['depth'] = offered['depth'] if offered['history'] == 'keep_last' else 10


def test_an_unlisted_file_and_an_unfinished_recording_are_findings(
        tmp_path: Path, write_bag: Writer, write_mcap: Writer,
        capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag.partial')
    write_mcap(bag / 'more.mcap', start_ns=START_NS + 10**9)
    lines = findings(bag, capsys)
    assert 'the recording was not finished, or is going on' in lines[0]
    assert 'more.mcap is not listed in metadata.yaml' in lines[1]


def test_what_is_no_bag_is_exit_code_2(tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'a.mcap').write_bytes(bytes(1000))
    for path in (tmp_path / 'a.mcap', tmp_path / 'nowhere', tmp_path):
        assert main(['bag', 'verify', str(path)]) == 2
        assert capsys.readouterr().err.count('\n') == 1


@pytest.mark.skipif(not REAL.is_dir(), reason='real bags are absent (shared/data)')
@pytest.mark.parametrize('name', [
    'abitobot', 'all_types/test_bag_mcap', 'all_types/test_bag_sqlite3',
    'humble_sensor_msgs/rosbag2_2025_09_10-13_03_56_0.mcap'])
def test_real_recordings_are_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(REAL / name, capsys) == []


@pytest.mark.skipif(not REAL.is_dir(), reason='real bags are absent (shared/data)')
@pytest.mark.parametrize('name', sorted(
    str(path.parent.relative_to(REAL)) for path in REAL.rglob('metadata.yaml')))
def test_every_real_bag_ends_in_a_verdict(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['bag', 'verify', str(REAL / name)]) in (0, 1)
    assert capsys.readouterr().err == ''
