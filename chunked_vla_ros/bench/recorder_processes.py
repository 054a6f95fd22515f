"""
The two processes of a recording: a recorder, ours or a plain one, and the load that it records.

They are started together, and each ends with this process. Knows nothing about what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from chunked_vla_ros.bench.recorder_options import BenchRecorderOptions, LOG
from chunked_vla_ros.bench.shared_memory import remove_ownerless, segments_of
from chunked_vla_ros.graph import tied_process
from chunked_vla_ros.graph.transport import transport_environment
from chunked_vla_ros.nodes.recorder_load import camera_topics, JOINTS_TOPIC

OURS, PLAIN = 'ours', 'plain'
PROGRAMS = {OURS: 'chunked_vla_ros.nodes.recorder_node',
            PLAIN: 'chunked_vla_ros.nodes.plain_recorder'}
LOAD_PROGRAM = 'chunked_vla_ros.nodes.recorder_load'
# Two busy cores need their time until everybody has found everybody, and to close a large bag.
START_LIMIT_S, END_LIMIT_S = 90.0, 120.0
TAIL_BYTES = 400


class NoRecordingError(RuntimeError):
    """A recording could not be made; one line."""


@dataclass(frozen=True)
class Recording:
    """
    A recorder and its load at work.

    :ivar recorder: The recorder's process.
    :ivar folder: Where it makes its bag.
    """

    recorder: subprocess.Popen[str]
    load: subprocess.Popen[str]
    folder: Path
    log: Path

    def wait_for(self, kind: str) -> dict[str, Any]:
        """
        Return what the load says next.

        :raises NoRecordingError: it ends instead, or says something else than ``kind``.
        """
        assert self.load.stdout is not None
        line = self.load.stdout.readline()
        said: dict[str, Any] = json.loads(line) if line else {}
        if said.get('kind') != kind:
            end = self.log.read_text(encoding='utf-8', errors='replace')[-TAIL_BYTES:].split('\n')
            raise NoRecordingError(f'no recording: {" | ".join(filter(None, end))} ({self.log})')
        return said

    def go_on(self) -> None:
        """Let the operator stop the recording."""
        assert self.load.stdin is not None
        self.load.stdin.write('go on\n')
        self.load.stdin.flush()

    def kill_recorder(self) -> int:
        """End the recorder without any warning; return when that was, in [ns] since the epoch."""
        segments = segments_of(self.recorder.pid)
        killed_ns = time.time_ns()
        self.recorder.kill()
        self.recorder.wait()
        remove_ownerless(segments)
        return killed_ns


@contextmanager
def recording(options: BenchRecorderOptions, side: str, seconds: float, domain_id: int,
              folder: Path, *, doomed: bool = False) -> Iterator[Recording]:
    """
    Start a recorder and a load of ``seconds`` [s]; end both when the block does.

    :param doomed: The recorder will be killed: nobody stops the recording.
    """
    log = Path(options.out) / LOG
    topics = [*camera_topics(options.cameras), JOINTS_TOPIC]
    out = folder / 'bag'
    settings = {'out': str(out), 'topics': f'[{", ".join(topics)}]'}
    if side == OURS:
        settings |= {'robot': '""', 'min_free_mb': '1'}
    with log.open('a', encoding='utf-8') as errors:
        recorder = _start(PROGRAMS[side], [
            '--ros-args', *(word for name, value in settings.items()
                            for word in ('-p', f'{name}:={value}'))], domain_id, errors)
        load = _start(LOAD_PROGRAM, [
            '--cameras', str(options.cameras), '--width', str(options.width),
            '--height', str(options.height), '--rate-hz', str(options.rate_hz),
            '--joint-rate-hz', str(options.joint_rate_hz), '--seconds', str(seconds),
            *(['--doomed'] if doomed else [])], domain_id, errors)
    # Nothing waits for a process that hangs: without it, what is waited for ends.
    limit = threading.Timer(START_LIMIT_S + seconds + END_LIMIT_S, load.kill)
    limit.daemon = True
    limit.start()
    try:
        yield Recording(recorder, load, out, log)
        _wait(load, 'load')
        recorder.send_signal(signal.SIGINT)
        _wait(recorder, 'recorder')
    finally:
        limit.cancel()
        for process in (load, recorder):
            if process.poll() is None:
                process.kill()
                process.communicate()


def _start(program: str, arguments: list[str], domain_id: int,
           errors: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, **transport_environment(), 'ROS_DOMAIN_ID': str(domain_id),
                   'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    return subprocess.Popen(
        [sys.executable, '-S', '-E', str(Path(tied_process.__file__)), str(os.getpid()),
         sys.executable, '-m', program, *arguments],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)


def _wait(process: subprocess.Popen[str], name: str) -> None:
    """Wait until a process that has nothing more to do has ended."""
    try:
        process.communicate(timeout=END_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise NoRecordingError(f'the {name} did not end within {END_LIMIT_S:g} s') from error
