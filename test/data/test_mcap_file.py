"""`McapFile` as it lies on the disk: what is taken back, and what a summary promises."""

from collections.abc import Iterator
from pathlib import Path
import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
import pytest

from chunked_vla_ros.data.mcap_file import McapFile
from chunked_vla_ros.data.scatter_write import _rest


@pytest.fixture
def file(tmp_path: Path) -> Iterator[McapFile]:
    """Return a file with two chunks of one message, each with a note after it."""
    made = McapFile(tmp_path / 'a.mcap', 'test')
    channel = made.add_channel('/a', made.add_schema('a_msgs/msg/A', 'ros2msg', b'int8 a'), 'cdr',
                               {})
    for number in (1, 2):
        made.add_message(channel, bytes([number]), number * 10, number, number)
        made.add_metadata(f'after {number}', {'number': str(number)})
    yield made
    made.close()


def content(path: Path) -> tuple[list[int], list[str]]:
    """Return the messages' numbers and the notes' names, both found by the index."""
    with path.open('rb') as stream:
        reader = make_reader(stream, validate_crcs=True)
        numbers = [message.sequence for _, _, message in reader.iter_messages()]
        assert reader.get_summary().statistics.message_count == len(numbers)
        return numbers, [record.name for record in reader.iter_metadata()]


def test_an_ending_may_be_repeated_and_continued(file: McapFile) -> None:
    for numbers in ([1, 2], [1, 2, 3]):
        file.finish()
        file.finish()
        assert content(file.path) == (numbers, ['after 1', 'after 2'])
        file.add_message(1, b'\3', 30, 3, 3)


def test_chunks_are_taken_back_one_by_one_with_what_follows_them(file: McapFile) -> None:
    for left in ([1], []):
        assert file.drop_last_chunk()
        file.finish()
        assert content(file.path) == (left, [f'after {number}' for number in left])
        assert file.unwritten[1] == 2 - len(left)
    assert not file.drop_last_chunk()
    assert file.messages == 2


def test_what_is_taken_back_can_be_written_again(file: McapFile) -> None:
    file.finish()
    file.drop_last_chunk()
    file.add_message(1, bytes(1000), 5, 5, 9)
    file.finish()
    # By log stamp: 5 ns before 10 ns.
    assert content(file.path) == ([9, 1], ['after 1'])


def test_the_summary_is_sealed(file: McapFile) -> None:
    file.finish()
    data = file.path.read_bytes()
    start, _, crc = struct.unpack('<QQI', data[-28:-8])
    assert crc == zlib.crc32(data[start:-12])


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / 'a.mcap'
    path.write_text('mine')
    with pytest.raises(FileExistsError):
        McapFile(path, 'test')
    assert path.read_text() == 'mine'


@given(pieces=st.lists(st.binary(max_size=5), max_size=6), share=st.floats(0.0, 1.0))
def test_after_a_write_by_halves_the_rest_is_written(pieces: list[bytes], share: float) -> None:
    whole = b''.join(pieces)
    written = round(share * len(whole))
    assert b''.join(_rest(list(pieces), written)) == whole[written:]
