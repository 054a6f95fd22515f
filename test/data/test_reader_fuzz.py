"""Damaged datasets by the hundred: each reader ends in rows and pictures, or in one line."""

import json
from pathlib import Path
import random
import struct

import cv2
import numpy as np
import pytest

from chunked_vla_ros.data.crc32c import masked_crc32c
from chunked_vla_ros.data.datasets import DatasetError, open_dataset

ROUNDS = 60
CAMERA = 'observation.images.front'


def outcome(root: Path) -> str:
    """Return '' if a dataset can be read, else the one line that says why not."""
    try:
        dataset = open_dataset(root)
        for index in dataset.episodes:
            rows = len(dataset.episode(index).times_s)
            assert all(values.shape == (rows,) for values in dataset.columns(index).values())
            dataset.facts(index)
            for camera in dataset.cameras:
                assert sum(1 for _ in dataset.frames(index, camera)) == rows
    except DatasetError as error:
        return str(error)
    return ''


def attack(root: Path, mutate, seed: int, pattern: str = '*') -> int:
    """Damage one file of ``root`` after the other; return how often it could still be read."""
    chance, readable = random.Random(seed), 0
    files = sorted(path for path in root.rglob(pattern) if path.is_file())
    for _ in range(ROUNDS):
        target = chance.choice(files)
        whole = target.read_bytes()
        target.write_bytes(mutate(whole, chance))
        complaint = outcome(root)
        target.write_bytes(whole)
        readable += not complaint
        assert '\n' not in complaint
    return readable


@pytest.fixture
def pictures(v3, rewrite):
    """Return a v3 dataset with its pictures in the table."""
    info = json.loads((v3 / 'meta/info.json').read_text())
    info['features'][CAMERA]['dtype'] = 'image'
    (v3 / 'meta/info.json').write_text(json.dumps(info))
    noise = np.random.default_rng(0).integers(0, 255, (10, 12, 16, 3), np.uint8)
    rewrite(v3 / 'data/chunk-000/file-000.parquet', CAMERA, [
        {'bytes': cv2.imencode('.jpg' if row % 2 else '.png', each)[1].tobytes(), 'path': ''}
        for row, each in enumerate(noise)])
    return v3


@pytest.mark.parametrize('layout', ['v2', 'v3', 'pictures'])
def test_a_damaged_lerobot_dataset_is_read_or_refused_in_one_line(request, mutate, layout):
    root = request.getfixturevalue(layout)
    assert outcome(root) == ''
    assert attack(root, mutate, 1) < ROUNDS


def test_damaged_arrays_are_read_or_refused_in_one_line(tmp_path, mutate):
    rows = np.zeros((50, 42))
    rows[:, 0] = np.arange(50) * 1e6
    np.save(tmp_path / 'a.npy', rows)
    assert outcome(tmp_path) == ''
    assert attack(tmp_path, mutate, 2) < ROUNDS


def framed(content: bytes) -> bytes:
    """Return ``content`` as a record whose CRCs are right, whatever it is."""
    head = struct.pack('<Q', len(content))
    return head + struct.pack('<I', masked_crc32c(head)) + content \
        + struct.pack('<I', masked_crc32c(content))


def field(number: int, content: bytes) -> bytes:
    """Return a protobuf field of less than 2^14 bytes."""
    size = len(content)
    return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7]) + content


def test_a_damaged_record_with_right_crcs_is_read_or_refused_in_one_line(tmp_path, mutate):
    picture = cv2.imencode('.png', np.arange(48, dtype=np.uint8).reshape(4, 4, 3))[1].tobytes()
    values = {'steps/is_first': field(3, field(1, bytes([1, 0]))),
              'steps/observation/state': field(2, field(1, struct.pack('<4f', 1, 2, 3, 4))),
              'steps/action': field(2, field(1, struct.pack('<2f', 1, 2))),
              'steps/observation/image': field(1, field(1, picture) * 2),
              'steps/language_instruction': field(1, field(1, b'push') * 2)}
    whole = field(1, b''.join(field(1, field(1, name.encode()) + field(2, value))
                              for name, value in values.items()))
    file, chance = tmp_path / 'a.tfrecord', random.Random(3)
    file.write_bytes(framed(whole))
    assert outcome(tmp_path) == ''
    complaints = []
    for _ in range(4 * ROUNDS):
        file.write_bytes(framed(mutate(whole, chance)))
        complaints.append(outcome(tmp_path))
    assert not any('\n' in each for each in complaints)
    assert 0 < sum(not each for each in complaints) < len(complaints)
    file.write_bytes(framed(whole))
    assert attack(tmp_path, mutate, 4) == 0     # every damage shows in a CRC or in the framing
