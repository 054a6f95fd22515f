"""``chunked-vla convert`` as a process: exit codes, one-line errors, Ctrl-C, SIGKILL."""

import json
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

LIMIT_S = 90.0


@pytest.fixture
def command(bags, tmp_path):
    """Return the command line that converts the three bags to ``out``."""
    return [sys.executable, '-m', 'chunked_vla_ros', 'convert', str(bags), '--robot',
            str(bags.parent / 'robot.yaml'), '--out', str(tmp_path / 'out')]


def run(command, *options):
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False,
                          timeout=LIMIT_S)


def interrupted(command, folder, number):
    """Return a conversion that was sent ``number`` when its first episode was done."""
    process = subprocess.Popen(
        [*command, '--workers', '1'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_s = time.monotonic() + LIMIT_S
    while not list(folder.glob('out.partial/bags/*/0')) and process.poll() is None:
        assert time.monotonic() < until_s
        time.sleep(0.005)
    children = children_of(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=LIMIT_S)
    # Its worker ends with it, and does not write beside the next one.
    while any(map(is_alive, children)):
        assert time.monotonic() < until_s
        time.sleep(0.005)
    return process.returncode, errors


def is_alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def children_of(pid):
    try:
        return [int(child) for task in Path(f'/proc/{pid}/task').iterdir()
                for child in (task / 'children').read_text().split()]
    except OSError:    # it has ended
        return []


def test_after_a_kill_it_goes_on_to_the_same_dataset(command, tmp_path, undisturbed, content):
    interrupted(command, tmp_path, signal.SIGKILL)
    # On a machine that is slow to kill it was done; what it left then is the same.
    if not (tmp_path / 'out').exists():
        done = run(command, '--json', str(tmp_path / 'result.json'))
        assert (done.returncode, done.stdout) == (0, f'dataset: {tmp_path / "out"}\n'), done.stderr
        assert 'together' in done.stderr
        result = json.loads((tmp_path / 'result.json').read_text())
        assert (result['published'], result['episodes'], result['refused']) == (True, 3, 0)
        assert [Path(bag['bag']).name for bag in result['bags']] == ['bag_0', 'bag_1', 'bag_2']
    assert content(tmp_path / 'out') == undisturbed


def test_ctrl_c_is_one_line_and_code_130(command, tmp_path, undisturbed, content):
    code, errors = interrupted(command, tmp_path, signal.SIGINT)
    if (tmp_path / 'out').exists():    # it was done just then
        assert content(tmp_path / 'out') == undisturbed
        return
    assert errors == (f'stopped; what is done is kept in {tmp_path / "out.partial"}: run the '
                      'same again to go on\n')
    assert code == 130


def test_a_refused_bag_is_named_in_the_table_and_the_code_is_not_0(command, tmp_path):
    (tmp_path / 'bad.mcap').write_bytes(b'nothing')
    done = run([*command[:4], str(tmp_path / 'bad.mcap'), *command[4:]])
    assert done.returncode == 1
    assert 'refused: ' in done.stderr
    assert done.stderr.endswith(
        'error: 1 of 4 bags refused, no dataset made: mend them, or leave them out with '
        '--skip-bad\n')
    assert run([*command[:4], str(tmp_path / 'bad.mcap'), *command[4:]],
               '--skip-bad').returncode == 0


@pytest.mark.parametrize(('change', 'message'), [
    (('--robot', 'nobody'), 'nobody'),
    (('--crf', '60'), 'crf is 60, expected 0 to 51 for h264'),
    (('--out', ''), '--out is missing'),
    (('--fps', '0.01'), 'fps is 0.01, expected 0.1 to 1000'),
])
def test_a_mistake_is_one_line_and_code_2(command, tmp_path, change, message):
    done = run(command, *change)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith('error: ')
    assert done.stderr.count('\n') == 1
    assert not list(tmp_path.iterdir())
