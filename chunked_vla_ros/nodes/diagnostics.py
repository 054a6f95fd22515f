"""Publish one DiagnosticStatus per node on /diagnostics at 1 Hz (REP 107)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from chunked_vla_ros.nodes import qos

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
PERIOD_S = 1.0
# For timers that must fire while simulated time stands still.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


@dataclass(frozen=True)
class Finding:
    """What a node says of itself: a level, one line, and named values."""

    level: bytes
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


def status_msg(name: str, hardware_id: str, finding: Finding) -> DiagnosticStatus:
    """Return ``finding`` as a message."""
    return DiagnosticStatus(
        level=finding.level, name=name, hardware_id=hardware_id, message=finding.message,
        values=[KeyValue(key=key, value=str(value)) for key, value in finding.values.items()])


class DiagnosticsPublisher:
    """Ask ``collect`` for a finding once a second and publish it."""

    def __init__(self, node: Node, hardware_id: str, collect: Callable[[], Finding]) -> None:
        self._node, self._hardware_id, self._collect = node, hardware_id, collect
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', qos.STATUS)
        self._timer = node.create_timer(PERIOD_S, self._publish, clock=STEADY)

    def _publish(self) -> None:
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name()
        array.status = [status_msg(name, self._hardware_id, self._collect())]
        self._publisher.publish(array)

    def destroy(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)
