"""Run one long command of the set-up: one line of progress, the whole output in a log file."""

from __future__ import annotations

from pathlib import Path
import shutil
import subprocess
import sys
import time

from preflight import SetUpError

LINES_SHOWN_ON_FAILURE = 15


class Stage:
    """A named step; its log is ``log/set_up/<name>.log`` under ``root``."""

    def __init__(self, name: str, root: Path) -> None:
        self._name, self._root = name, root
        self._log = root / 'log' / 'set_up' / (name.replace(' ', '_') + '.log')

    def run(self, command: list[str], environment: dict[str, str]) -> None:
        """
        Run ``command`` with no standard input, showing its newest line where there is a terminal.

        :raises SetUpError: if it fails, after the last lines of its output.
        """
        self._log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        if not sys.stdout.isatty():
            print(f'{self._name} ...', flush=True)
        with self._log.open('w') as log, subprocess.Popen(
                command, cwd=self._root, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors='replace') as process:
            assert process.stdout is not None    # PIPE above
            for line in process.stdout:
                log.write(line)
                self._show(line.strip(), started)
        self._finish(process.returncode, time.monotonic() - started)

    def _show(self, line: str, started: float) -> None:
        if sys.stdout.isatty() and line:
            width = shutil.get_terminal_size().columns - 1
            text = f'{self._name} {time.monotonic() - started:4.0f} s  {line}'
            print(f'\r\x1b[K{text[:width]}', end='', flush=True)

    def _finish(self, returncode: int, elapsed_s: float) -> None:
        clear = '\r\x1b[K' if sys.stdout.isatty() else ''
        if returncode == 0:
            print(f'{clear}{self._name}: done in {elapsed_s:.0f} s', flush=True)
            return
        tail = self._log.read_text().splitlines()[-LINES_SHOWN_ON_FAILURE:]
        print(clear + '\n'.join(tail), flush=True)
        raise SetUpError(
            f'{self._name} failed with exit code {returncode}; '
            f'everything it said is in {self._log.relative_to(self._root)}')
