"""
A recorder as one writes it in an hour: rclpy calls back with raw bytes, rosbags writes them.

What `recorder_node` is measured against, with the same two services. No thread, no accounting, no
protection of any kind; it listens to the topics that exist when it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
import sys
import time
from typing import Any

from rclpy.node import Node
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from std_srvs.srv import Trigger

from chunked_vla_ros.data.message_definition import definition_of
from chunked_vla_ros.nodes.recorded_types import message_class
from chunked_vla_ros.nodes.recorder_qos import profile_for
from chunked_vla_ros.nodes.runtime import run

LOOK_PERIOD_S = 0.1


class PlainRecorder(Node):
    """The node `recorder`: ``~/start`` begins a bag in the folder `out`, ``~/stop`` closes it."""

    def __init__(self) -> None:
        super().__init__('recorder')
        self._out = Path(self.declare_parameter('out', '').value)
        self._missing = set(self.declare_parameter('topics', ['']).value) - {''}
        self._types: dict[str, tuple[str, str]] = {}
        self._writer: Writer | None = None
        self._connections: dict[str, Connection] = {}
        self._looking = self.create_timer(LOOK_PERIOD_S, self._look)
        self.create_service(Trigger, '~/start', self._start)
        self.create_service(Trigger, '~/stop', self._stop)

    def close(self) -> None:
        """Close the bag."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()

    def _look(self) -> None:
        """Listen to what has appeared, with as deep a queue as `recorder_node` asks for."""
        for topic in sorted(self._missing):
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers:
                continue
            name = publishers[0].topic_type
            self._types[topic] = name, str(publishers[0].topic_type_hash)
            self._missing.remove(topic)
            self.create_subscription(
                message_class(name), topic, partial(self._on_bytes, topic),
                profile_for(publishers, name), raw=True)
        if not self._missing:
            self.destroy_timer(self._looking)

    def _on_bytes(self, topic: str, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(self._connections[topic], time.time_ns(), data)

    def _start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        writer = Writer(self._out, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.open()
        self._connections = {
            topic: writer.add_connection(
                topic, name, msgdef=definition_of(name), rihs01=type_hash)
            for topic, (name, type_hash) in self._types.items()}
        self._writer = writer
        return _done(response, f'{self._out} is being recorded')

    def _stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.close()
        return _done(response, f'{self._out} is closed')


def _done(response: Any, message: str) -> Any:
    response.success, response.message = True, message
    return response


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run(PlainRecorder, argv)


if __name__ == '__main__':
    sys.exit(main())
