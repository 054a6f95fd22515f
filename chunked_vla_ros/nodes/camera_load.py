"""
Two processes for measuring a transport: one publishes as cameras do, one receives as inference.

Each prints one JSON object when it is done. The sender waits until every camera has its receiver
and sends on absolute deadlines; the receiver ends when its standard input does. Judges nothing.
"""

from __future__ import annotations

import argparse
import array
from collections.abc import Mapping, Sequence
from functools import partial
import json
import sys
import threading
import time
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from chunked_vla_ros.core.loss_meter import LossMeter
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import ns_to_stamp, stamp_to_ns
from chunked_vla_ros.nodes.image_conversions import image_from_msg

MATCH_LIMIT_S = 20.0
# Both sides have discovered each other when one has; the other's turn takes a moment.
SETTLE_S = 0.5
SPIN_S = 0.05


def load_cameras(count: int, width: int, height: int, rate_hz: float) -> tuple[CameraSpec, ...]:
    """Return ``count`` rgb8 cameras called camera_0, camera_1, ..."""
    return tuple(CameraSpec(
        f'camera_{index}',
        StreamSpec(f'cameras/camera_{index}/image_raw', rate_hz, TimeBase.HEADER, 1.0),
        f'cameras/camera_{index}/camera_info', width, height, 'rgb8') for index in range(count))


def send(node: Node, cameras: Sequence[CameraSpec], frames: int) -> dict[str, Any]:
    """
    Publish ``frames`` images of each camera; return what it took.

    :raises TimeoutError: if a camera finds no receiver.
    """
    publishers = [node.create_publisher(Image, camera.stream.topic, qos.SENSOR)
                  for camera in cameras]
    messages = [_picture(camera, index) for index, camera in enumerate(cameras)]
    deadline_s = time.monotonic() + MATCH_LIMIT_S
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f'a camera found no receiver within {MATCH_LIMIT_S:g} s')
        time.sleep(SPIN_S)
    time.sleep(SETTLE_S)
    period_ns = round(NS_PER_S / cameras[0].stream.rate_hz)
    begun_ns, cpu_ns, late_ns = time.monotonic_ns(), time.process_time_ns(), 0
    for index in range(frames):
        due_ns = begun_ns + index * period_ns
        time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
        late_ns = max(late_ns, time.monotonic_ns() - due_ns)
        for publisher, message in zip(publishers, messages, strict=True):
            message.header.stamp = ns_to_stamp(time.time_ns())
            publisher.publish(message)
    wall_ns, cpu_ns = time.monotonic_ns() - begun_ns, time.process_time_ns() - cpu_ns
    time.sleep(SETTLE_S)    # what is on the way still needs its sender
    return {'sent': {camera.name: frames for camera in cameras}, 'wall_s': wall_ns / NS_PER_S,
            'cpu_share': cpu_ns / wall_ns, 'latest_start_ms': late_ns / 1e6}


def _picture(camera: CameraSpec, index: int) -> Image:
    """Return an image whose bytes are all different from the next camera's."""
    row = camera.width * 3
    return Image(width=camera.width, height=camera.height, encoding='rgb8', step=row,
                 data=array.array('B', bytes([index + 1]) * (row * camera.height)))


class Receiver:
    """Convert every image as inference does; count it, and what its number shows lost."""

    def __init__(self, node: Node, cameras: Sequence[CameraSpec]) -> None:
        self._meters = {camera.name: LossMeter() for camera in cameras}
        self._latencies_ms: list[float] = []
        self._refused = 0
        self._first_ns = self._last_ns = self._first_cpu_ns = self._last_cpu_ns = 0
        for camera in cameras:
            node.create_subscription(
                Image, camera.stream.topic, partial(self._on_image, camera), qos.SENSOR)

    def _on_image(self, camera: CameraSpec, msg: Image, info: Mapping[str, Any]) -> None:
        sent_ns = stamp_to_ns(msg.header.stamp)
        try:
            image_from_msg(msg, camera, sent_ns)
        except InputRejected:
            self._refused += 1
        now_ns, cpu_ns = time.time_ns(), time.process_time_ns()
        self._latencies_ms.append((now_ns - sent_ns) / 1e6)
        self._meters[camera.name].add(info['publication_sequence_number'], now_ns)
        if not self._first_ns:
            self._first_ns, self._first_cpu_ns = now_ns, cpu_ns
        self._last_ns, self._last_cpu_ns = now_ns, cpu_ns

    def result(self) -> dict[str, Any]:
        """Return what arrived, by camera, and what receiving it took."""
        wall_ns = self._last_ns - self._first_ns
        return {
            'received': {name: meter.received for name, meter in self._meters.items()},
            'lost_by_number': {name: meter.lost for name, meter in self._meters.items()},
            'refused': self._refused, 'latencies_ms': self._latencies_ms,
            'cpu_share': (self._last_cpu_ns - self._first_cpu_ns) / wall_ns if wall_ns else 0.0}


def receive(node: Node, cameras: Sequence[CameraSpec]) -> dict[str, Any]:
    """Receive until standard input ends; return what arrived."""
    receiver, ended = Receiver(node, cameras), threading.Event()

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not ended.is_set():
        executor.spin_once(timeout_sec=SPIN_S)
    executor.remove_node(node)
    return receiver.result()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two processes; return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument('role', choices=('send', 'receive'))
    parser.add_argument('--cameras', type=int, required=True)
    parser.add_argument('--width', type=int, required=True)
    parser.add_argument('--height', type=int, required=True)
    parser.add_argument('--rate-hz', type=float, required=True)
    parser.add_argument('--frames', type=int, required=True)
    given = parser.parse_args(argv)
    cameras = load_cameras(given.cameras, given.width, given.height, given.rate_hz)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node(f'camera_load_{given.role}')
    try:
        result = (send(node, cameras, given.frames) if given.role == 'send'
                  else receive(node, cameras))
    except TimeoutError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
