"""
Subscribe to everything the policy sees: convert each message and hand it to the runner.

Decides nothing: what is usable and when is `core.sync`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, RobotSpec
from chunked_vla_ros.core.sync import sample_time_ns
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import joint_sample_from_msg, stamp_to_ns
from chunked_vla_ros.nodes.sensor_conversions import image_from_msg, scene_from_msg
from chunked_vla_ros.policies.runner import PolicyRunner

ENDINGS = {EpisodeEvent.SUCCESS: True, EpisodeEvent.FAILURE: False}


class ObservationStreams:
    """The subscriptions of the inference node."""

    def __init__(self, node: Node, robot: RobotSpec, runner: PolicyRunner,
                 now_ns: Callable[[], int]) -> None:
        self._node, self._robot, self._runner, self._now_ns = node, robot, runner, now_ns
        subscribe = node.create_subscription
        self._subscriptions = [
            subscribe(JointState, robot.state.topic, self._on_joints, qos.SENSOR),
            subscribe(String, 'instruction', self._on_instruction, qos.LATCHED),
            subscribe(EpisodeEvent, 'episode_event', self._on_event, qos.EVENT)]
        for camera in robot.cameras:
            needed = camera.name in runner.spec.cameras
            callback = self._on_image if needed else self._on_unread_image
            # An image nobody looks at is counted by its bytes: unpacking it costs a millisecond.
            self._subscriptions.append(subscribe(
                Image, camera.stream.topic, partial(callback, camera), qos.SENSOR,
                raw=not needed))
        if runner.spec.needs_scene:
            self._subscriptions.append(
                subscribe(MarkerArray, 'scene', self._on_scene, qos.STATUS))

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_joints(self, msg: JointState) -> None:
        now_ns, assembler = self._now_ns(), self._runner.assembler
        stamp_ns = sample_time_ns(self._robot.state, stamp_to_ns(msg.header.stamp), now_ns)
        try:
            sample = joint_sample_from_msg(msg, self._robot.joint_names, stamp_ns)
        except InputRejected as error:
            assembler.joints.reject(str(error), now_ns)
        else:
            assembler.add_joints(sample, now_ns)

    def _on_image(self, camera: CameraSpec, msg: Image) -> None:
        now_ns, assembler = self._now_ns(), self._runner.assembler
        stamp_ns = sample_time_ns(camera.stream, stamp_to_ns(msg.header.stamp), now_ns)
        try:
            frame = image_from_msg(msg, camera, stamp_ns)
        except InputRejected as error:
            assembler.cameras[camera.name].reject(str(error), now_ns)
        else:
            assembler.add_frame(camera.name, frame, now_ns)

    def _on_unread_image(self, camera: CameraSpec, _: bytes) -> None:
        self._runner.assembler.cameras[camera.name].meter.add(self._now_ns())

    def _on_scene(self, msg: MarkerArray) -> None:
        now_ns, assembler = self._now_ns(), self._runner.assembler
        try:
            scene = scene_from_msg(msg)
        except InputRejected as error:
            assembler.scene.reject(str(error), now_ns)
        else:
            assembler.add_scene(scene, now_ns)

    def _on_instruction(self, msg: String) -> None:
        self._runner.instruct(msg.data, self._now_ns())

    def _on_event(self, msg: EpisodeEvent) -> None:
        if msg.type in ENDINGS:
            self._runner.episode_ended(
                ENDINGS[msg.type], stamp_to_ns(msg.header.stamp),
                f'{msg.source}: {msg.text}', self._now_ns())
