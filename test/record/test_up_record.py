"""`chunked-vla up record` in a terminal: a policy, a person who takes over by keys, a recorder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from rclpy.serialization import deserialize_message  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from chunked_vla_ros.core.recording import Outcome  # noqa: E402
from chunked_vla_ros.data.episode_folder import list_episodes  # noqa: E402
from chunked_vla_ros.msg import EpisodeEvent, ExecutorState  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402

pytestmark = pytest.mark.timeout(120)
HOME = (0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854)
# Simulator, inference, teleop and recorder.
EVENT_SOURCES = 4


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Return a minute in which a Franka's first joint sways by 0.05 rad."""
    times_s = np.arange(0.0, 60.0, 0.01)
    rows = np.zeros((len(times_s), 42))
    rows[:, 0] = 1.7e18 + 1e9 * times_s
    rows[:, 1:8] = HOME
    rows[:, 1] += 0.05 * np.sin(times_s) ** 2
    path = tmp_path / 'sway.npy'
    np.save(path, rows)
    return path


class Beside:
    """Presses the graph's buttons over ROS and hears what happens."""

    def __init__(self, person: Any) -> None:
        self.person, self.device = person, person.hold()
        self.states: list[ExecutorState] = []
        self.events: list[EpisodeEvent] = []
        node = self.device.node
        node.create_subscription(ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        self.hears = node.create_subscription(
            EpisodeEvent, 'episode_event', self.events.append, qos.EVENT)

    def press(self, name: str) -> str:
        client = self.device.node.create_client(Trigger, name)
        self.person.wait_for(client.service_is_ready, name)
        future = client.call_async(Trigger.Request())
        self.person.wait_for(future.done, f'answer of {name}')
        assert future.result().success, future.result().message
        return str(future.result().message)

    def wait_type(self, kind: int) -> None:
        self.person.wait_for(
            lambda: kind in [event.type for event in self.events], f'event {kind}')


def test_an_intervention_by_keys_is_in_the_bag(
        start: Callable[..., Any], recording: Path, out: Path) -> None:
    person = start('up', 'record', '--robot', 'franka_fr3', '--policy', 'replay',
                   '--demonstration', str(recording))
    # The keyboard is this terminal, although teleop_node is a process of its own.
    person.wait('starting sim, inference, chunk_executor, teleop, recorder',
                'keys: q fr3_joint1 +', 'c take over: you drive')
    beside = Beside(person)
    person.wait_for(lambda: beside.states and beside.device.is_recorded('/joint_states')
                    and beside.device.is_recorded('/executor_state')
                    and beside.device.hears_all_of('/episode_event', EVENT_SOURCES)
                    and beside.hears.get_publisher_count() >= EVENT_SOURCES,
                    'a graph that is up')
    beside.press('recorder/start')
    beside.press('inference/run')
    person.wait_for(lambda: beside.states[-1].mode == ExecutorState.MODE_RUNNING, 'the policy')
    person.type('c')
    beside.wait_type(EpisodeEvent.INTERVENTION_BEGIN)
    begun = beside.states[-1].command.positions[3]

    def driven() -> bool:
        person.type('r')
        return bool(beside.states[-1].command.positions[3] > begun + 0.02)
    person.wait_for(driven, 'motion by keys')
    person.type('v')
    beside.wait_type(EpisodeEvent.INTERVENTION_END)
    beside.press('recorder/success')
    person.type('\x03')
    code, errors = person.end()
    assert errors == ''
    assert code == 0
    assert person.has_the_terminal_back()
    (one,) = list_episodes(out).episodes
    assert (one.complete, one.outcome) == (True, Outcome.SUCCESS)
    with rosbag2.Reader(one.path) as reader:
        events = [deserialize_message(bytes(data), EpisodeEvent) for connection, _, data
                  in reader.messages() if connection.topic == '/episode_event']
    told = [event for event in events if event.type in (
        EpisodeEvent.START, EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END,
        EpisodeEvent.SUCCESS) and event.source != '/sim']
    assert [event.type for event in told] == [
        EpisodeEvent.START, EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END,
        EpisodeEvent.SUCCESS]
    assert [event.source for event in told] == ['/recorder', 'teleop', 'teleop', '/recorder']
