"""
Hear /clock in a thread of its own.

The control loop lives on simulated time, and services and transitions of its node wait for the
loop: would the node's own thread have to hear /clock, time would stand still while it waits.
"""

from __future__ import annotations

from collections.abc import Callable
import threading

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import stamp_to_ns


class ClockListener:
    """Call ``on_time`` with each time in [ns] that /clock tells, until `close`."""

    def __init__(self, name: str, context: Context, on_time: Callable[[int], None]) -> None:
        # A node of its own, hidden from lists, that takes no arguments meant for the real one.
        self._node = Node(
            f'_{name}_clock', context=context, use_global_arguments=False,
            start_parameter_services=False, enable_rosout=False)
        self._node.create_subscription(
            Clock, '/clock', lambda msg: on_time(stamp_to_ns(msg.clock)), qos.CLOCK)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='clock', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()
        self._thread.join(timeout=1.0)
        self._node.destroy_node()
