"""A person between two stretches of the scripted expert, in the simulated deploy graph."""

from collections.abc import Iterator
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mujoco', reason='no simulator in this environment')

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String
from std_srvs.srv import Trigger

from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.srv import ResetExecutor, ResetScene

pytestmark = pytest.mark.timeout(240)
START_S, EPISODE_S = 60.0, 60.0
DIALS = """
/**/inference:
  ros__parameters: {expert_noise: 0.05, expert_pushes_per_minute: 20.0, expert_seed: 3}
"""


class Watcher:
    """Remembers what the graph says, and holds a key down."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.states: list[ExecutorState] = []
        self.events: list[EpisodeEvent] = []
        self.infos: list[str] = []
        self.held = ''
        self.graph: Supervisor | None = None
        self.keys = peer.node.create_publisher(String, 'teleop/keys', qos.EVENT)
        peer.node.create_subscription(
            ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        peer.node.create_subscription(
            EpisodeEvent, 'episode_event', self.events.append, qos.EVENT)
        peer.node.create_subscription(
            DiagnosticStatus, 'policy_info', lambda msg: self.infos.append(msg.message),
            qos.LATCHED)
        peer.node.create_timer(0.03, self._hold)

    def _hold(self) -> None:
        if self.held:
            self.keys.publish(String(data=self.held))

    def wait(self, condition: Any, what: str, limit_s: float = START_S) -> None:
        self.peer.wait_for(condition, what, limit_s, self._instead)

    def _instead(self) -> object:
        logs = [] if self.graph is None else [
            line for name in ('inference', 'chunk_executor')
            for line in self.graph.log_tail(name, 8)]
        return self.states[-1].reason, [event.text for event in self.events[-6:]], logs

    def wait_mode(self, mode: Mode) -> None:
        self.wait(lambda: self.states and self.states[-1].mode == mode, mode.name)

    def call(self, name: str) -> None:
        answer = self.peer.call(Trigger, name, Trigger.Request())
        assert answer.success, answer.message

    def new_episode(self, seed: int) -> None:
        """Put everything back; the expert starts with the new instruction."""
        self.peer.call(Trigger, 'inference/cancel', Trigger.Request())
        self.wait_mode(Mode.HOLD)
        self.events.clear()
        assert self.peer.call(ResetScene, 'sim/reset_scene', ResetScene.Request(
            seed=seed, position_set='random')).success
        # The arm was put home in no time: until the executor holds home, chunks are refused.
        self.wait(self._goes_on, 'executor at home')
        self.infos.clear()

    def _goes_on(self) -> bool:
        seen = len(self.states)
        self.peer.call(ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request())
        self.wait(lambda: len(self.states) > seen + 2, 'executor_state')
        return self.states[-1].mode == Mode.RUNNING

    def run_ended(self) -> bool:
        """Return whether the run of this episode is over."""
        return bool(self.infos) and self.infos[-1] == 'idle'

    def types(self) -> list[int]:
        return [event.type for event in self.events]


@pytest.fixture(scope='module')
def watcher(peer: Any) -> Watcher:
    return Watcher(peer)


@pytest.fixture(scope='module')
def graph(domain: int, watcher: Watcher, tmp_path_factory: Any) -> Iterator[Supervisor]:
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    dials: Path = tmp_path_factory.mktemp('dials') / 'dials.yaml'
    dials.write_text(DIALS)
    options = DeployOptions(params_file=str(dials))
    nodes = (*deploy_graph(options), NodeSpec('teleop_node', 'teleop'))
    with Supervisor(nodes, env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        watcher.graph = graph
        watcher.wait_mode(Mode.RUNNING)
        yield graph
    assert set(graph.poll().values()) == {0}, [
        graph.log_tail(name) for name in ('sim', 'inference', 'chunk_executor', 'teleop')]


def test_the_policy_goes_on_from_where_the_person_left_the_arm(
        graph: Supervisor, watcher: Watcher) -> None:
    watcher.wait_mode(Mode.RUNNING)
    session = conversions.uuid_to_hex(watcher.states[-1].session_id)
    watcher.call('teleop/take_over')
    watcher.wait_mode(Mode.TELEOP)
    start = np.array(watcher.states[-1].command.positions)
    watcher.held = 'q'
    watcher.wait(lambda: watcher.states[-1].command.positions
                 and watcher.states[-1].command.positions[0] > start[0] + 0.3, 'motion')
    watcher.held = ''
    refused = watcher.states[-1].rejected
    watcher.wait(lambda: watcher.states[-1].rejected > refused, 'chunks refused meanwhile')
    watcher.call('teleop/give_back')
    watcher.wait_mode(Mode.RUNNING)
    assert conversions.uuid_to_hex(watcher.states[-1].session_id) == session, 'the run had ended'
    watcher.wait(lambda: EpisodeEvent.SUCCESS in watcher.types(), 'success', EPISODE_S)
    found = [kind for kind in watcher.types() if kind in (
        EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END, EpisodeEvent.SUCCESS)]
    assert found == [EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END,
                     EpisodeEvent.SUCCESS]
    assert {event.source for event in watcher.events if event.type in (
        EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END)} == {'teleop'}


def test_phases_and_disturbances_of_the_expert_are_noted_and_recovered_from(
        graph: Supervisor, watcher: Watcher) -> None:
    told = []
    for seed in range(5, 12):
        watcher.new_episode(seed)
        # A push may also cost the cube, which nobody picks up from the floor: the run ends.
        watcher.wait(lambda: EpisodeEvent.SUCCESS in watcher.types() or watcher.run_ended(),
                     'end of the episode', EPISODE_S)
        notes = [event.text for event in watcher.events if event.type == EpisodeEvent.NOTE]
        told.append(notes)
        assert notes == [note for k, note in enumerate(notes) if k == 0 or note != notes[k - 1]]
        if EpisodeEvent.SUCCESS in watcher.types():
            assert {'reach', 'descend', 'lift', 'carry'} <= set(notes)
            # A push while it carries may drop the cube onto the pad: then nothing is lowered.
            if 'lower' in notes and any(note.startswith('disturbance: ') for note in notes):
                return
    pytest.fail(f'no success after a disturbance in seven episodes: {told}')
