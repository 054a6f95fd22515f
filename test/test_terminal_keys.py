"""Single keys from a real (pseudo) terminal, which gets its settings back."""

from collections.abc import Iterator
import os
from pathlib import Path
import pty
import subprocess
import sys
import termios
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.terminal_keys import NoTerminalError, split_keys, TerminalKeys

LIMIT_S = 30.0


@pytest.fixture
def terminal() -> Iterator[tuple[int, Any]]:
    """Yield the person's end of a terminal, and the program's."""
    person, program = pty.openpty()
    with os.fdopen(program, encoding='utf-8') as stream:
        yield person, stream
    os.close(person)


def wait_for(keys: list[str], count: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while len(keys) < count:
        assert time.monotonic() < deadline, f'only {keys}'
        time.sleep(0.002)


def test_keys_come_at_once_without_enter(terminal: Any) -> None:
    person, stream = terminal
    keys: list[str] = []
    with TerminalKeys(keys.append, stream):
        os.write(person, b'q')
        wait_for(keys, 1)
        os.write(person, 'a ü\x1b[A'.encode())
        wait_for(keys, 5)
    assert keys == ['q', 'a', ' ', 'ü', 'up']


def test_the_terminal_gets_its_settings_back(terminal: Any) -> None:
    _, stream = terminal
    before = termios.tcgetattr(stream)
    reader = TerminalKeys(lambda _: None, stream)
    changed = termios.tcgetattr(stream)
    assert not changed[3] & (termios.ICANON | termios.ECHO)
    assert changed[3] & termios.ISIG, 'Ctrl-C must stay an interrupt'
    assert changed[6][termios.VSUSP] == b'\x00', 'Ctrl-Z must be off'
    reader.close()
    reader.close()
    assert termios.tcgetattr(stream) == before
    assert not reader.alive


def test_a_terminal_that_is_closed_ends_reading() -> None:
    person, program = pty.openpty()
    with os.fdopen(program, encoding='utf-8') as stream:
        reader = TerminalKeys(lambda _: None, stream)
        os.close(person)
        deadline = time.monotonic() + LIMIT_S
        while reader.alive:
            assert time.monotonic() < deadline, 'still reading'
            time.sleep(0.002)
        reader.close()


def test_a_file_is_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / 'keys'
    path.write_text('q')
    with path.open() as stream, pytest.raises(NoTerminalError, match='is not a terminal'):
        TerminalKeys(lambda _: None, stream)


def test_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'stdin', None)
    with pytest.raises(NoTerminalError, match='standard input is closed'):
        TerminalKeys(lambda _: None)


def test_in_the_background_nothing_is_read_as_that_would_stop_the_process() -> None:
    # A session whose terminal belongs to the process group of its first process.
    program = (
        'import fcntl, os, sys, termios\n'
        'fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n'
        'from chunked_vla_ros.terminal_keys import NoTerminalError, TerminalKeys\n'
        'child = os.fork()\n'
        'if child:\n'
        '    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, os.WUNTRACED)[1]))\n'
        'os.setpgid(0, 0)\n'
        'try:\n'
        '    TerminalKeys(print)\n'
        'except NoTerminalError as error:\n'
        '    sys.exit(7 if "background" in str(error) else 8)\n')
    person, stdin = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, '-c', program], stdin=stdin, capture_output=True, text=True,
            timeout=60, check=False, start_new_session=True)
    finally:
        os.close(person)
        os.close(stdin)
    assert done.returncode == 7, done.stderr


@pytest.mark.parametrize(('text', 'keys'), [
    ('ab', ['a', 'b']), ('\x1b[A\x1b[B', ['up', 'down']), ('\x1bOC', ['right']),
    ('\x1b', ['escape']), ('\x1b[1;5D', ['left']), ('\x1b[3~x', ['x']),
    ('\t\n ', ['\t', '\n', ' ']),
    ('', [])])
def test_sequences_become_names(text: str, keys: list[str]) -> None:
    assert list(split_keys(text)) == keys


@given(st.text(max_size=40))
def test_text_without_escapes_is_its_characters(text: str) -> None:
    plain = text.replace('\x1b', '')
    assert list(split_keys(plain)) == list(plain)
    assert all(split_keys(text))
