"""The inference node as a process, and the robot and operator it meets over DDS."""

from collections.abc import Callable, Iterator
import itertools
import os
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from chunked_vla_ros.action import RunPolicy  # noqa: E402
from chunked_vla_ros.data.robot_contract import load_robot  # noqa: E402
from chunked_vla_ros.msg import ActionChunk, EpisodeEvent  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402

ROBOT = load_robot('ur5e_sim')
LIMIT_S = 40.0
START_NODE = ('import sys; from chunked_vla_ros.nodes.inference_node import main; '
              'sys.exit(main())')


class Probe:
    """Plays the robot, which stands at ``place``, and the operator; remembers what it is told."""

    def __init__(self, peer: Any) -> None:
        self.peer, self.node, self.wait_for = peer, peer.node, peer.wait_for
        self.joint_names = list(ROBOT.joint_names)
        self.place = dict(zip(ROBOT.joint_names, ROBOT.home.tolist(), strict=True))
        self.chunks, self.findings, self.infos, self.feedback = [], [], [], []
        node = self.node
        self.joint_states = node.create_publisher(JointState, 'joint_states', qos.SENSOR)
        self.events = node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        subscribe = node.create_subscription
        subscribe(ActionChunk, 'action_chunk', self.chunks.append, qos.CHUNK_IN)
        subscribe(DiagnosticArray, '/diagnostics', self.findings.append, qos.STATUS)
        subscribe(DiagnosticStatus, 'policy_info', self.infos.append, qos.LATCHED)
        self.client = ActionClient(node, RunPolicy, 'inference/run_policy')
        node.create_timer(0.01, self.publish_joints)

    def publish_joints(self) -> None:
        # The robot lists its joints in an order of its own.
        names = self.joint_names[::-1]
        place = self.place
        msg = JointState(name=names, position=[place[name] for name in names])
        msg.header.stamp = self.node.get_clock().now().to_msg()
        self.joint_states.publish(msg)

    def forget(self) -> None:
        """Be a whole robot that has seen nothing."""
        self.joint_names = list(ROBOT.joint_names)
        for memory in (self.chunks, self.findings, self.infos, self.feedback):
            memory.clear()

    def done(self, future: Any, what: str) -> Any:
        self.wait_for(future.done, what)
        return future.result()

    def send_goal(self, timeout_s: float = 0.0) -> Any:
        assert self.client.wait_for_server(LIMIT_S)
        self.peer.settle(GetState, 'inference/get_state')
        goal = RunPolicy.Goal(instruction='replay it', timeout=timeout_s)
        return self.done(self.peer.in_turn(lambda: self.client.send_goal_async(
            goal, feedback_callback=lambda msg: self.feedback.append(msg.feedback))), 'goal reply')

    def ask_result(self, handle: Any) -> Any:
        """Return the future of a result."""
        return self.peer.in_turn(handle.get_result_async)

    def result(self, handle: Any) -> Any:
        return self.done(self.ask_result(handle), 'result')

    def cancel(self, handle: Any) -> None:
        self.done(self.peer.in_turn(handle.cancel_goal_async), 'cancel reply')

    def call(self, name: str) -> Trigger.Response:
        return self.peer.call(Trigger, f'inference/{name}', Trigger.Request())

    def newest_finding(self) -> DiagnosticStatus | None:
        statuses = [status for array in self.findings[-1:] for status in array.status]
        return statuses[0] if statuses else None


def ros_arguments(recording: Path, *parameters: str) -> list[str]:
    """Return the command line of a node that replays, with parameters such as ``policy:=vla``."""
    settings = ['policy:=replay', 'replay_moved:=true', f'demonstration:={recording}', *parameters]
    return ['--ros-args', *itertools.chain.from_iterable(('-p', one) for one in settings)]


class NodeProcess:
    """One inference node, stopped by a signal at the end."""

    def __init__(self, domain: int, recording: Path, *parameters: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, '-c', START_NODE, *ros_arguments(recording, *parameters)],
            env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'ROS_PYTHON_CHECK_FIELDS': '1'},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> tuple[int, str]:
        """Return exit code and standard error when it has ended by itself."""
        try:
            _, errors = self.process.communicate(timeout=LIMIT_S)
        finally:
            self.process.kill()
        return self.process.returncode, errors

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Return exit code and standard error after the signal."""
        self.process.send_signal(number)
        return self.wait()


@pytest.fixture(scope='session')
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one second in which the first joint moves by 0.1 rad and back, at 1 kHz."""
    rows = np.zeros((1001, 42))
    phase = np.linspace(0.0, 2 * np.pi, len(rows))
    rows[:, 0] = 1.7e18 + 1e6 * np.arange(len(rows))
    rows[:, 1] = 0.05 * (1 - np.cos(phase)) * np.sin(phase / 2)
    path = tmp_path_factory.mktemp('recording') / 'wave.npy'
    np.save(path, rows)
    return path


@pytest.fixture(scope='module')
def probe(peer: Any) -> Probe:
    return Probe(peer)


@pytest.fixture(scope='module')
def start(domain: int, recording: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Yield a function that starts the node with parameters such as ``robot:=ur5e_sim``."""
    begun = []

    def begin(*parameters: str) -> NodeProcess:
        begun.append(NodeProcess(domain, recording, *parameters))
        return begun[-1]
    yield begin
    for process in begun:
        process.process.kill()
        process.process.communicate()


@pytest.fixture
def refused(domain: int, recording: Path, try_to_start: Callable[..., tuple[int, str]]
            ) -> Callable[..., tuple[int, str]]:
    """Return what starts a node that will not start: exit code and error text."""
    return lambda *parameters: try_to_start(
        'chunked_vla_ros.nodes.inference_node', domain,
        *ros_arguments(recording, *parameters))
