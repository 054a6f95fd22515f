"""A person at a (pseudo) terminal records: keys, labels, trash, and a terminal given back."""

from collections.abc import Iterator
import os
from pathlib import Path
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

import fcntl  # noqa: E402

from chunked_vla_ros.core.recording import Outcome  # noqa: E402
from chunked_vla_ros.data.episode_folder import list_episodes, TRASH  # noqa: E402
from chunked_vla_ros.demo.free_domain import free_domain  # noqa: E402

pytestmark = pytest.mark.timeout(120)
LIMIT_S = 40.0
ESCAPE = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')
COMMAND = [sys.executable, '-m', 'chunked_vla_ros', 'record', '--robot', 'franka_fr3']


class Person:
    """Sees the screen and presses keys; the robot is one without cameras, which starts fast."""

    def __init__(self, out: Path, domain: int) -> None:
        self.person, self.terminal = pty.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 60, 160, 0, 0))
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [*COMMAND, '--out', str(out), '--domain-id', str(domain)], stdin=self.terminal,
            stdout=self.terminal, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, 'TERM': 'xterm', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
        self._seen = b''
        self.mark = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self._seen += os.read(self.person, 65536)
            except OSError:
                return

    @property
    def shown(self) -> str:
        """Return what was shown since the last key of the recorder's."""
        return ESCAPE.sub('', self._seen[self.mark:].decode(errors='replace'))

    def press(self, key: str) -> None:
        self.key, self.mark = key, len(self._seen)
        os.write(self.person, key.encode())

    def wait(self, *texts: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not all(text in self.shown for text in texts):
            assert time.monotonic() < deadline, f'no {texts} in {self.shown[-3000:]}'
            assert self.process.poll() is None, self.process.stderr.read()
            if 'is not there: has its node ended?' in self.shown:
                self.press(self.key)    # found too late on a busy machine: as a person would
            time.sleep(0.02)

    def do(self, key: str, *texts: str) -> None:
        self.press(key)
        self.wait(*texts)

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was said on the error stream."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        os.close(self.terminal)
        os.close(self.person)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    with free_domain() as domain:
        person = Person(tmp_path / 'episodes', domain)
        try:
            person.wait('idle', '/joint_states', 're-record')
            yield person
        finally:
            person.close()


def topics(bag: Path) -> set[str]:
    with rosbag2.Reader(bag) as reader:
        return {connection.topic for connection in reader.connections if connection.msgcount}


def test_a_session_by_keys(person: Any, tmp_path: Path) -> None:
    out = tmp_path / 'episodes'
    person.do('3', 'success refused', 'nothing is being recorded')
    person.do('1', 'episode_000000 is being recorded', '─ recording')
    for _ in range(30):
        person.press('q')
        time.sleep(0.03)    # a held key, as a terminal tells it
    person.do('8', 'stop it before the scene changes')
    person.do('3', 'episode_000000: ', 'success')
    person.do('7', 'episode_000001 is being recorded')
    person.do('6', 'episode_000001 is now in', 'episode_000001 is being recorded')
    person.do('4', 'episode_000001: ', 'failure')
    person.do('1', 'episode_000002 is being recorded')
    person.do('5', 'episode_000002 is now in')
    person.do('8', 'scene of seed 1')
    person.press('0')
    code, errors = person.end()
    recorded = {one.episode_id: one for one in list_episodes(out).episodes}
    assert {name: one.outcome for name, one in recorded.items()} == {
        'episode_000000': Outcome.SUCCESS, 'episode_000001': Outcome.FAILURE}
    assert sorted(path.name for path in (out / TRASH).iterdir()) == [
        'episode_000001.1', 'episode_000002.1']
    assert '/teleop/joint_targets' in topics(out / 'episode_000000'), 'keys reached the arm'
    assert '2 episodes, 1 success, 1 failure' in person.shown
    assert errors == ''
    assert code in (0, 1), 'as good as the machine let the recordings be'
    assert termios.tcgetattr(person.terminal) == person.before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back_and_the_episode_is_finished(
        person: Any, tmp_path: Path, number: signal.Signals) -> None:
    person.do('1', 'episode_000000 is being recorded')
    person.process.send_signal(number)
    code, errors = person.end()
    assert (code, errors) == (130, '')
    (one,) = list_episodes(tmp_path / 'episodes').episodes
    assert one.complete
    assert one.outcome is Outcome.UNLABELED
    assert termios.tcgetattr(person.terminal) == person.before


def test_without_a_terminal_it_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, '--out', str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=LIMIT_S)
    assert ended.returncode == 2
    assert ended.stderr == (
        'error: a person records by keys, but standard input is not a terminal: start this in a '
        'terminal, or add --expert\n')
