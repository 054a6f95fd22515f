"""The deploy graph whole: three processes over DDS, and what becomes of it when one dies."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mujoco', reason='no simulator in this environment')

from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ActionChunk, EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.srv import ResetExecutor, ResetScene

pytestmark = pytest.mark.timeout(300)
NODES = ('sim', 'inference', 'chunk_executor')
START_S = 60.0
HOME = load_robot('ur5e_sim').home
EPISODE_S = 100.0


class Watcher:
    """Remembers what the graph says."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.states: list[ExecutorState] = []
        self.chunks: list[ActionChunk] = []
        self.events: list[EpisodeEvent] = []
        self.images: list[Image] = []
        self.infos: list[CameraInfo] = []
        subscribe = peer.node.create_subscription
        subscribe(ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        subscribe(ActionChunk, 'action_chunk', self.chunks.append, qos.CHUNK_IN)
        subscribe(EpisodeEvent, 'episode_event', self.events.append, qos.EVENT)
        subscribe(Image, 'cameras/wrist/image_raw', self.images.append, qos.SENSOR)
        subscribe(CameraInfo, 'cameras/wrist/camera_info', self.infos.append, qos.SENSOR)

    @property
    def mode(self) -> Mode | None:
        return Mode(self.states[-1].mode) if self.states else None

    def wait(self, condition: Callable[[], object], what: str, limit_s: float = START_S) -> None:
        self.peer.wait_for(condition, what, limit_s, lambda: self.states[-1:])

    def new_episode(self, seed: int) -> str:
        """Stop, reset scene and executor; the policy starts with the new instruction."""
        self.peer.call(Trigger, 'inference/cancel', Trigger.Request())
        self.wait(lambda: self.mode is Mode.HOLD, 'rest')
        answer = self.peer.call(ResetScene, 'sim/reset_scene', ResetScene.Request(
            seed=seed, position_set='random'))
        assert answer.success, answer.message
        # The arm was put home in no time: a reset may still see where it was. Until the executor
        # holds home, chunks are refused.
        self.wait(self._holds_home, 'executor at home')
        return answer.episode_id

    def _holds_home(self) -> bool:
        seen = len(self.states)
        self.peer.call(ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request())
        self.peer.wait_for(lambda: len(self.states) > seen + 2, 'executor_state')
        held = self.states[-1].command.positions    # none while the joints are not heard
        return self.mode is Mode.RUNNING or (
            self.mode is Mode.HOLD and len(held) > 0
            and np.allclose(held[:6], HOME[:6], atol=0.02))


@pytest.fixture(scope='module')
def watcher(peer: Any) -> Watcher:
    return Watcher(peer)


@pytest.fixture(scope='module')
def graph(domain: int, watcher: Watcher, patient_contract: Path) -> Iterator[Supervisor]:
    options = DeployOptions(robot=str(patient_contract))
    with Supervisor(deploy_graph(options), env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        watcher.wait(lambda: watcher.chunks and watcher.images and watcher.infos,
                     'chunks, images and what they are taken with')
        yield graph
    assert graph.poll() == dict.fromkeys(NODES, 0), [graph.log_tail(name) for name in NODES]


def test_pick_and_place_succeeds(graph: Supervisor, watcher: Watcher) -> None:
    episode = watcher.new_episode(3)
    watcher.wait(lambda: any(
        event.type == EpisodeEvent.SUCCESS and event.episode_id == episode
        for event in watcher.events), 'success', EPISODE_S)
    assert watcher.states[-1].accepted > 3


def test_chunk_says_where_it_comes_from(graph: Supervisor, watcher: Watcher) -> None:
    chunk = watcher.chunks[-1]
    assert chunk.policy_id.startswith('expert')
    assert chunk.task
    observed_ns = conversions.stamp_to_ns(chunk.observation_stamp)
    assert observed_ns == conversions.stamp_to_ns(chunk.header.stamp)
    assert conversions.duration_to_ns(chunk.inference_latency) > 0


def test_camera_images_are_as_the_contract_says(graph: Supervisor, watcher: Watcher) -> None:
    image, info = watcher.images[-1], watcher.infos[-1]
    assert (image.width, image.height, image.encoding, image.step) == (224, 224, 'rgb8', 672)
    assert len(image.data) == 224 * 672
    assert (info.width, info.height) == (224, 224)
    assert info.k[0] > 0


def test_killed_inference_makes_the_arm_hold_and_its_successor_goes_on(
        graph: Supervisor, watcher: Watcher) -> None:
    watcher.new_episode(4)
    watcher.wait(lambda: watcher.mode is Mode.RUNNING, 'motion')
    session = bytes(watcher.chunks[-1].session_id.uuid)
    os.kill(graph.pid('inference'), signal.SIGKILL)
    watcher.wait(lambda: watcher.mode is Mode.HOLD, 'hold')
    watcher.wait(lambda: watcher.mode is Mode.RUNNING, 'recovery')
    # The executor may have the chunk before this process has it.
    watcher.wait(lambda: bytes(watcher.chunks[-1].session_id.uuid) != session, 'new session')
    assert graph.starts('inference') == 2


def test_killed_simulator_is_a_hold_with_a_clear_reason_until_it_is_back(
        graph: Supervisor, watcher: Watcher) -> None:
    watcher.new_episode(5)
    watcher.wait(lambda: watcher.mode is Mode.RUNNING, 'motion')
    os.kill(graph.pid('sim'), signal.SIGKILL)
    watcher.wait(lambda: watcher.states[-1].reason.startswith('joint_states is')
                 and watcher.mode is Mode.HOLD, 'hold')
    watcher.wait(lambda: not watcher.states[-1].command.positions, 'end of commands')
    watcher.wait(lambda: watcher.states[-1].command.positions, 'arm held again')
    assert graph.starts('sim') == 2
