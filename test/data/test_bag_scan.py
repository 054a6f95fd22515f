"""What is in an MCAP file, whatever happened to it: counts are exact, damage ends no reading."""

from collections.abc import Callable
from pathlib import Path
import struct
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import zstandard

from chunked_vla_ros.data.bag_directory import BagError
from chunked_vla_ros.data.bag_scan import BagScan, require_mcap, scan_mcap
from chunked_vla_ros.data.mcap_events import DamageKind
from chunked_vla_ros.data.mcap_records import MAGIC, Opcode

Writer = Callable[..., Path]
START_NS = 1_700_000_000 * 10**9
MS = 1_000_000


def records_of(data: bytes) -> list[tuple[int, int, int]]:
    """Return opcode, start and end of every record of a whole file."""
    found, at = [], len(MAGIC)
    while at < len(data) - len(MAGIC):
        opcode, length = struct.unpack_from('<BQ', data, at)
        found.append((opcode, at, at + 9 + length))
        at = found[-1][2]
    return found


def scan_bytes(path: Path, data: bytes) -> BagScan:
    path.write_bytes(data)
    return scan_mcap([path])


def counts(bag: BagScan) -> dict[str, int]:
    return {name: topic.messages for name, topic in bag.topics.items()}


@pytest.mark.parametrize('options', [
    {}, {'compression': 'ZSTD'}, {'compression': 'LZ4'}, {'use_chunking': False},
    {'enable_crcs': False}])
def test_every_message_is_counted_however_it_is_stored(
        tmp_path: Path, write_mcap: Writer, options: dict[str, object]) -> None:
    bag = scan_mcap([write_mcap(tmp_path / 'a.mcap', **options)])
    assert counts(bag) == {'/joint_states': 50, '/camera': 50}
    assert (bag.start_ns, bag.end_ns) == (START_NS, START_NS + 990 * MS)
    assert bag.files[0].damages == []
    assert bag.files[0].chunks == (0 if 'use_chunking' in options else 10)
    camera = bag.topics['/camera']
    assert camera.types == ['std_msgs/msg/String']
    assert camera.bytes == 50 * 44
    report = camera.report(bag.end_ns)
    assert report.rate_hz == pytest.approx(50.0)
    assert (report.largest_gap_s, report.lost) == (0.02, 0)


def test_what_was_not_recorded_is_a_gap_and_a_loss(tmp_path: Path, write_mcap: Writer) -> None:
    # Messages 21, 23 and 25 are the camera's; the last before is 19, the next 27.
    bag = scan_mcap([write_mcap(tmp_path / 'a.mcap', leave_out=(21, 23, 25))])
    report = bag.topics['/camera'].report(bag.end_ns)
    assert (report.messages, report.lost, report.largest_gap_s) == (47, 3, 0.08)
    assert bag.topics['/joint_states'].report(bag.end_ns).lost == 0


def test_several_files_are_one_bag(tmp_path: Path, write_mcap: Writer) -> None:
    files = [write_mcap(tmp_path / 'a_0.mcap'),
             write_mcap(tmp_path / 'a_1.mcap', start_ns=START_NS + 10**9)]
    bag = scan_mcap(files)
    assert counts(bag) == {'/joint_states': 100, '/camera': 100}
    assert bag.end_ns == START_NS + 1990 * MS


def test_a_file_cut_at_any_byte_gives_every_message_before_the_cut(
        tmp_path: Path, write_mcap: Writer) -> None:
    data = write_mcap(tmp_path / 'whole.mcap', 12, per_chunk=4).read_bytes()
    ends = []    # where a message's last byte is, in uncompressed chunks
    for opcode, start, _ in records_of(data):
        if opcode == Opcode.CHUNK:
            at = start + 9 + 40
            _, chunk_length = struct.unpack_from('<BQ', data, start)
            while at < start + 9 + chunk_length:
                inner, length = struct.unpack_from('<BQ', data, at)
                at += 9 + length
                ends += [at] if inner == Opcode.MESSAGE else []
    assert len(ends) == 12
    data_end = next(end for opcode, _, end in records_of(data) if opcode == Opcode.DATA_END)
    for cut in range(len(data)):
        bag = scan_bytes(tmp_path / 'cut.mcap', data[:cut])
        # A chunk of which only its own header is there has nothing to be read by.
        assert bag.messages == sum(end <= cut for end in ends), cut
        assert bool(bag.files[0].damages) == (cut < data_end), cut


@pytest.mark.parametrize('compression', ['ZSTD', 'LZ4'])
def test_a_packed_file_cut_in_a_chunk_gives_every_chunk_before_it(
        tmp_path: Path, write_mcap: Writer, compression: str) -> None:
    data = write_mcap(tmp_path / 'a.mcap', compression=compression).read_bytes()
    chunks = [(start, end) for opcode, start, end in records_of(data) if opcode == Opcode.CHUNK]
    bag = scan_bytes(tmp_path / 'cut.mcap', data[:chunks[4][0] + 60])
    assert bag.messages == 40
    damage, = bag.files[0].damages
    assert (damage.kind, damage.offset) == (DamageKind.TRUNCATED, chunks[4][0])
    assert damage.end_ns == START_NS + 490 * MS


def test_a_chunk_with_a_flipped_bit_is_left_out_and_the_rest_is_read(
        tmp_path: Path, write_mcap: Writer) -> None:
    data = bytearray(write_mcap(tmp_path / 'a.mcap').read_bytes())
    chunks = [(start, end) for opcode, start, end in records_of(data) if opcode == Opcode.CHUNK]
    start, end = chunks[3]
    data[end - 5] ^= 1
    bag = scan_bytes(tmp_path / 'b.mcap', bytes(data))
    assert counts(bag) == {'/joint_states': 45, '/camera': 45}
    damage, = bag.files[0].damages
    assert (damage.kind, damage.offset, damage.length) == (DamageKind.CRC, start, end - start)
    assert sum(damage.messages.values()) == 10
    data_end = bag.files[0].data_end
    assert data_end is not None
    assert data_end.stored_crc != data_end.found_crc


