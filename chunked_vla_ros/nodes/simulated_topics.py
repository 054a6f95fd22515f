"""
What the ROS graph of a simulated robot publishes, as wire bytes, without a graph.

Each message is made by the function with which the node makes it that publishes the topic, and
numbered per publisher. Knows no simulator, no file and no clock: everything is stamped by its
arguments, in [ns]. /diagnostics is missing: it tells of processes that are not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String

from chunked_vla_ros.core.executor_state import Command, ExecutorStatus
from chunked_vla_ros.core.recording import INFINITE_NS, OfferedQos, StreamSpec, WireMessage
from chunked_vla_ros.core.robot_spec import CameraSpec, CommandKind, RobotSpec
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.core.types import ActionChunk, CameraFrame, JointSample, Pose
from chunked_vla_ros.data.message_definition import definition_of
from chunked_vla_ros.msg import EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes import executor_messages, inference_report, qos
from chunked_vla_ros.nodes.conversions import chunk_to_msg, joint_sample_to_msg, ns_to_stamp
from chunked_vla_ros.nodes.image_conversions import camera_msg
from chunked_vla_ros.nodes.message_bytes import message_bytes
from chunked_vla_ros.nodes.recorder_selection import make_selection
from chunked_vla_ros.nodes.sensor_conversions import camera_info_msg, scene_to_msg
from chunked_vla_ros.policies.runner import PolicyRunner
from chunked_vla_ros.policies.runner_records import RunnerSettings
from chunked_vla_ros.sim.looks import LOOKS

# Who publishes what, by the names of the nodes in the record graph.
SIM, INFERENCE, RECORDER = '/sim', 'inference', '/recorder'
EVENT_SOURCES = (SIM, INFERENCE, RECORDER)
STATE_RATE_HZ = 50.0    # as chunk_executor's parameter state_rate_hz
ON_TIME = 0.0, 0.0      # lateness of control ticks whose clock waits for them

Keep = Callable[[StreamSpec, int, WireMessage], None]


class NotInProcess(ValueError):
    """A robot cannot be recorded without a graph; the message is one line with the remedy."""


@dataclass(frozen=True)
class _Topic:
    """A topic and how many publish it."""

    type_name: str
    profile: QoSProfile
    publishers: int = 1


class SimulatedTopics:
    """
    The topics of one episode.

    :param focal_px: Of each camera, in pixels.
    :param keep: Takes every message that ``selection`` wishes for: its stream, how many publish
        it, and the message.
    :param zero_ns: What is added to every time, of stamps too.
    :raises NotInProcess: the robot is commanded by trajectories.
    """

    def __init__(self, robot: RobotSpec, selection: Selection, focal_px: Mapping[str, float],
                 keep: Keep, zero_ns: int) -> None:
        if robot.command.kind is not CommandKind.POSITION_COMMAND:
            raise NotInProcess(
                f'{robot.name} is commanded by {robot.command.kind.value}, in process only '
                f'{CommandKind.POSITION_COMMAND.value} is: leave --in-process out')
        self._robot, self._keep, self._zero_ns = robot, keep, zero_ns
        self._topics, self._specs = _topics(robot), {}
        for name, topic in self._topics.items():
            absolute = absolute_name(name)
            wish = selection.wish(absolute)
            if wish is not None:
                self._specs[name] = StreamSpec(
                    absolute, topic.type_name, _definition(topic.type_name),
                    offered_qos=(offered(topic.profile),) * topic.publishers,
                    expected_rate_hz=wish.expected_rate_hz, required=wish.required,
                    compression=selection.codec(absolute).compression)
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._state = ExecutorState(joint_names=list(robot.joint_names))
        self._infos = {
            camera.name: camera_info_msg(
                camera, focal_px[camera.name], f'{camera.name}_optical_frame')
            for camera in robot.cameras}

    def joints(self, sample: JointSample, now_ns: int) -> None:
        """Say what the joints measure."""
        msg = joint_sample_to_msg(
            replace(sample, stamp_ns=sample.stamp_ns + self._zero_ns), self._robot.joint_names)
        self._say(self._robot.state.topic, message_bytes(msg), now_ns)

    def picture(self, camera: CameraSpec, frame: CameraFrame, now_ns: int) -> None:
        """Show what was exposed at the frame's stamp, and the camera's intrinsics."""
        info: CameraInfo = self._infos[camera.name]
        image = camera_msg(replace(frame, stamp_ns=frame.stamp_ns + self._zero_ns), camera,
                           info.header.frame_id)
        info.header.stamp = image.header.stamp
        self._say(camera.stream.topic, message_bytes(image), now_ns)
        self._say(camera.info_topic, message_bytes(info), now_ns)

    def scene(self, scene: Mapping[str, Pose], now_ns: int) -> None:
        """Say where everything is."""
        self._say('scene', message_bytes(scene_to_msg(
            scene, LOOKS, self._robot.base_frame, now_ns + self._zero_ns)), now_ns)

    def command(self, command: Command, now_ns: int) -> None:
        """Command joint positions."""
        self._say(self._robot.command.topic, executor_messages.array_to_cdr(command), now_ns)

    def executor_state(self, status: ExecutorStatus, now_ns: int) -> None:
        """Tell of the executor."""
        due_ns = status.command.due_ns if status.command else now_ns
        executor_messages.fill_state(self._state, status, due_ns + self._zero_ns, ON_TIME)
        self._say('executor_state', message_bytes(self._state), now_ns)

    def chunk(self, chunk: ActionChunk, now_ns: int) -> None:
        """Send a chunk."""
        dated = replace(chunk, start_ns=chunk.start_ns + self._zero_ns,
                        observation_ns=chunk.observation_ns + self._zero_ns)
        self._say('action_chunk', message_bytes(chunk_to_msg(dated)), now_ns)

    def policy_info(self, runner: PolicyRunner, now_ns: int) -> bytes:
        """Tell which policy is in force and what it does; return the message."""
        data = message_bytes(inference_report.policy_info(runner, self._robot))
        self._say('policy_info', data, now_ns)
        return data

    def instruction(self, text: str, now_ns: int) -> bytes:
        """Say the task in words; return the message."""
        data = message_bytes(String(data=text))
        self._say('instruction', data, now_ns)
        return data

    def event(self, kind: str, source: str, episode_id: str, happened_ns: int, now_ns: int,
              text: str = '') -> None:
        """Mark on the time line what ``source``, one of `EVENT_SOURCES`, observed."""
        event = EpisodeEvent(
            episode_id=episode_id, type=getattr(EpisodeEvent, kind), text=text, source=source)
        event.header.stamp = ns_to_stamp(happened_ns + self._zero_ns)
        self._say('episode_event', message_bytes(event), now_ns, source)

    def _say(self, topic: str, data: bytes, now_ns: int, source: str = '') -> None:
        spec = self._specs.get(topic)
        if spec is None:
            return
        self._numbers[topic, source] += 1
        log_ns = now_ns + self._zero_ns
        self._keep(spec, self._topics[topic].publishers, WireMessage(
            spec.topic, data, log_ns, log_ns, self._numbers[topic, source]))


def selection_in_process(robot: str, compression: Sequence[str]) -> Selection:
    """
    Return what a recorder in the namespace / records of ``robot``.

    :raises SelectionError: as `make_selection`.
    """
    return make_selection(robot, (), (), (), compression, absolute_name)


def absolute_name(name: str) -> str:
    """Return a topic's name as seen from the namespace /."""
    return name if name.startswith('/') else f'/{name}'


