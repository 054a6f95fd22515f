"""Keys of a real (pseudo) terminal move the arm, and the terminal is given back."""

from collections.abc import Iterator
import fcntl
import os
import pty
import signal
import subprocess
import termios
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.graph.installation import executable

pytestmark = pytest.mark.timeout(120)


class Terminal:
    """A terminal of its own with teleop_node in it; what it prints is read away."""

    def __init__(self, domain: int) -> None:
        self.person, program = pty.openpty()
        self.settings = termios.tcgetattr(program)
        self.process = subprocess.Popen(
            [str(executable('teleop_node')), '--ros-args', '-p', 'take_over_on_activate:=true'],
            stdin=program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.program = program
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self._typed_s = 0.0

    def hold(self, key: str) -> bool:
        """Go on holding a key, which repeats every 30 ms."""
        if time.monotonic() - self._typed_s > 0.03:
            self._typed_s = time.monotonic()
            os.write(self.person, key.encode())
        return True

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as said:
            self.lines.extend(said)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.reader.join(10)
        os.close(self.person)
        os.close(self.program)


@pytest.fixture
def terminal(domain: int, calm: Any) -> Iterator[Terminal]:
    terminal = Terminal(domain)
    yield terminal
    terminal.close()


def test_keys_of_a_terminal_move_the_arm_and_ctrl_c_gives_the_terminal_back(
        calm: Any, terminal: Terminal) -> None:
    calm.wait(lambda: calm.state.control_source == Source.TELEOP and calm.targets, 'take-over')
    start = calm.position[1]
    calm.wait(lambda: terminal.hold('s') and calm.position[1] < start - 0.03, 'motion')
    assert termios.tcgetattr(terminal.program)[3] & termios.ICANON == 0
    os.write(terminal.person, b'\x03')
    assert terminal.process.wait(20) == 0
    assert termios.tcgetattr(terminal.program) == terminal.settings
    terminal.reader.join(10)
    table = next(line for line in terminal.lines if 'keys: ' in line)
    assert 'q shoulder_pan_joint +' in table
    assert 'c take over: you drive' in table


def test_a_killed_keyboard_is_a_stop(calm: Any, terminal: Terminal) -> None:
    calm.wait(lambda: calm.state.control_source == Source.TELEOP and calm.targets, 'take-over')
    calm.log.start()
    calm.wait(lambda: terminal.hold('w')
              and np.abs(calm.state.command.velocities).max() > 0.1, 'motion')
    os.kill(terminal.process.pid, signal.SIGKILL)
    calm.wait_mode(Mode.HOLD)
    calm.check_motion()
