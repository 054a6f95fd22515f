"""
What a recorder is measured with: cameras, a fast robot, and the operator who starts and stops it.

A process of its own that sends numbered messages at absolute deadlines and says on its standard
output, one JSON object a line, when it begins and what it has sent. Judges nothing.
"""

from __future__ import annotations

import argparse
import array
from collections.abc import Sequence
from dataclasses import dataclass, field
import json
import random
import sys
import time
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from chunked_vla_ros.core.numbered_cdr import NumberedCdr, PLACEHOLDER
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.nodes import qos

JOINTS_TOPIC = '/joint_states'
JOINTS = 7
# Several pictures a camera, so that nothing can be kept for being the same as before.
PICTURES = 4
MATCH_LIMIT_S, ANSWER_LIMIT_S = 30.0, 60.0
# One side has found the other when a publisher is matched; the other's turn takes a moment.
SETTLE_S = 0.5
POLL_S = 0.02


def camera_topics(count: int) -> list[str]:
    """Return the topics of so many cameras."""
    return [f'/cameras/camera_{index}/image_raw' for index in range(count)]


@dataclass
class Stream:
    """
    One topic of the load.

    :ivar templates: What is sent, in turns.
    :ivar stamps_ns: When each message was handed to the middleware, in [ns]; the index is its
        number.
    """

    publisher: Publisher
    templates: Sequence[NumberedCdr]
    stamps_ns: list[int] = field(default_factory=list)

    def send(self) -> None:
        """Publish the next message."""
        number, stamp_ns = len(self.stamps_ns), time.time_ns()
        template = self.templates[number % len(self.templates)]
        self.publisher.publish(template.numbered(number, stamp_ns))
        self.stamps_ns.append(stamp_ns)


class RecorderLoad:
    """The node that sends, and asks the node `recorder` to start and to stop."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._node, self._given = Node('recorder_load'), given
        self._cameras = [
            Stream(self._node.create_publisher(Image, topic, qos.SENSOR),
                   _pictures(given.width, given.height, index))
            for index, topic in enumerate(camera_topics(given.cameras))]
        self._joints = Stream(
            self._node.create_publisher(JointState, JOINTS_TOPIC, qos.SENSOR), [_joint_state()])

    @property
    def streams(self) -> dict[str, Stream]:
        """Return everything that is sent, by topic."""
        return {stream.publisher.topic_name: stream for stream in (*self._cameras, self._joints)}

    def wait_for_recorder(self) -> None:
        """
        Wait until every topic is listened to.

        :raises TimeoutError: one is not.
        """
        deadline_s = time.monotonic() + MATCH_LIMIT_S
        while unheard := [topic for topic, stream in self.streams.items()
                          if not stream.publisher.get_subscription_count()]:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f'nobody records {", ".join(unheard)} after '
                                   f'{MATCH_LIMIT_S:g} s')
            time.sleep(POLL_S)
        time.sleep(SETTLE_S)

    def press(self, name: str) -> tuple[float, str]:
        """
        Call the recorder's service ``name``; return how long it took [s] and what it answered.

        :raises TimeoutError: there is no such service, or no answer.
        :raises RuntimeError: it could not do it.
        """
        client = self._node.create_client(Trigger, f'/recorder/{name}')
        if not client.wait_for_service(MATCH_LIMIT_S):
            raise TimeoutError(f'no service /recorder/{name}')
        begun_s = time.monotonic()
        future = client.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=ANSWER_LIMIT_S)
        took_s, answer = time.monotonic() - begun_s, future.result()
        self._node.destroy_client(client)
        if answer is None:
            raise TimeoutError(f'/recorder/{name} did not answer within {ANSWER_LIMIT_S:g} s')
        if not answer.success:
            raise RuntimeError(f'/recorder/{name}: {answer.message}')
        return took_s, answer.message

    def send(self) -> dict[str, Any]:
        """Send everything at its rate; return how well that was kept."""
        given = self._given
        frames = round(given.seconds * given.rate_hz)
        samples = round(given.seconds * given.joint_rate_hz)
        frame_ns, sample_ns = NS_PER_S / given.rate_hz, NS_PER_S / given.joint_rate_hz
        begun_ns, cpu_ns, late_ns = time.monotonic_ns(), time.process_time_ns(), 0
        frame = sample = 0
        while frame < frames or sample < samples:
            frame_due_ns = frame * frame_ns if frame < frames else float('inf')
            sample_due_ns = sample * sample_ns if sample < samples else float('inf')
            due_ns = begun_ns + round(min(frame_due_ns, sample_due_ns))
            wait_ns = due_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns / NS_PER_S)
            late_ns = max(late_ns, time.monotonic_ns() - due_ns)
            if frame_due_ns <= sample_due_ns:
                for camera in self._cameras:
                    camera.send()
                frame += 1
            else:
                self._joints.send()
                sample += 1
        wall_ns = time.monotonic_ns() - begun_ns
        cpu_share = (time.process_time_ns() - cpu_ns) / wall_ns
        time.sleep(SETTLE_S)    # what is on the way still needs its sender
        return {'wall_s': wall_ns / NS_PER_S, 'cpu_share': cpu_share,
                'latest_ms': late_ns / 1e6}

    def destroy(self) -> None:
        """Leave."""
        self._node.destroy_node()


def _pictures(width: int, height: int, camera: int) -> list[NumberedCdr]:
    """Return rgb8 pictures of noise, which nothing can make smaller."""
    chance = random.Random(camera)
    return [_numbered(Image(
        width=width, height=height, encoding='rgb8', step=3 * width,
        data=array.array('B', chance.randbytes(3 * width * height)))) for _ in range(PICTURES)]


def _joint_state() -> NumberedCdr:
    values = [0.1 * index for index in range(JOINTS)]
    return _numbered(JointState(
        name=[f'joint_{index + 1}' for index in range(JOINTS)], position=values, velocity=values,
        effort=values))


def _numbered(message: Any) -> NumberedCdr:
    message.header.frame_id = PLACEHOLDER
    return NumberedCdr(serialize_message(message))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cameras', type=int, required=True)
    parser.add_argument('--width', type=int, required=True)
    parser.add_argument('--height', type=int, required=True)
    parser.add_argument('--rate-hz', type=float, required=True)
    parser.add_argument('--joint-rate-hz', type=float, required=True)
    parser.add_argument('--seconds', type=float, required=True)
    parser.add_argument('--doomed', action='store_true',
                        help='the recorder is killed meanwhile, nobody stops it')
    return parser.parse_args(argv)


def _say(kind: str, **values: Any) -> None:
    print(json.dumps({'kind': kind, **values}), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; return its exit code."""
    given = _arguments(argv)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    load = RecorderLoad(given)
    try:
        load.wait_for_recorder()
        load.press('start')
        _say('begun')
        kept = load.send()
        _say('sent', **kept, stamps_ns={
            topic: stream.stamps_ns for topic, stream in load.streams.items()})
        # Whoever measures the recorder's work says when it has been measured.
        if not given.doomed and sys.stdin.readline():
            closing_s, message = load.press('stop')
            _say('closed', closing_s=closing_s, message=message)
    except (TimeoutError, RuntimeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    finally:
        load.destroy()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
