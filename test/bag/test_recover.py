"""``chunked-vla bag recover``: what it prints, where it writes, and what a full disk does."""

from collections.abc import Callable
import json
from pathlib import Path
import resource
import signal
import subprocess
import sys

import pytest

from chunked_vla_ros.cli import main

Writer = Callable[..., Path]


def damaged(bag: Path) -> Path:
    """Cut the file of ``bag`` in the middle and return the bag."""
    path, = bag.glob('*.mcap')
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    return bag


def test_what_was_lost_is_told_and_the_new_bag_is_whole(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    bag = damaged(write_bag(tmp_path / 'bag'))
    assert main(['bag', 'recover', str(bag)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any('it ends in the middle of a' in line for line in lines)
    assert any(line.startswith('lost ') for line in lines)
    assert lines[-1].endswith(str(tmp_path / 'bag_recovered'))
    assert main(['bag', 'verify', str(tmp_path / 'bag_recovered')]) == 0


def test_json_tells_the_same(tmp_path: Path, write_bag: Writer,
                             capsys: pytest.CaptureFixture[str]) -> None:
    bag = damaged(write_bag(tmp_path / 'bag.partial'))
    assert main(['bag', 'recover', str(bag), '--out', str(tmp_path / 'new' / 'x'), '--json']) == 0
    result = json.loads(capsys.readouterr().out)
    assert result['messages'] == sum(topic['recovered'] for topic in result['topics'])
    assert result['damages'][0]['kind'] == 'truncated'
    assert (tmp_path / 'new' / 'x' / 'x_0.mcap').is_file()


@pytest.mark.parametrize(('name', 'target'), [
    ('episode_000001.partial', 'episode_000001_recovered'), ('bag', 'bag_recovered')])
def test_the_new_bag_lies_beside_the_old_one(tmp_path: Path, write_bag: Writer, name: str,
                                             target: str) -> None:
    write_bag(tmp_path / name)
    assert main(['bag', 'recover', str(tmp_path / name)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((name, target))


def test_a_second_time_is_refused_in_one_line(tmp_path: Path, write_bag: Writer,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    assert main(['bag', 'recover', str(bag)]) == 0
    capsys.readouterr()
    assert main(['bag', 'recover', str(bag)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count('\n') == 1
    assert 'bag_recovered: exists and is not overwritten, choose another --out' in complaint


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
        tmp_path: Path, write_bag: Writer) -> None:
    bag = write_bag(tmp_path / 'bag', messages=1000)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    done = subprocess.run(
        [sys.executable, '-m', 'chunked_vla_ros', 'bag', 'recover', str(bag)], timeout=60,
        capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert 'File too large' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['bag']


def test_a_target_that_cannot_be_made_is_one_line(tmp_path: Path, write_bag: Writer,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag')
    (tmp_path / 'file').write_text('')
    assert main(['bag', 'recover', str(bag), '--out', str(tmp_path / 'file' / 'x')]) == 2
    assert 'Not a directory' in capsys.readouterr().err
    assert main(['bag', 'recover', str(bag), '--out', str(tmp_path / ('x' * 300))]) == 2
    assert 'File name too long' in capsys.readouterr().err


def test_a_bag_on_a_read_only_disk_is_recovered_to_another_one(
        tmp_path: Path, write_bag: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', str(disk)], check=False,
                             capture_output=True, text=True, timeout=20)
    if mounted.returncode:
        pytest.skip(f'nothing can be mounted here: {mounted.stderr.strip()}')
    try:
        bag = damaged(write_bag(disk / 'bag'))
        subprocess.run(['mount', '-o', 'remount,ro', str(disk)], check=True, timeout=20)
        assert main(['bag', 'recover', str(bag)]) == 2
        complaint = capsys.readouterr().err
        assert complaint == (f'error: {disk}/bag_recovered: cannot be written (Read-only file '
                             'system), choose another --out\n')
        assert main(['bag', 'recover', str(bag), '--out', str(tmp_path / 'new')]) == 0
        assert main(['bag', 'verify', str(tmp_path / 'new')]) == 0
    finally:
        subprocess.run(['umount', '-l', str(disk)], check=False, timeout=20)
