"""`EpisodeWriter` where something stands in its way: full disks, taken names, kills, no rights."""

from collections.abc import Callable, Iterator
from contextlib import suppress
import errno
import json
import os
from pathlib import Path
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import unicodedata

from mcap.exceptions import EndOfFile, McapError
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
import pytest
from rosbags.rosbag2 import Reader

from chunked_vla_ros.core.episode_name import EpisodeNameError
from chunked_vla_ros.core.recording import (
    EpisodeFacts,
    Outcome,
    StreamSpec,
    Verdict,
    WireMessage,
)
from chunked_vla_ros.data.bag_directory import find_bag
from chunked_vla_ros.data.bag_recovery import recover_bag
from chunked_vla_ros.data.episode_writer import EpisodeWriter

GOOD = (Outcome.SUCCESS, Verdict.GOOD, (), ())
FACTS = EpisodeFacts('one')
SPEC = StreamSpec('/a', 'a_msgs/msg/A', 'int8 a')
PRELUDE = """
import errno, json, os, resource, signal, sys
from pathlib import Path
from chunked_vla_ros.core.recording import *
from chunked_vla_ros.data.episode_writer import EpisodeWriter
root = Path(sys.argv[1])
spec = StreamSpec('/a', 'a_msgs/msg/A', 'int8 a')
"""
# Writes 10 kB messages and flushes each, until the system refuses; then finishes the bag.
FILL = PRELUDE + """
{limit}
writer = EpisodeWriter(root, EpisodeFacts('one'), [spec])
refusal = None
for number in range(1000):
    try:
        writer.write(WireMessage('/a', bytes([number % 251]) * 10_000, number, number, number))
        writer.flush()
    except OSError as error:
        refusal = error
        break
path = str(writer.path)
folder = writer.finish(Outcome.SUCCESS, Verdict.GOOD, [], [])
print(json.dumps({{'errno': refusal.errno, 'filename': refusal.filename, 'path': path,
                  'line': str(refusal), 'taken': writer.messages, 'folder': str(folder),
                  'verdict': writer.verdict, 'reasons': writer.reasons}}))
"""


