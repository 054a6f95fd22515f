"""Damaged bags by the hundred: info, verify and recover end, in one line or with a valid bag."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
import random
import shutil
import sqlite3
from typing import Any

import pytest
from rosbags.rosbag2 import Reader

from chunked_vla_ros.bag.info import BagInfoOptions, run_bag_info
from chunked_vla_ros.bag.recover import BagRecoverOptions, run_bag_recover
from chunked_vla_ros.bag.verify import BagVerifyOptions, find_faults, run_bag_verify
from chunked_vla_ros.data.bag_directory import find_bag
from chunked_vla_ros.data.bag_scan import scan_mcap
from chunked_vla_ros.data.mcap_records import Channel

Writer = Callable[..., Path]
Mutate = Callable[[bytes, random.Random], bytes]
SEEDS, ROUNDS = range(30), 10


@pytest.fixture(scope='module')
def whole_bags(tmp_path_factory: pytest.TempPathFactory, write_bag: Writer) -> list[Path]:
    """Return a bag of each kind of storage."""
    folder = tmp_path_factory.mktemp('whole')
    kinds: list[dict[str, Any]] = [
        {}, {'compression': 'ZSTD'}, {'compression': 'LZ4'}, {'use_chunking': False},
        {'enable_crcs': False}]
    return [write_bag(folder / f'bag_{i}', facts={'episode_id': 'x', 'task': 'y'}, messages=40,
                      **kind) for i, kind in enumerate(kinds)]


def examine(bag: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """Return the exit codes of the three commands, each of which has said what it should."""
    codes = {}
    for name, run in (('info', lambda: run_bag_info(BagInfoOptions(bag))),
                      ('verify', lambda: run_bag_verify(BagVerifyOptions(bag))),
                      ('recover', lambda: run_bag_recover(BagRecoverOptions(bag)))):
        codes[name] = run()
        complaint = capsys.readouterr().err
        assert complaint.count('\n') == (codes[name] == 2), complaint
        assert complaint.startswith('error: ') == (codes[name] == 2), complaint
    return codes


@pytest.mark.parametrize('seed', SEEDS)
def test_a_mutated_bag_is_told_and_rescued_as_far_as_it_goes(
        tmp_path: Path, whole_bags: list[Path], seed: int, mutate: Mutate,
        capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(seed)
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        bag = Path(shutil.copytree(chance.choice(whole_bags), folder / 'bag'))
        target = bag / 'metadata.yaml' if number == 9 else next(bag.glob('*.mcap'))
        target.write_bytes(mutate(target.read_bytes(), chance))
        codes = examine(bag, capsys)
        assert codes['info'] in (0, 2)
        assert codes['verify'] in (0, 1, 2)
        rescued = folder / 'bag_recovered'
        assert {path.name for path in folder.iterdir()} == (
            {'bag', 'bag_recovered'} if codes['recover'] == 0 else {'bag'})
        if codes['recover'] == 0:
            assert faults_of(rescued) == []


def test_a_mutated_sqlite3_bag_ends_in_data_or_one_line(
        tmp_path: Path, mutate: Mutate, capsys: pytest.CaptureFixture[str]) -> None:
    chance, whole, file = random.Random(1), tmp_path / 'whole.db3', tmp_path / 'a.db3'
    with closing(sqlite3.connect(whole)) as connection:
        connection.execute('CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, '
                           'serialization_format TEXT, offered_qos_profiles TEXT)')
        connection.execute('CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, '
                           'timestamp INTEGER, data BLOB)')
        connection.execute("INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/String', 'cdr', '')")
        connection.executemany('INSERT INTO messages VALUES (?, 1, ?, ?)',
                               [(i, i * 10**7, bytes(50)) for i in range(1, 100)])
        connection.commit()
    for _ in range(150):
        file.write_bytes(mutate(whole.read_bytes(), chance))
        codes = examine(file, capsys)
        assert codes['recover'] == 2
        assert codes['info'] in (0, 2)


def faults_of(bag: Path) -> list[str]:
    """Return what verify finds in a bag that rosbags reads, too; what is gone stays gone."""
    with Reader(bag) as reader:
        assert reader.message_count > 0
        # An encoding whose name was hit, where nothing else in the file states it.
        if all(each.encoding == 'cdr' for each in channels_of(bag)):
            assert sum(1 for _ in reader.messages()) == reader.message_count
    _, findings, _ = find_faults(find_bag(bag))
    return [line for line in findings if 'messages are missing' not in line]


def channels_of(bag: Path) -> list[Channel]:
    """Return the channels of a rescued bag."""
    scan, = scan_mcap(find_bag(bag).files).files
    return list(scan.definitions.channels.values())
