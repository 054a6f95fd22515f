"""A person at a (pseudo) terminal: sees the screen, presses keys, and may hold a device."""

from collections.abc import Callable, Iterator
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

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

import fcntl  # noqa: E402

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import JointState, Joy  # noqa: E402

from chunked_vla_ros.demo.free_domain import free_domain  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402

LIMIT_S = 40.0
DEVICE_PERIOD_S = 0.02
ESCAPE = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')
COMMAND = [sys.executable, '-m', 'chunked_vla_ros']


class Person:
    """Starts a command in a terminal of its own."""

    def __init__(self, arguments: list[str], domain: int) -> None:
        self.person, self.terminal = pty.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 60, 160, 0, 0))
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=self.terminal, stdout=self.terminal,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, 'TERM': 'xterm', 'ROS_DOMAIN_ID': str(domain),
                 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'})
        self.domain = domain
        self.device: Device | None = None
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
        self.mark = len(self._seen)
        self.type(key)

    def type(self, keys: str) -> None:
        os.write(self.person, keys.encode())

    def wait(self, *texts: str) -> None:
        """Wait until all ``texts`` have been shown."""
        self.wait_for(lambda: all(text in self.shown for text in texts), repr(texts))

    def wait_for(self, condition: Callable[[], object], what: str) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f'no {what} in {self.shown[-6000:]}'
            assert self.process.poll() is None, self.process.stderr.read()
            if self.device is None:
                time.sleep(0.02)
            else:
                self.device.go_on()
        return found

    def do(self, key: str, *texts: str) -> None:
        self.press(key)
        self.wait(*texts)

    def hold(self) -> 'Device':
        """Take a device into the hand."""
        self.device = Device(self.domain)
        return self.device

    def end(self) -> tuple[int, str]:
        """Return the exit code and what was said on the error stream."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors

    def has_the_terminal_back(self) -> bool:
        return bool(termios.tcgetattr(self.terminal) == self.before)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.communicate(timeout=10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
        if self.device is not None:
            self.device.close()
        os.close(self.terminal)
        os.close(self.person)


class Device:
    """
    A joystick, or a leader arm, that says how it is held 50 times a second; and eyes on the arm.

    Nothing of it runs in a thread of its own: it goes on while somebody waits.
    """

    def __init__(self, domain: int) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('device', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.position: list[float] = []
        self.said: dict[str, dict[str, str]] = {}    # by node, on /diagnostics
        self.held: tuple[Any, Any] | None = None    # publisher and message
        self._told_s = 0.0
        self._joy = self.node.create_publisher(Joy, 'joy', qos.SENSOR)
        self._leader = self.node.create_publisher(
            JointState, 'leader/joint_states', qos.SENSOR)
        self.node.create_subscription(JointState, 'joint_states', self._see, qos.SENSOR)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._hear, qos.STATUS)

    def _see(self, msg: JointState) -> None:
        self.position = list(msg.position)

    def _hear(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            self.said[status.name] = {one.key: one.value for one in status.values}

    def is_recorded(self, topic: str) -> bool:
        """Return whether the recorder hears ``topic``."""
        return not self.said.get('/recorder', {}).get(f'rate {topic}', '0.0').startswith('0.0')

    def hears_all_of(self, topic: str, publishers: int) -> bool:
        """Return whether the recorder hears so many publishers of ``topic``, all there are."""
        return (self.said.get('/recorder', {}).get(f'publishers {topic}')
                == f'{publishers} of {publishers} heard')

    def press(self, *buttons: int, right: float = 0.0) -> None:
        """Hold the joystick like this from now on."""
        self.held = self._joy, Joy(
            axes=[right, *(0.0,) * 7], buttons=[int(i in buttons) for i in range(12)])

    def lead(self, **joints: float) -> None:
        """Hold the leader arm like this from now on."""
        self.held = self._leader, JointState(
            name=list(joints), position=list(joints.values()))

    def go_on(self) -> None:
        if self.held is not None and time.monotonic() - self._told_s >= DEVICE_PERIOD_S:
            self._told_s = time.monotonic()
            publisher, msg = self.held
            msg.header.stamp = self.node.get_clock().now().to_msg()
            publisher.publish(msg)
        self.executor.spin_once(timeout_sec=0.005)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / 'episodes'


@pytest.fixture
def start(out: Path) -> Iterator[Callable[..., Person]]:
    """Return a function that starts a command in a terminal and a domain of its own."""
    with free_domain() as domain:
        started: list[Person] = []

        def begin(*arguments: str) -> Person:
            started.append(Person([*arguments, '--out', str(out)], domain))
            return started[-1]
        try:
            yield begin
        finally:
            for person in started:
                person.close()
