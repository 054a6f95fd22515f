"""Recording over real DDS: what was published comes back as arrays in the contract's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import time
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from chunked_vla_ros.core.robot_spec import CameraSpec, RobotSpec, StreamSpec, TimeBase
from chunked_vla_ros.demo.free_domain import free_domain
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.film_log import FilmLog
from chunked_vla_ros.nodes.motion_log import MotionLog
from chunked_vla_ros.nodes.pose_watch import PoseWatch

DEADLINE_S = 20.0
STAMP_NS = 1_795_219_200_000_000_001
SESSION = 'ab' * 16

Spin = Callable[[Callable[[], bool]], None]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """Return a node alone in its domain; it hears what it publishes."""
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    context = rclpy.Context()
    with free_domain() as domain:
        rclpy.init(
            context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node('recorder', context=context)
        yield node
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.fixture
def spin(node: Node) -> Iterator[Spin]:
    """Return a function that spins until a condition holds."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def until(condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, 'nothing arrived'
            executor.spin_once(timeout_sec=0.05)

    yield until
    executor.shutdown()


def joint_state(positions: list[float], names: list[str], stamp_ns: int = STAMP_NS) -> JointState:
    msg = JointState(name=names, position=positions)
    msg.header.stamp = conversions.ns_to_stamp(stamp_ns)
    return msg


def executor_state(positions: list[float], stamp_ns: int = STAMP_NS) -> ExecutorState:
    msg = ExecutorState(
        mode=ExecutorState.MODE_RUNNING, session_id=conversions.hex_to_uuid(SESSION), chunk_id=4,
        observation_to_command=conversions.ns_to_duration(30_000_000), accepted=5,
        points_skipped=2, lateness_p50=1e-4, lateness_p99=2e-3, reason='following test')
    msg.header.stamp = conversions.ns_to_stamp(stamp_ns)
    msg.command.positions = positions
    msg.command.velocities = [0.5] * len(positions)
    msg.command.accelerations = [0.25] * len(positions)
    return msg


def publish_until(node: Node, spin: Spin, messages: dict[str, Any], profile: Any,
                  done: Callable[[], bool]) -> None:
    """Publish every message on its topic once its subscriber is there, then spin until done."""
    publishers = {
        topic: node.create_publisher(type(msg), topic, profile) for topic, msg in messages.items()}
    spin(lambda: all(one.get_subscription_count() for one in publishers.values()))
    for topic, msg in messages.items():
        publishers[topic].publish(msg)
    spin(done)


def test_everything_published_is_recorded_in_the_contracts_order(
        node: Node, spin: Spin, make_robot: Callable[..., RobotSpec],
        make_chunk: Callable[..., Any]) -> None:
    log = MotionLog(node, make_robot(), commands=True)
    log.start()
    chunk = make_chunk([[0.0, 0.1], [0.2, 0.3]])
    publish_until(node, spin, {
        'joint_states': joint_state([2.0, 1.0], ['joint_1', 'joint_0']),
        'position_command': Float64MultiArray(data=[0.5, 0.6]),
        'executor_state': executor_state([0.5, 0.6]),
        'action_chunk': conversions.chunk_to_msg(chunk)}, qos.STATUS,
        lambda: len(log.recorded.messages) == 4)
    found = log.decode(log.take())
    assert found.measured.times_ns.tolist() == [STAMP_NS]
    assert found.measured.positions.tolist() == [[1.0, 2.0]]
    assert found.commands.positions.tolist() == [[0.5, 0.6]]
    assert abs(int(found.commands.times_ns[0]) - time.time_ns()) < 60 * 10**9
    assert found.command_sequence.size == 1
    sample, = found.executor
    assert (sample.stamp_ns, sample.session_id, sample.chunk_id) == (STAMP_NS, SESSION, 4)
    assert sample.observation_to_command_s == pytest.approx(0.03)
    assert (sample.counters.accepted, sample.counters.points_skipped) == (5, 2)
    assert sample.velocity.tolist() == [0.5, 0.5]
    assert np.array_equal(found.chunks[0].positions, chunk.positions)


def test_nothing_is_kept_before_the_start_and_after_taking(
        node: Node, spin: Spin, make_robot: Callable[..., RobotSpec]) -> None:
    log, heard = MotionLog(node, make_robot(), commands=True), []
    node.create_subscription(Float64MultiArray, 'position_command', heard.append, qos.STATUS)
    message = {'position_command': Float64MultiArray(data=[0.0, 0.0])}
    publish_until(node, spin, message, qos.STATUS, lambda: len(heard) == 1)
    log.start()
    assert log.take().messages == {}
    publish_until(node, spin, message, qos.STATUS, lambda: len(heard) == 2)
    assert log.take().messages == {}
    assert log.decode(log.take()).commands.positions.shape == (0, 2)


@pytest.mark.parametrize(('commanded', 'agrees'), [
    ([1.0, 2.0], True), ([1.0, 2.5], False), ([], False)])
def test_executor_agrees_if_it_commands_what_is_measured(
        node: Node, spin: Spin, make_robot: Callable[..., RobotSpec], commanded: list[float],
        agrees: bool) -> None:
    watch = PoseWatch(node, make_robot())
    publish_until(node, spin, {
        'joint_states': joint_state([1.0, 2.0], ['joint_0', 'joint_1']),
        'executor_state': executor_state(commanded)}, qos.STATUS,
        lambda: watch.agrees(STAMP_NS - 1) is not None)
    assert watch.agrees(STAMP_NS - 1) is agrees
    # What was said before the question is no answer to it.
    assert watch.agrees(STAMP_NS) is None


def test_film_keeps_the_first_frame_of_each_period(
        node: Node, spin: Spin) -> None:
    camera = CameraSpec(
        'front', StreamSpec('image', 20.0, TimeBase.HEADER, 0.2), 'info', 2, 1, 'rgb8')
    film, heard = FilmLog(node, camera, 3600 * 10**9), []
    node.create_subscription(Image, 'image', heard.append, qos.SENSOR)
    film.start()
    frame = Image(height=1, width=2, encoding='rgb8', step=6, data=bytes(range(6)))
    frame.header.stamp = conversions.ns_to_stamp(STAMP_NS)
    publish_until(node, spin, {'image': frame}, qos.SENSOR, lambda: len(heard) == 1)
    publish_until(node, spin, {'image': frame}, qos.SENSOR, lambda: len(heard) == 2)
    kept, = film.take()
    assert kept.stamp_ns == STAMP_NS
    assert kept.pixels.tolist() == [[[0, 1, 2], [3, 4, 5]]]
