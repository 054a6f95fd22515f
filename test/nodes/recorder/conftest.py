"""The recorder as a process, a robot and an operator on the other side of DDS, and its bags."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
import itertools
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from chunked_vla_ros.action import RecordEpisode  # noqa: E402
from chunked_vla_ros.msg import EpisodeEvent  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402
from chunked_vla_ros.srv import DiscardEpisode, LabelEpisode, ListEpisodes  # noqa: E402

LIMIT_S = 30.0
START_NODE = ('import sys; from chunked_vla_ros.nodes.recorder_node import main; '
              'sys.exit(main())')
PLAY = 'import sys; from chunked_vla_ros.cli import main; sys.exit(main(sys.argv[1:]))'
RELIABLE = QoSProfile(depth=1000)
SERVICES = {
    'label_episode': LabelEpisode, 'discard_episode': DiscardEpisode,
    'list_episodes': ListEpisodes, 'change_state': ChangeState,
    **dict.fromkeys(
        ('start', 'stop', 'success', 'failure', 'discard', 'rerecord', 'next'), Trigger)}


class Bag:
    """A bag as an independent reader sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        with rosbag2.Reader(path) as reader:
            for connection, log_ns, data in reader.messages():
                self.messages[connection.topic].append((log_ns, bytes(data)))
        text = (path / 'metadata.yaml').read_text()
        self.facts = yaml.safe_load(text)['rosbag2_bagfile_information']['custom_data']

    def data(self, topic: str) -> list[bytes]:
        return [data for _, data in self.messages[topic]]

    def words(self, topic: str) -> list[str]:
        return [deserialize_message(data, String).data
                for data in self.data(topic)]

    def events(self) -> list[EpisodeEvent]:
        return [deserialize_message(data, EpisodeEvent)
                for data in self.data('/episode_event')]