@pytest.mark.parametrize('with_summary', [True, False])
def test_the_first_chunk_does_not_take_the_definitions_with_it(
        tmp_path: Path, write_mcap: Writer, with_summary: bool) -> None:
    data = bytearray(write_mcap(tmp_path / 'a.mcap').read_bytes())
    records = records_of(data)
    first = next(end for opcode, _, end in records if opcode == Opcode.CHUNK)
    data[first - 5] ^= 1
    if not with_summary:
        del data[next(start for opcode, start, _ in records if opcode == Opcode.DATA_END):]
    bag = scan_bytes(tmp_path / 'b.mcap', bytes(data))
    assert counts(bag) == {'/joint_states': 45, '/camera': 45}
    assert bag.files[0].definitions.fallbacks == (
        [] if with_summary else ['/camera', '/joint_states'])


@pytest.mark.parametrize('with_summary', [True, False])
@pytest.mark.parametrize('opcode', [Opcode.CHUNK, Opcode.MESSAGE_INDEX])
@pytest.mark.parametrize('byte', range(9))
def test_a_wrong_opcode_or_length_costs_no_other_chunk(
        tmp_path: Path, write_mcap: Writer, opcode: Opcode, byte: int, with_summary: bool) -> None:
    data = bytearray(write_mcap(tmp_path / 'a.mcap').read_bytes())
    records = records_of(data)
    places = [start for found, start, _ in records if found == opcode]
    data[places[4] + byte] ^= 0x20
    if not with_summary:
        del data[next(start for found, start, _ in records if found == Opcode.DATA_END):]
    bag = scan_bytes(tmp_path / 'b.mcap', bytes(data))
    assert bag.messages >= (90 if opcode == Opcode.CHUNK else 100)
    assert bag.files[0].damages


def test_a_tail_of_zeros_is_damage_and_ends(tmp_path: Path, write_mcap: Writer) -> None:
    data = write_mcap(tmp_path / 'a.mcap').read_bytes()
    end = next(start for opcode, start, _ in records_of(data) if opcode == Opcode.DATA_END)
    bag = scan_bytes(tmp_path / 'b.mcap', data[:end] + bytes(3_000_000))
    assert bag.messages == 100
    assert bag.files[0].damaged_bytes == 3_000_000


def chunk_record(size: int, body: bytes, compression: bytes = b'zstd') -> bytes:
    """Return a chunk that declares ``size`` bytes unpacked."""
    content = (struct.pack('<QQQII', START_NS, START_NS, size, 0, len(compression)) + compression
               + struct.pack('<Q', len(body)) + body)
    return struct.pack('<BQ', Opcode.CHUNK, len(content)) + content


@pytest.mark.parametrize('record', [
    struct.pack('<BQ', Opcode.CHUNK, 2**63), struct.pack('<BQ', Opcode.SCHEMA, 2**40),
    struct.pack('<BQ', Opcode.MESSAGE, 2**64 - 1), struct.pack('<BQ', 0x80, 2**62),
    chunk_record(2**62, zstandard.compress(bytes(100))),
    chunk_record(100, zstandard.compress(bytes(300_000_000))),
    chunk_record(2**60, b'', b''), chunk_record(2**40, bytes(100), b'lz4')],
    ids=['chunk', 'schema', 'message', 'private', 'zstd size', 'zstd bomb', 'empty', 'lz4 size'])
def test_a_declared_size_takes_no_memory(tmp_path: Path, write_mcap: Writer,
                                         record: bytes) -> None:
    data = write_mcap(tmp_path / 'a.mcap').read_bytes()
    first = next(start for opcode, start, _ in records_of(data) if opcode == Opcode.CHUNK)
    tracemalloc.start()
    bag = scan_bytes(tmp_path / 'b.mcap', data[:first] + record + data[first:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bag.messages == 100
    assert bag.files[0].damages
    assert peak < 20_000_000


@pytest.mark.parametrize(('data', 'message'), [
    (b'', 'is empty'), (b'\x89', 'is not an MCAP file'), (MAGIC, 'is not an MCAP file'),
    (b'SQLite format 3\0' + bytes(100), 'is not an MCAP file'),
    (bytes(range(256)) * 40, 'is not an MCAP file')])
def test_what_is_not_mcap_is_said_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    bag = scan_bytes(tmp_path / 'b.mcap', data)
    with pytest.raises(BagError, match=message) as caught:
        require_mcap(bag)
    assert '\n' not in str(caught.value)
    assert 'b.mcap' in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_make_a_scan_fail(tmp_path_factory: pytest.TempPathFactory, write_mcap: Writer,
                                   data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp('any')
    whole = bytearray(write_mcap(folder / 'a.mcap', 20, per_chunk=5).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        piece = data.draw(st.binary(max_size=20))
        whole[at:at + data.draw(st.sampled_from((0, len(piece))))] = piece
    bag = scan_bytes(folder / 'b.mcap', bytes(whole))
    assert all(damage.offset >= 0 and damage.offset + damage.length <= len(whole)
               for damage in bag.files[0].damages)
    assert all(topic.report(bag.end_ns).messages == topic.messages
               for topic in bag.topics.values())


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
def test_no_garbage_after_the_magic_makes_a_scan_fail(
        tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    scan_bytes(tmp_path_factory.mktemp('any') / 'b.mcap', MAGIC + body)
