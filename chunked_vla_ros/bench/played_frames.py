"""
Play a dataset's camera frames beside a graph, by ``chunked-vla play`` in a process of its own.

The frames come again and again until the block ends: a policy that waits for cameras plans once
more after the last recorded frame. Knows nothing about what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import subprocess
import sys

from chunked_vla_ros.graph import tied_process

SUBSCRIBER_LIMIT_S = 20.0
END_LIMIT_S = 10.0


class NoFrames(RuntimeError):
    """The player ended before it was told to; one line."""


@contextmanager
def played_frames(dataset: Path, episode: int, robot: str,
                  log_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """
    Play the cameras of ``episode`` in the ROS domain of this process's environment.

    What the player says goes to the end of ``log_path``; yields its process.

    :raises NoFrames: if it ended by itself.
    """
    command = [
        sys.executable, '-m', 'chunked_vla_ros', 'play', str(dataset), '--episode', str(episode),
        '--topics', 'cameras', '--robot', robot, '--loop', '--wait-for-subscribers',
        str(SUBSCRIBER_LIMIT_S)]
    with log_path.open('a', encoding='utf-8') as log:
        process = subprocess.Popen(
            [sys.executable, '-S', '-E', tied_process.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            start_new_session=True)
        try:
            yield process
            if process.poll() is not None:
                raise NoFrames(f'the player of {dataset} ended by itself, with exit code '
                               f'{process.returncode}; what it said is in {log_path}')
        finally:
            process.terminate()
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