class Operator:
    """Plays robot and operator; remembers every byte that it sent."""

    def __init__(self, peer: Any) -> None:
        self.peer, self.node, self.wait_for = peer, peer.node, peer.wait_for
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.findings: list[DiagnosticArray] = []
        self.feedback: list[Any] = []
        self.publishers: dict[str, Any] = {}
        self.talking = threading.Lock()
        self.repeated: Callable[[], object] = lambda: None
        self.timer = self.node.create_timer(0.002, self._repeat)
        self.timer.cancel()
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self.findings.append, qos.STATUS)
        self.client = ActionClient(self.node, RecordEpisode, 'recorder/record_episode')
        for name, service_type in SERVICES.items():
            name = f'recorder/{name}'
            peer.clients[name] = self.node.create_client(service_type, name)
        self.events = self.node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)

    def settle(self) -> None:
        """Wait until the recorder knows every client that is there."""
        self.peer.settle(ListEpisodes, 'recorder/list_episodes')

    def forget(self) -> None:
        """Fall silent and leave every topic."""
        with self.talking:
            self.timer.cancel()
        self.peer.destroy(*self.publishers.values())
        self.publishers.clear()
        self.sent.clear()
        self.findings.clear()
        self.feedback.clear()

    def speak(self, topic: str, message_type: Any = String, profile: QoSProfile = RELIABLE,
              heard_by: int = 1) -> Any:
        """Return a publisher that the recorder has found."""
        publisher = self.node.create_publisher(message_type, topic, profile)
        self.publishers[f'{topic} {len(self.publishers)}'] = publisher
        self.wait_for(lambda: publisher.get_subscription_count() >= heard_by,
                      f'recorder on {topic}', LIMIT_S)
        return publisher

    def say(self, publisher: Any, message: Any) -> bytes:
        """
        Publish ``message`` and return the bytes that are on the wire.

        What is said before a service is called arrives before it: one port takes both in order.
        """
        data = serialize_message(message)
        publisher.publish(data)
        # RTPS fills payloads up to a multiple of four bytes.
        data += bytes(-len(data) % 4)
        self.sent[publisher.topic_name].append(data)
        return data

    def repeat(self, action: Callable[[], object]) -> None:
        """Do this 500 times a second, as far as the machine can, until told something else."""
        with self.talking:
            self.repeated = action
            self.timer.reset()
        self.peer.executor.wake()

    def _repeat(self) -> None:
        with self.talking:
            self.repeated()

    def change(self, transition: int) -> bool:
        """Return whether the recorder has gone through a transition of its life cycle."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.peer.call(ChangeState, 'recorder/change_state', request).success)

    def serving(self) -> bool:
        """Return whether any service of a configured recorder is known here."""
        return self.client.server_is_ready() or any(
            client.service_is_ready() for name, client in self.peer.clients.items()
            if name.startswith('recorder/') and name != 'recorder/change_state')

    def press(self, name: str) -> Trigger.Response:
        return self.peer.call(Trigger, f'recorder/{name}', Trigger.Request())

    def press_well(self, name: str) -> str:
        answer = self.press(name)
        assert answer.success, answer.message
        return answer.message

    def event(self, kind: int) -> None:
        # One to record what it hears, one to act on it.
        self.wait_for(lambda: self.events.get_subscription_count() >= 2, 'recorder on events')
        self.events.publish(EpisodeEvent(type=kind, source='/somebody', episode_id='theirs'))

    def label(self, episode_id: str, outcome: int, note: str = '') -> LabelEpisode.Response:
        return self.peer.call(LabelEpisode, 'recorder/label_episode', LabelEpisode.Request(
            episode_id=episode_id, outcome=outcome, note=note))

    def discard(self, episode_id: str) -> DiscardEpisode.Response:
        return self.peer.call(DiscardEpisode, 'recorder/discard_episode',
                              DiscardEpisode.Request(episode_id=episode_id))

    def listing(self) -> ListEpisodes.Response:
        return self.peer.call(ListEpisodes, 'recorder/list_episodes', ListEpisodes.Request())

    def done(self, future: Any, what: str) -> Any:
        self.wait_for(future.done, what, LIMIT_S)
        return future.result()

    def goal(self, **fields: Any) -> Any:
        self.wait_for(self.client.server_is_ready, 'recorder', LIMIT_S)
        return self.done(self.peer.in_turn(lambda: self.client.send_goal_async(
            RecordEpisode.Goal(**fields),
            feedback_callback=lambda msg: self.feedback.append(msg.feedback))), 'goal reply')

    def result(self, handle: Any) -> Any:
        return self.done(self.peer.in_turn(handle.get_result_async), 'result')

    def finding(self) -> DiagnosticStatus | None:
        statuses = [status for array in tuple(self.findings) for status in array.status
                    if status.name == '/recorder']
        return statuses[-1] if statuses else None

    def wait_for_value(self, key: str, value: str) -> None:
        """Wait until the recorder's diagnosis says ``value`` of ``key``."""
        self.findings.clear()
        self.wait_for(lambda: (found := self.finding()) and (key, value) in [
            (each.key, each.value) for each in found.values], f'{key} {value}',
            instead=self.finding)

    def wait_for_recorded(self, topic: str, count: int) -> None:
        """Wait until the recorder has recorded so many messages of ``topic``."""
        self.findings.clear()
        self.wait_for(lambda: (found := self.finding()) and any(
            each.key == f'recorded {topic}' and each.value.startswith(f'{count},')
            for each in found.values), f'{count} messages of {topic}', instead=self.finding)

    def wait_for_finding(self, words: str) -> DiagnosticStatus:
        """Return the recorder's diagnosis as soon as its line has ``words`` in it."""
        self.findings.clear()
        return self.wait_for(
            lambda: (found := self.finding()) and words in found.message and found, words,
            instead=lambda: self.finding())


DOWN = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


