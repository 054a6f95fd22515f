"""What becomes of tests with nodes while the machine stands still: the conftest of the root."""

from pathlib import Path
import shutil
import subprocess
import sys

ROOT = Path(__file__).parents[1]
# Nothing stands still here but the process that would notice.
TESTS = """
import os, signal, time
from pathlib import Path
import pytest

TRIES = Path(__file__).with_name('tries')

@pytest.fixture
def watch(pytestconfig):
    conftest, = (one for one in pytestconfig.pluginmanager.get_plugins() if hasattr(one, 'WATCH'))
    return pytestconfig.stash[conftest.WATCH]

def held(watch, seconds):
    os.kill(watch.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(watch.pid, signal.SIGCONT)
    end = time.monotonic() + 10.0
    while not watch.longest_s() and time.monotonic() < end:
        time.sleep(0.01)

def test_late_once(watch):
    with TRIES.open('a') as file:
        file.write('.')
    if TRIES.read_text() == '.':
        held(watch, 0.3)
        raise AssertionError('late')

def test_late_always(watch):
    held(watch, 0.3)
    raise AssertionError('late')

def test_wrong(watch):
    raise AssertionError('wrong')
"""


def outcomes(tmp_path: Path, folder: str) -> str:
    """Return what a run says of the tests above in a folder of ``test``."""
    place = tmp_path / 'test' / folder
    place.mkdir(parents=True)
    shutil.copy(ROOT / 'conftest.py', tmp_path)
    (place / 'test_late.py').write_text(TESTS)
    (tmp_path / 'pytest.ini').write_text('[pytest]\n')
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-raR', '-p', 'no:cacheprovider', str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + done.stderr


def test_a_test_that_fails_in_a_standstill_is_run_once_more_and_said(tmp_path: Path) -> None:
    said = outcomes(tmp_path, 'nodes')
    assert '2 failed, 1 passed, 2 rerun' in said, said
    for rerun in ('test_late_once', 'test_late_always'):
        assert f'RERUN test/nodes/test_late.py::{rerun}' in said
    assert 'stood still for 0.3' in said


def test_a_test_that_fails_without_one_stays_failed(tmp_path: Path) -> None:
    assert 'RERUN test/nodes/test_late.py::test_wrong' not in outcomes(tmp_path, 'nodes')


def test_tests_without_nodes_are_not_run_again(tmp_path: Path) -> None:
    said = outcomes(tmp_path, 'core')
    assert '3 errors' in said
    assert 'RERUN' not in said
