"""
Keep the simulator's scene while an episode runs, for who judges it; a policy never sees this.

Messages are kept as the bytes that arrived and decoded when the episode is over. Judges nothing.
"""

from __future__ import annotations

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.core.types import Pose
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.sensor_conversions import scene_from_msg


class SceneLog:
    """Keeps what the topic ``scene`` says between `start` and `take`."""

    def __init__(self, node: Node) -> None:
        self._kept: list[bytes] = []
        self._recording = False
        self._subscription = node.create_subscription(
            MarkerArray, 'scene', self._keep, qos.STATUS, raw=True)

    def start(self) -> None:
        """Forget what was kept and record from now on."""
        self._kept, self._recording = [], True

    def take(self) -> list[dict[str, Pose]]:
        """
        Stop recording and return the poses by name, in order.

        :raises InputRejected: a value is not finite.
        """
        self._recording = False
        return [scene_from_msg(deserialize_message(data, MarkerArray)) for data in self._kept]

    def _keep(self, data: bytes) -> None:
        if self._recording:
            self._kept.append(data)
