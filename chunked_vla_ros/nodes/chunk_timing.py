"""
A process that plays the robot for the inference benchmark and times the chunks that it gets.

Publishes joint states on absolute deadlines and images at the contract's rates; prints one JSON
object for every chunk, until its standard input ends. Judges nothing.
"""

from __future__ import annotations

import argparse
import array
from collections.abc import Mapping, Sequence
import json
import os
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport, RobotSpec
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ActionChunk
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import duration_to_ns, ns_to_stamp, stamp_to_ns

INSTRUCTION = 'go left'
SPIN_S = 0.02


class ChunkTimer:
    """Say of every chunk how long after its joint sample's stamp it was published [ms]."""

    def __init__(self, node: Node) -> None:
        node.create_subscription(ActionChunk, 'action_chunk', self._on_chunk, qos.CHUNK_IN)

    # rclpy tells from the second parameter that the middleware's facts are wanted.
    def _on_chunk(self, msg: ActionChunk, info: Mapping[str, Any]) -> None:
        # The sender's middleware dates a message when it is given it, by the machine's clock.
        overall_ns = info['source_timestamp'] - stamp_to_ns(msg.header.stamp)
        print(json.dumps({'overall_ms': overall_ns / 1e6,
                          'policy_ms': duration_to_ns(msg.inference_latency) / 1e6}), flush=True)


class StandIn:
    """A robot that stands at its home pose in front of noise."""

    def __init__(self, node: Node, robot: RobotSpec, joint_rate_hz: float) -> None:
        self._joints = JointState(name=list(robot.joint_names), position=robot.home.tolist())
        self._state = node.create_publisher(JointState, robot.state.topic, qos.SENSOR)
        self._cameras = [
            (node.create_publisher(Image, camera.stream.topic, qos.SENSOR), _noise(camera),
             max(1, round(joint_rate_hz / camera.stream.rate_hz)))
            for camera in robot.cameras if camera.transport is ImageTransport.RAW]
        self._period_ns = round(NS_PER_S / joint_rate_hz)
        self._instruction = node.create_publisher(String, 'instruction', qos.LATCHED)
        self._instruction.publish(String(data=INSTRUCTION))

    def run(self, ended: threading.Event) -> None:
        """Publish on absolute deadlines until ``ended``."""
        due_ns, count = time.monotonic_ns(), 0
        while not ended.is_set():
            time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
            stamp = ns_to_stamp(time.time_ns())
            self._joints.header.stamp = stamp
            self._state.publish(self._joints)
            for index, (publisher, image, every) in enumerate(self._cameras):
                # Not all cameras in the same instant: real ones are not synchronous either.
                if count % every == index % every:
                    image.header.stamp = stamp
                    publisher.publish(image)
            count += 1
            due_ns = max(due_ns + self._period_ns, time.monotonic_ns() - self._period_ns)


def _noise(camera: CameraSpec) -> Image:
    row = camera.width * 3
    pixels = np.random.default_rng(0).integers(0, 256, row * camera.height, np.uint8)
    return Image(width=camera.width, height=camera.height, encoding=camera.encoding, step=row,
                 data=array.array('B', pixels.tobytes()))


def play(robot: RobotSpec, joint_rate_hz: float) -> None:
    """Play the robot and time its chunks until standard input ends."""
    node = Node('chunk_timing')
    ChunkTimer(node)
    stand_in = StandIn(node, robot, joint_rate_hz)
    ended = threading.Event()

    def wait_for_end() -> None:
        # Not `sys.stdin`: Python cannot end while a thread holds its lock.
        while os.read(0, 1):
            pass
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    publishing = threading.Thread(target=stand_in.run, args=(ended,))
    publishing.start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not ended.is_set():
        executor.spin_once(timeout_sec=SPIN_S)
    publishing.join()
    node.destroy_node()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--robot', required=True)
    parser.add_argument('--joint-rate-hz', type=float, required=True)
    given = parser.parse_args(argv)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    play(load_robot(given.robot), given.joint_rate_hz)
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
