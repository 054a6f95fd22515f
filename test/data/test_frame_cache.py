"""Decoded frames are kept once, whole or not at all, whoever asks for them at the same time."""

from collections import namedtuple
from collections.abc import Iterator
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from chunked_vla_ros.data import frame_cache
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.frame_cache import cache_folder, CacheFile, default_cache, fill

SHAPE = (3, 2, 4, 3)
Usage = namedtuple('Usage', 'free')


class Frames:
    """Frames of one value each, the row's number, that count how often they were decoded."""

    def __init__(self, rows: int = 3) -> None:
        self.rows, self.decoded = rows, 0

    def __call__(self) -> Iterator[np.ndarray]:
        for row in range(self.rows):
            self.decoded += 1
            yield np.full(SHAPE[1:], row, np.uint8)


@pytest.fixture
def frames() -> Frames:
    return Frames()


def test_frames_are_decoded_once_and_mapped_thereafter(tmp_path, frames):
    wanted, told = [CacheFile('front', SHAPE, frames)], []
    for _ in range(2):
        mapped, = fill(tmp_path / 'cache/data', wanted, on_frame=lambda: told.append(1))
        assert mapped.shape == SHAPE
        assert mapped[:, 0, 0, 0].tolist() == [0, 1, 2]
        assert not mapped.flags.writeable
    assert frames.decoded == len(told) == 3
    assert (tmp_path / 'cache/data/front.rgb').stat().st_size == 72


def test_a_dataset_without_rows_has_no_frames(tmp_path):
    mapped, = fill(tmp_path, [CacheFile('front', (0, 2, 4, 3), Frames(0))])
    assert mapped.shape == (0, 2, 4, 3)


def test_what_is_not_whole_is_written_again(tmp_path, frames):
    (tmp_path / 'front.rgb').write_bytes(b'x' * 71)
    (tmp_path / 'front.rgb.partial').write_bytes(b'of a process that was killed')
    mapped, = fill(tmp_path, [CacheFile('front', SHAPE, frames)])
    assert mapped[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.lock', 'front.rgb']


def test_frames_that_break_off_leave_nothing(tmp_path):
    def breaking() -> Iterator[np.ndarray]:
        yield np.zeros(SHAPE[1:], np.uint8)
        raise DatasetError('video.mp4: frame 1 cannot be decoded')

    with pytest.raises(DatasetError, match=r'video\.mp4: frame 1'):
        fill(tmp_path, [CacheFile('front', SHAPE, breaking)])
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']


def test_a_disk_too_small_is_told_before_the_first_frame(tmp_path, frames, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(300 << 20))
    big = CacheFile('front', (1000, 224, 224, 3), frames)
    with pytest.raises(DatasetError) as refused:
        fill(tmp_path, [big])
    said = str(refused.value)
    assert 'decoded frames need 151 MB' in said
    assert '315 MB are free' in said
    assert '--no-cache' in said
    assert '\n' not in said
    assert frames.decoded == 0
    fill(tmp_path, [CacheFile('front', SHAPE, frames)])
    with pytest.raises(DatasetError, match='need 100 MB'):
        fill(tmp_path, [CacheFile('wrist', SHAPE, frames)], more=100_000_000)


def test_a_disk_too_small_is_told_what_of_other_datasets_may_go(tmp_path, frames, monkeypatch):
    fill(tmp_path / 'cache/old', [CacheFile('front', SHAPE, frames)])
    (tmp_path / 'cache/notes').mkdir()
    (tmp_path / 'cache/notes/mine.txt').write_text('no frames')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(0))
    with pytest.raises(DatasetError) as refused:
        fill(tmp_path / 'cache/new', [CacheFile('front', SHAPE, frames)])
    assert f'{tmp_path / "cache"} has 72 B of other datasets' in str(refused.value)
    assert fill(tmp_path / 'cache/old', [CacheFile('front', SHAPE, frames)])
    shutil.rmtree(tmp_path / 'cache/old')
    with pytest.raises(DatasetError, match='free space, name another'):
        fill(tmp_path / 'cache/new', [CacheFile('front', SHAPE, frames)])


def test_a_folder_that_cannot_be_written_is_told_with_the_remedy(tmp_path, frames):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DatasetError, match=r'file.*cannot be kept.*--cache, or take --no-cache'):
        fill(tmp_path / 'file/data', [CacheFile('front', SHAPE, frames)])