class Recorder:
    """One recorder process and its folder."""

    def __init__(self, domain: int, out: Path, *parameters: str, log: Path,
                 prelude: str = '', remap: str = '') -> None:
        """Start; ``prelude`` is Python that runs before the node does."""
        self.out, self.log = out, log
        settings = ['robot:=""', f'out:={out}', 'min_free_mb:=1', *parameters]
        with log.open('a') as errors:
            self.process = subprocess.Popen(
                [sys.executable, '-c', f'{prelude}\n{START_NODE}', '--ros-args',
                 *itertools.chain.from_iterable(('-p', setting) for setting in settings),
                 *(('-r', remap) if remap else ())],
                env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'ROS_PYTHON_CHECK_FIELDS': '1'},
                stdout=subprocess.DEVNULL, stderr=errors)

    def renew(self, operator: 'Operator', aside: Path) -> None:
        """Make it as if it had just been started: no memory, and an empty folder."""
        for transition in DOWN:
            assert operator.change(transition)
        operator.wait_for(lambda: not operator.serving(), 'end of the services')
        self.out.rename(aside)
        self.out.mkdir()
        assert 'Traceback' not in self.log.read_text()
        self.log.write_text('')    # the process appends
        for transition in UP:
            assert operator.change(transition)

    def bag(self, name: str | Path) -> Bag:
        """Return the bag called ``name``, or at that path."""
        return Bag(self.out / name)

    def told(self, *words: str) -> list[str]:
        """Return the lines of the log with all of ``words`` in them."""
        return [line for line in self.log.read_text().splitlines()
                if all(word in line for word in words)]

    def wait(self) -> tuple[int, str]:
        """Return exit code and standard error when it has ended by itself."""
        try:
            self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
        return self.process.returncode, self.log.read_text()

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Return exit code and standard error after the signal."""
        self.process.send_signal(number)
        return self.wait()


@pytest.fixture
def player(domain: int) -> Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]:
    """Return what plays a dataset as a process, with its log in a file; it ends with the block."""
    @contextmanager
    def play(log: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        with log.open('w') as output:
            process = subprocess.Popen(
                [sys.executable, '-c', PLAY, 'play', *map(str, arguments),
                 '--wait-for-subscribers', '30'],
                env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'COLUMNS': '200'},
                stderr=output)
            try:
                yield process
            finally:
                process.kill()
                process.wait()
    return play


@pytest.fixture(scope='module')
def operator(peer: Any) -> Operator:
    return Operator(peer)


@pytest.fixture
def start(domain: int, operator: Operator, tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """
    Yield a function that starts a recorder with parameters such as ``topics:=[/a]``.

    It ends by SIGINT after the test, and without a traceback.
    """
    begun: list[Recorder] = []

    def begin(*parameters: str, out: Path | None = None, **fields: Any) -> Recorder:
        begun.append(Recorder(domain, out or tmp_path / 'episodes', *parameters,
                              log=tmp_path / f'log{len(begun)}', **fields))
        operator.settle()
        return begun[-1]
    yield begin
    operator.forget()
    for recorder in begun:
        _end(recorder)


@pytest.fixture(scope='module')
def hold(domain: int, operator: Operator, tmp_path_factory: Any,
         ) -> Iterator[Callable[..., Recorder]]:
    """
    Yield a function that keeps one recorder for each set of parameters of the module.

    Each call makes it like new. It ends by SIGINT after the module, and without a traceback.
    """
    held: dict[Any, Recorder] = {}
    aside = tmp_path_factory.mktemp('aside')
    numbers = itertools.count()
    running: list[Recorder] = []

    def begin(*parameters: str, **fields: Any) -> Recorder:
        key = parameters, tuple(sorted(fields.items()))
        folder = tmp_path_factory.mktemp('recorder')
        for recorder in running[:]:
            if held.get(key) is not recorder:
                _end(recorder)
                running.remove(recorder)
        if key in held and held[key] in running:
            held[key].renew(operator, aside / str(next(numbers)))
        else:
            held[key] = Recorder(domain, folder / 'episodes', *parameters, log=folder / 'log',
                                 **fields)
            running.append(held[key])
            operator.settle()
        return held[key]
    yield begin
    operator.forget()
    for recorder in running:
        _end(recorder)


def _end(recorder: Recorder) -> None:
    if recorder.process.poll() is None:
        code, errors = recorder.stop()
        assert code == 0, errors
    assert 'Traceback' not in recorder.log.read_text()


@pytest.fixture
def recorder(request: pytest.FixtureRequest, hold: Callable[..., Recorder], operator: Operator,
             ) -> Iterator[Recorder]:
    """Yield the recorder of the module's ``PARAMETERS``, like new; nobody speaks afterwards."""
    yield hold(*request.module.PARAMETERS)
    operator.forget()
