"""Bags damaged by the hundred: data, recorded damage or one line; no crash, hang or bomb."""

from collections.abc import Callable
from contextlib import closing
import json
from pathlib import Path
import random
import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from chunked_vla_ros.data.mcap_records import MAGIC, RECORD_HEADER

Mutate = Callable[[bytes, random.Random], bytes]
PROGRAM = Path(__file__).with_name('read_damaged_bags.py')
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'bags'
UPSTREAM = 'rosbag2_upstream/rosbag2_py/test/resources'
REAL_FILES = [
    'all_types/test_bag_mcap/test_bag_mcap.mcap',
    'all_types/test_bag_sqlite3/test_bag_sqlite3.db3',
    'humble_sensor_msgs/rosbag2_2025_09_10-13_03_56_0.mcap', f'{UPSTREAM}/mcap/talker/talker.mcap',
    f'{UPSTREAM}/mcap/convert_b/rewriter_b_0.mcap', f'{UPSTREAM}/mcap/wbag/wbag_1.mcap',
    f'{UPSTREAM}/sqlite3/talker/talker.db3', f'{UPSTREAM}/sqlite3/convert_b/rewriter_b_0.db3',
    f'{UPSTREAM}/sqlite3/wbag/wbag_1.db3',
    'rosbag2_upstream/rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.db3',
    'rosbag2_upstream/rosbag2_tests/resources/mcap/cdr_test/cdr_test_0.mcap']
SECONDS, MEGABYTES = 30, 400
FIELDS = (0, 1, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


@pytest.fixture(scope='module')
def whole_bags(tmp_path_factory: pytest.TempPathFactory,
               write_mcap: Callable[..., Path]) -> list[Path]:
    """Return whole files of either storage, real ones where they are."""
    folder = tmp_path_factory.mktemp('whole')
    kinds: list[dict[str, Any]] = [
        {}, {'compression': 'ZSTD'}, {'compression': 'LZ4'}, {'use_chunking': False}]
    made = [write_mcap(folder / f'{number}.mcap', 40, **kind) for number, kind in enumerate(kinds)]
    with closing(sqlite3.connect(folder / 'a.db3')) as connection:
        connection.execute('CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, '
                           'serialization_format TEXT, offered_qos_profiles TEXT)')
        connection.execute('CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, '
                           'timestamp INTEGER, data BLOB)')
        connection.execute('CREATE INDEX timestamp_idx ON messages (timestamp ASC)')
        connection.execute("INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/String', 'cdr', '')")
        connection.executemany(
            'INSERT INTO messages VALUES (?, 1, ?, ?)',
            [(i, i * 10**7, b'\0\1\0\0\3\0\0\0ok\0' + bytes(i * 40)) for i in range(1, 100)])
        connection.commit()
    return [*made, folder / 'a.db3', *(REAL / name for name in REAL_FILES if REAL.is_dir())]


def with_huge_fields(data: bytes, chance: random.Random) -> bytes:
    """Return a file with lengths and counts that ask for too much, where such fields are."""
    mutated = bytearray(data)
    places = []
    if data.startswith(MAGIC):
        at = len(MAGIC)
        while at + RECORD_HEADER.size <= len(data) - len(MAGIC):
            places += [at + 1, at + RECORD_HEADER.size, at + 25, at + 33, at + 41]
            at += RECORD_HEADER.size + RECORD_HEADER.unpack_from(data, at)[1]
    else:    # what a page of SQLite begins with: kind, free block, cells, their places
        size = int.from_bytes(data[16:18], 'big')
        places = [page + at for page in range(0, len(data), size)
                  for at in (0, 1, 3, 5, 8, 10, 12)]
        places += [*range(16, 100, 4)]
    for _ in range(chance.randint(1, 3)):
        at, size = chance.choice(places), chance.choice((2, 4, 8))
        mutated[at:at + size] = (chance.choice(FIELDS) % 256**size).to_bytes(
            size, chance.choice(('little', 'big')))
    return bytes(mutated)


def checksummed(path: Path) -> bool:
    """Return whether everything in a file that makes a message is under a checksum."""
    return path.suffix == '.mcap' and path.parent.name.startswith('whole') \
        and path.name != '3.mcap'


def check(folder: Path, whole_bags: list[Path], mutate: Mutate, seeds: range) -> None:
    """Damage a bag for each seed, read all and look at how each ended."""
    folder.mkdir()
    origin = {}
    for number, path in enumerate(whole_bags):
        origin[f'0_{number}{path.suffix}'] = path
        (folder / f'0_{number}{path.suffix}').write_bytes(path.read_bytes())
    for seed in seeds:
        chance = random.Random(seed)
        path = whole_bags[seed % len(whole_bags)]
        damage = with_huge_fields if chance.random() < 0.3 else mutate
        origin[f'1_{seed:06}{path.suffix}'] = path
        (folder / f'1_{seed:06}{path.suffix}').write_bytes(damage(path.read_bytes(), chance))
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(SECONDS), str(MEGABYTES)], text=True,
        capture_output=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f'after {len(answers)} bags: {done.stderr[-3000:]}'
    assert [answer['bag'] for answer in answers] == sorted(origin)
    whole = {origin[answer['bag']]: answer for answer in answers[:len(whole_bags)]}
    assert not [answer for answer in whole.values() if 'line' in answer or answer['damaged']]
    for answer in answers:
        if 'line' in answer:
            assert '\n' not in answer['line']
            assert answer['bag'] in answer['line']
        elif not answer['damaged'] and checksummed(origin[answer['bag']]):
            # Never a bag that looks whole and is not.
            assert answer['digest'] == whole[origin[answer['bag']]]['digest'], answer['bag']


def test_damaged_bags_end_in_data_recorded_damage_or_one_line(
        tmp_path: Path, whole_bags: list[Path], mutate: Mutate) -> None:
    check(tmp_path / 'bags', whole_bags, mutate, range(150))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('first', range(1000, 4000, 500))
def test_thousands_of_damaged_bags_do_too(
        tmp_path: Path, whole_bags: list[Path], mutate: Mutate, first: int) -> None:
    check(tmp_path / 'bags', whole_bags, mutate, range(first, first + 500))
