"""``chunked-vla bag info``: every bag is shown, what is none is one line and exit code 2."""

from collections.abc import Callable
import json
import os
from pathlib import Path
import sqlite3
from typing import Any

import pytest

from chunked_vla_ros.cli import main
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.episode_labels import add_label, Label

Writer = Callable[..., Path]
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bags'
REAL_BAGS = sorted(str(path.relative_to(REAL)) for pattern in ('*.mcap', '*.db3', 'metadata.yaml')
                   for path in REAL.rglob(pattern))
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason='real bags are absent (shared/data)')


def info(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(['bag', 'info', str(path), '--json']) == 0
    return dict(json.loads(capsys.readouterr().out))


def refusal(path: Path | str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(['bag', 'info', str(path)]) == 2
    out, complaint = capsys.readouterr()
    assert out == ''
    assert complaint.startswith('error: ')
    assert complaint.count('\n') == 1
    return complaint


def test_a_bag_is_shown_topic_by_topic(tmp_path: Path, write_bag: Writer,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', facts={'episode_id': 'bag', 'task': 'fetch'},
                    leave_out=range(21, 61, 2))
    assert main(['bag', 'info', str(bag)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 'duration    0.990 s' in lines
    assert 'task        fetch' in lines
    camera = next(line.split() for line in lines if line.startswith('/camera'))
    assert camera == ['/camera', 'std_msgs/msg/String', '30', '29.6', 'Hz', '0.420', 's', '20']
    rows = [line for line in lines if '█' in line]
    assert [row.split()[0] for row in rows] == ['/joint_states', '/camera']
    assert '·' not in rows[0]
    assert '·' in rows[1]


def test_json_holds_everything(tmp_path: Path, write_bag: Writer,
                               capsys: pytest.CaptureFixture[str]) -> None:
    content = info(write_bag(tmp_path / 'bag', facts={'streams': 'long'}), capsys)
    assert (content['storage'], content['messages'], content['duration_s']) == (
        'mcap', 100, 0.99)
    assert content['facts'] == {'streams': 'long'}
    assert content['warnings'] == []
    topic = content['topics'][0]
    assert (topic['topic'], topic['messages'], topic['lost']) == ('/joint_states', 50, 0)
    assert sum(topic['timeline']) == pytest.approx(50, abs=1)


def test_the_last_label_is_shown_and_an_unreadable_one_is_a_warning(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    add_label(bag, Label(Outcome.SUCCESS, '', 1))
    add_label(bag, Label(Outcome.FAILURE, 'dropped it', 2))
    assert [label['outcome'] for label in info(bag, capsys)['labels']] == ['success', 'failure']
    assert main(['bag', 'info', str(bag)]) == 0
    assert 'label     failure dropped it' in capsys.readouterr().out.splitlines()
    (bag / 'labels.json').write_text('{')
    content = info(bag, capsys)
    assert (content['labels'], content['messages']) == ([], 100)
    assert 'labels.json' in content['warnings'][0]
    assert main(['bag', 'verify', str(bag)]) == 1


def test_a_damaged_bag_is_shown_with_a_warning(tmp_path: Path, write_bag: Writer,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag.partial')
    file, = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:3000])
    content = info(bag, capsys)
    assert 0 < content['messages'] < 100
    assert any('it ends in the middle of a' in line for line in content['warnings'])
    assert 'the recording was not finished, or is going on' in content['warnings']


def test_a_terminal_is_not_commanded_by_a_bag(tmp_path: Path, write_bag: Writer,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', facts={'task': 'a\x1b[2Jb\nc\x07'})
    assert main(['bag', 'info', str(bag)]) == 0
    out = capsys.readouterr().out
    assert 'a\\x1b[2Jb\\nc\\x07' in out
    assert '\x07' not in out


def test_what_is_no_bag_is_one_line(tmp_path: Path, write_bag: Writer,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    assert 'no such file or directory' in refusal(tmp_path / 'nowhere', capsys)
    assert 'no bag in it, expected .mcap or .db3 files' in refusal(tmp_path, capsys)
    (tmp_path / 'episodes').mkdir()
    write_bag(tmp_path / 'episodes' / 'one')
    assert 'holds 1, name one of them' in refusal(tmp_path / 'episodes', capsys)
    (tmp_path / 'a.txt').write_text('hello')
    assert 'is no bag, expected' in refusal(tmp_path / 'a.txt', capsys)
    (tmp_path / 'a.mcap').write_bytes(b'')
    assert 'is empty' in refusal(tmp_path / 'a.mcap', capsys)
    (tmp_path / 'b.mcap.zstd').write_bytes(b'(\xb5/\xfd')
    assert 'zstd -d b.mcap.zstd' in refusal(tmp_path / 'b.mcap.zstd', capsys)
    os.mkfifo(tmp_path / 'pipe.mcap')
    assert 'is not a file' in refusal(tmp_path / 'pipe.mcap', capsys)
    assert 'no such bag' in refusal('a\0b', capsys)
    assert 'File name too long' in refusal('x' * 300, capsys)


@pytest.mark.parametrize('content', [
    '', 'rosbag2_bagfile_information: 3', '{', 'a: &a [*a]', '- 1', '\x00', '!!python/object:x',
    '[' * 5000, 'rosbag2_bagfile_information: {relative_file_paths: [../../../etc/passwd, 3]}',
    'rosbag2_bagfile_information: {relative_file_paths: {}, custom_data: [1]}'])
def test_no_metadata_keeps_the_messages_from_being_shown(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str],
        content: str) -> None:
    bag = write_bag(tmp_path / 'bag')
    (bag / 'metadata.yaml').write_text(content)
    assert info(bag, capsys)['messages'] == 100
    assert main(['bag', 'verify', str(bag)]) == 1


def test_a_sqlite3_bag_is_shown_and_a_broken_one_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'a.db3'
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT)')
        connection.execute('CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, '
                           'timestamp INTEGER, data BLOB)')
        connection.execute("INSERT INTO topics VALUES (7, '/a', 'std_msgs/msg/String')")
        connection.executemany('INSERT INTO messages VALUES (?, 7, ?, ?)',
                               [(i, i * 10**7, bytes(5000)) for i in range(1, 51)])
    connection.close()
    topic, = info(path, capsys)['topics']
    assert (topic['messages'], topic['bytes'], topic['lost']) == (50, 250_000, None)
    assert topic['rate_hz'] == pytest.approx(100.0)
    data = path.read_bytes()
    path.write_bytes(data[:50_000])
    assert 'a.db3: cannot be read as' in refusal(path, capsys)
    path.write_bytes(data[:100])
    assert 'a.db3' in refusal(path, capsys)
    path.write_bytes(b'')
    assert 'is empty' in refusal(path, capsys)


@needs_real
@pytest.mark.parametrize('name', REAL_BAGS)
def test_every_real_bag_is_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = REAL / name
    content = info(path.parent if path.name == 'metadata.yaml' else path, capsys)
    assert content['topics']
    assert main(['bag', 'info', str(path)]) == 0
    assert 'storage' in capsys.readouterr().out


@needs_real
def test_both_storages_of_the_same_messages_are_shown_alike(
        capsys: pytest.CaptureFixture[str]) -> None:
    mcap, sqlite = (
        {topic['topic']: (topic['type'], topic['messages'], topic['bytes'])
         for topic in info(REAL / 'all_types' / f'test_bag_{storage}', capsys)['topics']}
        for storage in ('mcap', 'sqlite3'))
    assert len(mcap) == 94
    assert mcap == sqlite