def test_who_comes_second_waits_and_finds_the_frames(tmp_path, frames):
    fill(tmp_path, [])
    other, found = Frames(), []
    with (tmp_path / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: found.extend(
            fill(tmp_path, [CacheFile('front', SHAPE, other)])))
        waiting.start()
        (tmp_path / 'front.rgb').write_bytes(bytes(range(72)))    # what the first one writes
    waiting.join(30.0)
    assert found[0].reshape(-1).tolist() == list(range(72))
    assert other.decoded == 0


WRITER = """
import sys
from pathlib import Path
import numpy as np
from chunked_vla_ros.data.frame_cache import CacheFile, fill
def frames():
    yield np.zeros((64, 64, 3), np.uint8)
    print('writing', flush=True)
    sys.stdin.read()
fill(Path(sys.argv[1]), [CacheFile('front', (2, 64, 64, 3), frames)])
"""


def test_a_killed_writer_leaves_nothing_that_is_used_and_no_lock(tmp_path):
    with subprocess.Popen([sys.executable, '-c', WRITER, str(tmp_path)], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == 'writing\n'
        writer.send_signal(signal.SIGKILL)
        writer.wait(30.0)
    assert not (tmp_path / 'front.rgb').exists()
    mapped, = fill(tmp_path, [CacheFile('front', SHAPE, Frames())])
    assert mapped[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert not (tmp_path / 'front.rgb.partial').exists()


def test_the_folder_changes_with_the_datasets_files(tmp_path):
    data = tmp_path / 'data'
    (data / 'videos').mkdir(parents=True)
    video = data / 'videos/file.mp4'
    video.write_bytes(b'1234')
    os.utime(video, ns=(5, 5))
    first = cache_folder(tmp_path, data)
    assert first == cache_folder(tmp_path, data)
    assert first.name.startswith('data-')
    moved = tmp_path / 'elsewhere/data'
    shutil.copytree(data, moved)
    assert cache_folder(tmp_path, moved) == first    # a copy with its times is the same content
    os.utime(video, ns=(5, 6))
    later = cache_folder(tmp_path, data)
    video.write_bytes(b'12345')
    os.utime(video, ns=(5, 6))
    longer = cache_folder(tmp_path, data)
    video.rename(data / 'file.mp4')
    assert len({first, later, longer, cache_folder(tmp_path, data)}) == 4


def test_only_what_belongs_to_the_dataset_counts(tmp_path):
    data = tmp_path / 'data'
    for name in ('meta/info.json', 'videos/front/file.mp4'):
        (data / name).parent.mkdir(parents=True)
        (data / name).write_bytes(b'1')
    parts = ('meta', 'videos')
    first, everything = cache_folder(tmp_path, data, parts), cache_folder(tmp_path, data)
    (data / 'run/checkpoints').mkdir(parents=True)
    (data / 'run/checkpoints/state.json').write_text('{}')
    assert cache_folder(tmp_path, data, parts) == first
    assert cache_folder(tmp_path, data) != everything
    (data / 'videos/front/file.mp4').write_bytes(b'12')
    assert cache_folder(tmp_path, data, parts) != first


def test_files_behind_a_link_count_and_a_link_upwards_ends(tmp_path):
    data, disk = tmp_path / 'data', tmp_path / 'disk'
    (disk / 'front').mkdir(parents=True)
    (disk / 'front/file.mp4').write_bytes(b'1')
    (data / 'videos').mkdir(parents=True)
    (data / 'videos/all').symlink_to(disk)
    (disk / 'front/again').symlink_to(disk)
    first = cache_folder(tmp_path, data, ('videos',))
    assert first == cache_folder(tmp_path, data, ('videos',))
    (disk / 'front/file.mp4').write_bytes(b'12')
    assert cache_folder(tmp_path, data, ('videos',)) != first
    (disk / 'front/other.mp4').symlink_to(tmp_path / 'nowhere')
    with pytest.raises(DatasetError, match=r'other\.mp4: cannot be read'):
        cache_folder(tmp_path, data, ('videos',))


def test_one_file_is_a_dataset_too(tmp_path):
    (tmp_path / 'motion.npy').write_bytes(b'1')
    assert cache_folder(tmp_path, tmp_path / 'motion.npy').name.startswith('motion.npy-')


def test_the_users_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_cache() == tmp_path / 'chunked_vla_ros/frames'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert default_cache() == tmp_path / 'home/.cache/chunked_vla_ros/frames'


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, frames, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(frame_cache.os, 'fsync', full)
    with pytest.raises(DatasetError, match=r'No space left on device.*free space'):
        fill(tmp_path, [CacheFile('front', SHAPE, frames)])
    assert [path.name for path in tmp_path.iterdir()] == ['.lock']
