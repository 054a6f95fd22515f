"""
Keep a few frames of one camera for a film strip.

Images are the heaviest topic: frames stay undecoded, and all but one per period are dropped as
they arrive. Encodes and draws nothing.
"""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.nodes import conversions
from chunked_vla_ros.nodes.image_conversions import image_from_msg, MSG_TYPES

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class FilmLog:
    """Keeps about one frame per ``period_ns`` between `start` and `take`."""

    def __init__(self, node: Node, camera: CameraSpec, period_ns: int) -> None:
        self._camera, self._period_ns = camera, period_ns
        self._kept: list[bytes] = []
        self._recording = False
        self._due_ns = 0
        self._subscription = node.create_subscription(
            MSG_TYPES[camera.transport], camera.stream.topic, self._keep, NEWEST, raw=True)

    def start(self) -> None:
        """Forget what was kept and record from now on."""
        self._kept, self._recording, self._due_ns = [], True, 0

    def take(self) -> tuple[CameraFrame, ...]:
        """Stop recording and return the frames in order."""
        self._recording = False
        kind = MSG_TYPES[self._camera.transport]
        messages = [deserialize_message(data, kind) for data in self._kept]
        return tuple(
            image_from_msg(msg, self._camera, conversions.stamp_to_ns(msg.header.stamp))
            for msg in messages)

    def _keep(self, data: bytes, info: dict[str, int]) -> None:
        sent_ns = info['source_timestamp']
        if self._recording and sent_ns >= self._due_ns:
            self._kept.append(data)
            self._due_ns = sent_ns + self._period_ns
