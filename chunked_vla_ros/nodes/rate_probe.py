"""
Listen to a running graph for a few seconds: what arrives, how much is lost, what nodes say.

Returns plain data; what is good or bad is decided in ``doctor``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
import time
from typing import Any

from lifecycle_msgs.srv import GetState
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from chunked_vla_ros.core.loss_meter import LossMeter
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.image_conversions import MSG_TYPES

DISCOVERY_S = 2.0
SERVICE_LIMIT_S = 2.0
MANAGED_NODES = ('inference', 'chunk_executor')
MODES = {value: name.removeprefix('MODE_') for name, value in vars(ExecutorState).items()
         if name.startswith('MODE_')}


@dataclass(frozen=True)
class StreamCount:
    """
    What arrived on one topic.

    :ivar publishers: How many publishers there were at the end.
    :ivar received: Messages received while listening.
    :ivar published: Messages that the publisher sent between the first and the last received.
    """

    publishers: int = 0
    received: int = 0
    published: int = 0


@dataclass(frozen=True)
class GraphSample:
    """
    What was heard of a graph.

    :ivar listened_s: How long messages were counted in [s].
    :ivar streams: Counts by topic.
    :ivar lifecycle: State of each managed node that answered.
    :ivar executor: The executor's mode and its reason, or empty.
    """

    listened_s: float
    streams: Mapping[str, StreamCount]
    lifecycle: Mapping[str, str] = field(default_factory=dict)
    executor: str = ''


def listen(robot: RobotSpec, namespace: str, listen_s: float) -> GraphSample:
    """Return what the graph of ``robot`` in ``namespace`` publishes within ``listen_s``."""
    with _probe_node(namespace) as node:
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        meters = _count_streams(node, robot)
        states: list[ExecutorState] = []
        node.create_subscription(ExecutorState, 'executor_state', states.append, qos.STATUS)
        _spin(executor, DISCOVERY_S)
        for meter in meters.values():
            meter.reset_counts()
        started = time.monotonic()
        _spin(executor, listen_s)
        listened_s = time.monotonic() - started
        streams = {
            topic: StreamCount(node.count_publishers(topic), meter.received, meter.published)
            for topic, meter in meters.items()}
        lifecycle = _lifecycle(node, executor)
    newest = states[-1] if states else None
    mode = f'{MODES[newest.mode]}: {newest.reason}' if newest else ''
    return GraphSample(listened_s, streams, lifecycle, mode)


@contextmanager
def _probe_node(namespace: str) -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node('rate_probe', namespace=namespace or '/', context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _count_streams(node: Node, robot: RobotSpec) -> dict[str, LossMeter]:
    """Subscribe to every stream of the contract, undecoded: counting must not cost rates."""
    topics = [(robot.state.topic, JointState, qos.SENSOR),
              *((camera.stream.topic, MSG_TYPES[camera.transport], qos.SENSOR)
                for camera in robot.cameras),
              ('executor_state', ExecutorState, qos.STATUS)]
    meters = {}
    for topic, kind, profile in topics:
        meters[topic] = LossMeter()
        node.create_subscription(kind, topic, _counter(meters[topic]), profile, raw=True)
    return meters


def _counter(meter: LossMeter) -> Any:
    # rclpy tells from the two parameters that the sequence number is wanted.
    def on_message(message: bytes, info: Mapping[str, Any]) -> None:
        meter.add(info['publication_sequence_number'], time.monotonic_ns())

    return on_message


def _lifecycle(node: Node, executor: SingleThreadedExecutor) -> dict[str, str]:
    states = {}
    for name in MANAGED_NODES:
        client = node.create_client(GetState, f'{name}/get_state')
        if client.wait_for_service(timeout_sec=SERVICE_LIMIT_S):
            future = client.call_async(GetState.Request())
            executor.spin_until_future_complete(future, timeout_sec=SERVICE_LIMIT_S)
            states[name] = future.result().current_state.label if future.done() else 'no answer'
        node.destroy_client(client)
    return states


def _spin(executor: SingleThreadedExecutor, duration_s: float) -> None:
    deadline = time.monotonic() + duration_s
    while (left_s := deadline - time.monotonic()) > 0.0:
        executor.spin_once(timeout_sec=left_s)