def run(program: str, *arguments: object) -> dict:
    result = subprocess.run(
        [sys.executable, '-c', program, *map(str, arguments)], capture_output=True, text=True,
        check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def numbers(folder: Path) -> list[int]:
    """Return the numbers of the messages in a finished bag, agreed on by both readers."""
    path, = folder.glob('*.mcap')
    with path.open('rb') as file:
        found = [message.sequence for _, _, message in make_reader(
            file, validate_crcs=True).iter_messages()]
    with Reader(folder) as reader:
        assert reader.message_count == len(found) == len(list(reader.messages()))
    return found


def check_filled(told: dict, expected_errno: int) -> None:
    """Hold against each other what a writer told of a full disk and what is on the disk."""
    assert told['errno'] == expected_errno
    assert told['filename'] == told['path']
    assert '\n' not in told['line']
    found = numbers(Path(told['folder']))
    # The message that was refused is missing, and those that made room for the ending, if any.
    assert found == list(range(len(found)))
    unwritten = told['taken'] - len(found)
    assert 1 <= unwritten <= 3
    assert told['verdict'] == 'usable'
    reason = (f'{unwritten} of {told["taken"]} messages could not be written: '
              f'{os.strerror(expected_errno)}')
    assert told['reasons'] == [reason]


@pytest.mark.parametrize('limit', [100_000, 100_500, 101_500, 110_000])
def test_a_file_that_may_not_grow_any_further_becomes_a_bag(tmp_path: Path, limit: int) -> None:
    told = run(FILL.format(
        limit=f'resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))'), tmp_path)
    check_filled(told, errno.EFBIG)
    assert 8 <= len(numbers(tmp_path / 'one')) <= 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a factory that mounts a file system of so many bytes, where that is allowed."""
    mounted = []

    def mount(size: int) -> Path:
        path = tmp_path / 'disk'
        path.mkdir()
        result = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(path)],
            capture_output=True, text=True, check=False, timeout=20)
        if result.returncode:
            pytest.skip(f'no file system can be mounted here: {result.stderr.strip()}')
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(['umount', '-l', str(path)], check=False, timeout=20)


@pytest.mark.parametrize('pages', [60, 61, 62])
def test_what_fits_on_a_full_disk_becomes_a_bag(
        small_disk: Callable[[int], Path], pages: int) -> None:
    disk = small_disk(pages * 4096)
    told = run(FILL.format(limit=''), disk)
    check_filled(told, errno.ENOSPC)
    assert len(numbers(disk / 'one')) > 15


def test_a_disk_without_room_for_the_beginning_does_not_take_the_name(
        small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(4096)
    (disk / 'filler').write_bytes(bytes(4096))
    with pytest.raises(OSError, match='No space left') as refused:
        EpisodeWriter(disk, FACTS, [SPEC])
    assert refused.value.filename == str(disk / 'one.partial' / 'one_0.mcap')
    assert [path.name for path in disk.iterdir()] == ['filler']


def test_a_folder_without_the_right_to_write_is_named(tmp_path: Path) -> None:
    # Not below tmp_path, which nobody else may enter.
    with tempfile.TemporaryDirectory() as base:
        root = Path(base)
        root.chmod(0o555)
        told = run(PRELUDE + """
if os.getuid() == 0:
    os.setuid(65534)  # Nobody: no rights hold against root.
try:
    EpisodeWriter(root, EpisodeFacts('one'), [spec])
except OSError as error:
    print(json.dumps([error.errno, error.filename]))
""", root)
        assert told == [errno.EACCES, str(root / 'one.partial')]
        assert not list(root.iterdir())


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(OSError, match='file'):
        EpisodeWriter(tmp_path / 'file', FACTS)
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert EpisodeWriter(tmp_path / 'new' / 'deep', FACTS).finish(*GOOD).is_dir()


@pytest.mark.parametrize('taken', ['one', 'one.partial'])
@pytest.mark.parametrize('kind', ['folder', 'empty folder', 'file', 'broken link'])
def test_what_exists_is_never_overwritten(tmp_path: Path, taken: str, kind: str) -> None:
    path = tmp_path / taken
    if kind == 'file':
        path.write_text('mine')
    elif kind == 'broken link':
        path.symlink_to('nowhere')
    else:
        path.mkdir()
        if kind == 'folder':
            (path / 'one_0.mcap').write_text('mine')
    before = sorted((str(entry), entry.lstat().st_mtime_ns) for entry in tmp_path.rglob('*'))
    with pytest.raises(FileExistsError) as refused:
        EpisodeWriter(tmp_path, FACTS, [SPEC])
    assert refused.value.filename == str(path)
    assert sorted((str(entry), entry.lstat().st_mtime_ns)
                  for entry in tmp_path.rglob('*')) == before


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    first = EpisodeWriter(tmp_path, FACTS, [SPEC])
    with pytest.raises(FileExistsError, match=r'bag recover .*one\.partial'):
        EpisodeWriter(tmp_path, FACTS, [SPEC])
    first.write(WireMessage('/a', b'first', 1, 1, 1))
    assert numbers(first.finish(*GOOD)) == [1]


def test_a_name_taken_while_recording_keeps_the_bag_and_can_be_freed(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path, FACTS, [SPEC])
    writer.write(WireMessage('/a', b'ours', 1, 1, 7))
    (tmp_path / 'one').mkdir()
    (tmp_path / 'one' / 'theirs').write_text('theirs')
    with pytest.raises(FileExistsError, match=r'whole in .*one\.partial'):
        writer.finish(*GOOD)
    assert numbers(tmp_path / 'one.partial') == [7]
    (tmp_path / 'one').rename(tmp_path / 'other')
    assert numbers(writer.finish(*GOOD)) == [7]
    assert (tmp_path / 'other' / 'theirs').read_text() == 'theirs'


@pytest.mark.parametrize('name', ['', '.', '..', '../up', '/etc', 'a/b', 'a\0b', 'x' * 300,
                                  'x.partial', ' ', '.trash'])
def test_a_name_that_is_a_path_or_too_long_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EpisodeNameError) as refused:
        EpisodeWriter(tmp_path / 'root', EpisodeFacts(name))
    assert '\n' not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['Würfel-stapeln', '積み木 1', '🤖', 'x' * 100])
def test_names_in_any_script_and_of_any_allowed_length_work(tmp_path: Path, name: str) -> None:
    # Some keyboards send letters in two parts: equal names must be equal.
    typed = unicodedata.normalize('NFD', name)
    facts = EpisodeFacts(typed, task='積み木 \x85 \ud800 🤖', operator='a: [b')
    writer = EpisodeWriter(tmp_path, facts, [SPEC])
    writer.write(WireMessage('/a', b'', 1, 1, 1))
    folder = writer.finish(*GOOD)
    assert folder.name == name
    assert numbers(folder) == [1]
    with Reader(folder) as reader:
        custom = reader.storage.metadata.custom
    assert custom['episode_id'] == name
    # What UTF-8 cannot hold is replaced, nothing else.
    assert (custom['task'], custom['operator']) == ('積み木 \x85 \ufffd 🤖', 'a: [b')


def test_streams_that_contradict_each_other_do_not_take_the_name(tmp_path: Path) -> None:
    before = threading.enumerate()
    with pytest.raises(ValueError, match='/a is recorded as'):
        EpisodeWriter(tmp_path, FACTS, [SPEC, StreamSpec('/a', 'b_msgs/msg/B')])
    assert not list(tmp_path.iterdir())
    assert threading.enumerate() == before


def test_an_abandoned_recording_stays_as_it_is(tmp_path: Path) -> None:
    before = threading.enumerate()
    writer = EpisodeWriter(tmp_path, FACTS, [SPEC])
    writer.write(WireMessage('/a', b'', 1, 1, 1))
    writer.flush()
    assert len(threading.enumerate()) == len(before) + 1
    writer.abandon()
    writer.abandon()
    assert threading.enumerate() == before
    assert [path.name for path in tmp_path.rglob('*')] == ['one.partial', 'one_0.mcap']
    with writer.path.open('rb') as file:
        kinds = []
        with suppress(EndOfFile):
            kinds.extend(type(record).__name__ for record in StreamReader(file).records)
    assert kinds[-2:] == ['Message', 'MessageIndex']
    with pytest.raises(ValueError, match='no stream'):
        writer.write(WireMessage('/a', b'', 2, 2, 2))


def test_a_kill_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    program = PRELUDE + """
writer = EpisodeWriter(root, EpisodeFacts('one'), [spec])
for number in range(1000):
    writer.write(WireMessage('/a', b'small', number, number, number))
    if number % 10 == 9:
        writer.flush()
        print(number + 1, flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, '-c', program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = 0
    for line in child.stdout:
        told = int(line)
        if told == 300:
            child.send_signal(signal.SIGKILL)
    child.stdout.close()
    assert child.wait(timeout=20) == -signal.SIGKILL
    assert not (tmp_path / 'one').exists()
    found = []
    with (tmp_path / 'one.partial' / 'one_0.mcap').open('rb') as file:
        records = StreamReader(file, validate_crcs=True).records
        # The last chunk may be half written, after what the child told of.
        with suppress(McapError, struct.error):
            found.extend(record.sequence for record in records
                         if type(record).__name__ == 'Message')
    assert told >= 300
    assert found[:told] == list(range(told))


# Records episode after episode as fast as it can and tells how many messages each surely has.
RECORD_ON = PRELUDE + """
for episode in range(1000):
    name = f'episode_{episode:06d}'
    print(f'{name} 0', flush=True)    # one write: a kill cuts no line in two
    writer = EpisodeWriter(root, EpisodeFacts(name), [spec])
    for number in range(20):
        writer.write(WireMessage('/a', bytes(3000), number, number, number))
        if number % 5 == 4:
            writer.flush()
            print(f'{name} {number + 1}', flush=True)
    writer.finish(Outcome.SUCCESS, Verdict.GOOD, [], [])
"""


@pytest.mark.parametrize('seed', range(6))
def test_a_kill_at_any_moment_leaves_whole_bags_and_at_most_one_to_recover(
        tmp_path: Path, seed: int) -> None:
    """Beginnings and endings are as likely to be hit as messages."""
    chance = random.Random(seed)
    root = tmp_path / 'episodes'
    child = subprocess.Popen(
        [sys.executable, '-c', RECORD_ON, str(root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines, enough = [], chance.randrange(5, 60)
    for line in child.stdout:
        lines.append(line.split())
        if len(lines) == enough:
            spin = chance.randrange(3000)    # not always right after a line
            while spin:
                spin -= 1
            child.kill()
    child.stdout.close()
    child.wait(timeout=20)
    name, sure = lines[-1]
    finished = sorted(path.name for path in root.glob('episode_??????'))
    assert {line[0] for line in lines[:-1]} - {name} <= set(finished)
    for path in root.glob('episode_??????'):
        assert numbers(path) == list(range(20))
    for partial in root.glob('*.partial'):
        assert partial.name == f'{name}.partial'
        if int(sure):
            recover_bag(find_bag(partial), tmp_path / 'rescued')
            found = numbers(tmp_path / 'rescued')
            assert len(found) >= int(sure)
            assert found == list(range(len(found)))