def offered(profile: QoSProfile) -> OfferedQos:
    """Return a publisher's offer as discovery tells of it, which keeps the history to itself."""
    return OfferedQos(
        reliability=_word(profile.reliability), durability=_word(profile.durability),
        history='unknown', depth=0, lifespan_ns=_limit_ns(profile.lifespan),
        deadline_ns=_limit_ns(profile.deadline), liveliness='automatic',
        liveliness_lease_ns=_limit_ns(profile.liveliness_lease_duration))


def _limit_ns(duration: Any) -> int:
    """Return a limit in [ns]; a profile that sets none holds 0."""
    return int(duration.nanoseconds) or INFINITE_NS


def _word(policy: Any) -> str:
    return str(policy.name).lower()


@cache
def _definition(type_name: str) -> str:
    return definition_of(type_name)


def _topics(robot: RobotSpec) -> dict[str, _Topic]:
    """Return every topic by the name that nodes or the contract give it."""
    return {
        'policy_info': _Topic('diagnostic_msgs/msg/DiagnosticStatus', qos.LATCHED),
        'instruction': _Topic('std_msgs/msg/String', qos.LATCHED),
        'episode_event': _Topic(
            'chunked_vla_ros/msg/EpisodeEvent', qos.EVENT, len(EVENT_SOURCES)),
        robot.command.topic: _Topic('std_msgs/msg/Float64MultiArray', qos.COMMAND),
        robot.state.topic: _Topic('sensor_msgs/msg/JointState', qos.SENSOR),
        'executor_state': _Topic('chunked_vla_ros/msg/ExecutorState', qos.STATUS),
        'scene': _Topic('visualization_msgs/msg/MarkerArray', qos.STATUS),
        'action_chunk': _Topic('chunked_vla_ros/msg/ActionChunk',
                               qos.chunk_out(RunnerSettings.valid_for_s)),
        **{camera.info_topic: _Topic('sensor_msgs/msg/CameraInfo', qos.SENSOR)
           for camera in robot.cameras},
        **{camera.stream.topic: _Topic('sensor_msgs/msg/Image', qos.SENSOR)
           for camera in robot.cameras}}
