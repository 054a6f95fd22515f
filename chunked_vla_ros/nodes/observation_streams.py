"""
Subscribe to everything the policy sees: convert each message and hand it to the runner.

Decides nothing: what is usable and when is `core.sync`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rclpy.node import Node
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, RobotSpec
from chunked_vla_ros.core.sync import sample_time_ns
from chunked_vla_ros.msg import EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import stamp_to_ns, uuid_to_hex
from chunked_vla_ros.nodes.image_conversions import CameraMsg, image_from_msg, MSG_TYPES
from chunked_vla_ros.nodes.joint_stream import JointStream
from chunked_vla_ros.nodes.sensor_conversions import scene_from_msg
from chunked_vla_ros.policies.runner import PolicyRunner

ENDINGS = {EpisodeEvent.SUCCESS: True, EpisodeEvent.FAILURE: False}
INTERVENTIONS = {EpisodeEvent.INTERVENTION_BEGIN: True, EpisodeEvent.INTERVENTION_END: False}


class ObservationStreams:
    """
    The subscriptions of the inference node.

    :ivar joints: The stream that the policy is asked with.
    """

    def __init__(self, node: Node, robot: RobotSpec, runner: PolicyRunner,
                 now_ns: Callable[[], int]) -> None:
        self._node, self._robot, self._runner, self._now_ns = node, robot, runner, now_ns
        self.joints = JointStream(node, robot, runner, now_ns)
        subscribe = node.create_subscription
        self._subscriptions = [
            subscribe(String, 'instruction', self._on_instruction, qos.LATCHED),
            subscribe(EpisodeEvent, 'episode_event', self._on_event, qos.EVENT)]
        # By stream: whether it is looked at, and its subscription.
        self._watched: dict[str, tuple[bool, Any]] = {}
        self.follow_policy()

    def follow_policy(self) -> None:
        """Look at what the policy in force, and one that follows it, want to see; no more."""
        for camera in self._robot.cameras:
            needed = camera.name in self._runner.cameras
            # An image nobody looks at is counted by its bytes: unpacking it costs a millisecond.
            self._watch(camera.name, needed, partial(
                self._node.create_subscription, MSG_TYPES[camera.transport], camera.stream.topic,
                partial(self._on_image if needed else self._on_unread_image, camera), qos.SENSOR,
                raw=not needed))
        if self._runner.needs_scene:
            self._watch('scene', True, partial(
                self._node.create_subscription, MarkerArray, 'scene', self._on_scene, qos.STATUS))
        if self._runner.takes_committed:
            self._watch('executor_state', True, partial(
                self._node.create_subscription, ExecutorState, 'executor_state',
                self._on_executor, qos.STATUS))

    def _watch(self, stream: str, needed: bool, subscribe: Callable[[], Any]) -> None:
        was_needed, subscription = self._watched.get(stream, (None, None))
        if was_needed != needed:
            if subscription is not None:
                self._node.destroy_subscription(subscription)
                self._runner.assembler.cameras[stream].rejoin()
            self._watched[stream] = needed, subscribe()

    def destroy(self) -> None:
        """Stop listening."""
        self.joints.destroy()
        watched = [subscription for _, subscription in self._watched.values()]
        for subscription in [*self._subscriptions, *watched]:
            self._node.destroy_subscription(subscription)

    # rclpy tells from the second parameter that the publisher's number is wanted.

    def _on_image(self, camera: CameraSpec, msg: CameraMsg, info: Mapping[str, Any]) -> None:
        now_ns, assembler = self._now_ns(), self._runner.assembler
        assembler.cameras[camera.name].loss.add(info['publication_sequence_number'], now_ns)
        stamp_ns = sample_time_ns(camera.stream, stamp_to_ns(msg.header.stamp), now_ns)
        try:
            frame = image_from_msg(msg, camera, stamp_ns)
        except InputRejected as error:
            assembler.cameras[camera.name].reject(str(error), now_ns)
        else:
            assembler.add_frame(camera.name, frame, now_ns, msg.data)

    def _on_unread_image(self, camera: CameraSpec, _: bytes, info: Mapping[str, Any]) -> None:
        now_ns, stream = self._now_ns(), self._runner.assembler.cameras[camera.name]
        stream.meter.add(now_ns)
        stream.loss.add(info['publication_sequence_number'], now_ns)

    def _on_scene(self, msg: MarkerArray) -> None:
        now_ns, assembler = self._now_ns(), self._runner.assembler
        try:
            scene = scene_from_msg(msg)
        except InputRejected as error:
            assembler.scene.reject(str(error), now_ns)
        else:
            assembler.add_scene(scene, now_ns)

    def _on_executor(self, msg: ExecutorState) -> None:
        self._runner.committed.reported(
            uuid_to_hex(msg.session_id), msg.chunk_id, stamp_to_ns(msg.header.stamp))

    def _on_instruction(self, msg: String) -> None:
        self._runner.instruct(msg.data, self._now_ns())

    def _on_event(self, msg: EpisodeEvent) -> None:
        if msg.type in INTERVENTIONS and self._runner.run is not None:
            self._runner.run.intervene(INTERVENTIONS[msg.type], self._now_ns())
        if msg.type in ENDINGS:
            self._runner.episode_ended(
                ENDINGS[msg.type], stamp_to_ns(msg.header.stamp),
                f'{msg.source}: {msg.text}', self._now_ns())
