"""
Publish an episode's timeline on time: absolute deadlines of the steady clock, recorded stamps.

What is late is published at once and counted. Knows no file format; the decision what is played
is the caller's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
import time

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_namespace import validate_namespace
from sensor_msgs.msg import CompressedImage, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.timeline import JOINT_STATES, TimelineItem, TRAJECTORY
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import ns_to_duration, ns_to_stamp

# From the decision to play until the first message: time to fill the queues.
LEAD_NS = 100_000_000
ACKNOWLEDGE_S = 5.0
POLL_S = 0.02
# How long it takes to hear of the other nodes.
DISCOVERY_S = 0.7
LATENESS_KEPT = 100_000


@dataclass
class Published:
    """
    What went out on one topic.

    :ivar count: Messages.
    :ivar late_ns: How late the newest of them were, in [ns].
    """

    topic: str
    count: int = 0
    late_ns: deque[int] = field(default_factory=lambda: deque(maxlen=LATENESS_KEPT))

    def late_ms(self, percent: float) -> float:
        """Return a percentile of the lateness in [ms]."""
        return float(np.percentile(self.late_ns, percent)) / 1e6 if self.late_ns else 0.0


class Player:
    """A node that publishes episodes; it listens to nothing and needs no spinning."""

    def __init__(self, topics: Mapping[str, str], namespace: str = '') -> None:
        """
        Create the publishers.

        :param topics: Stream, as in `core.timeline`, to topic; others than rows are cameras.
        """
        try:
            validate_namespace(f'/{namespace.strip("/")}')
        except NameValidationException as error:
            reason = str(error).splitlines()[0].rstrip(':')
            raise ValueError(f'{namespace!r}: {reason}') from error
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        try:
            self._node = rclpy.create_node('player', namespace=namespace)
            types = {JOINT_STATES: JointState, TRAJECTORY: JointTrajectory}
            self._publishers: dict[str, Publisher] = {
                stream: self._node.create_publisher(
                    types.get(stream, CompressedImage), topic, qos.PLAYED)
                for stream, topic in topics.items()}
            self._events = self._node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        except Exception:
            rclpy.try_shutdown()
            raise
        self.published = {
            stream: Published(publisher.topic_name)
            for stream, publisher in self._publishers.items()}

    def taken(self, stream: str) -> str:
        """Return the stream's topic if somebody else publishes it too, else ''."""
        publisher, deadline = self._publishers[stream], time.monotonic() + DISCOVERY_S
        while time.monotonic() < deadline:
            if self._node.count_publishers(publisher.topic_name) > 1:
                return str(publisher.topic_name)
            time.sleep(POLL_S)
        return ''

    def wait_for_subscribers(self, limit_s: float, number: int = 1) -> list[str]:
        """Return the topics with fewer than ``number`` listeners after ``limit_s`` [s] at most."""
        deadline = time.monotonic() + limit_s
        while unheard := [publisher.topic_name for publisher in self._publishers.values()
                          if publisher.get_subscription_count() < number]:
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_S)
        return unheard

    def play(self, episode: Episode, items: Iterable[TimelineItem], joints: Mapping[str, str],
             rate: float = 1.0) -> Iterator[float]:
        """
        Publish ``items`` when they are due; yield the time in [s] up to which that is done.

        :param joints: The dataset's joint names to those to publish.
        :param rate: Recorded time per time; stamps are the start plus recorded time over it.
        """
        # Decoding the first image takes time, which must not make it late.
        items = iter(items)
        first = list(islice(items, 1))
        stamps_ns = self._node.get_clock().now().nanoseconds + LEAD_NS
        start_ns = time.monotonic_ns() + LEAD_NS
        messages = _Messages(episode, joints, rate)
        self._mark(EpisodeEvent.START, episode, stamps_ns)
        for item in chain(first, items):
            due_ns = round(item.due_ns / rate)
            message = messages.make(item, stamps_ns + due_ns)
            wait_ns = start_ns + due_ns - time.monotonic_ns()
            if wait_ns > 0:
                time.sleep(wait_ns * 1e-9)
            self._publishers[item.stream].publish(message)
            report = self.published[item.stream]
            report.count += 1
            report.late_ns.append(time.monotonic_ns() - start_ns - due_ns)
            yield item.due_ns * 1e-9
        self._mark(EpisodeEvent.END, episode, stamps_ns + round(episode.duration_s * 1e9 / rate))

    def _mark(self, kind: int, episode: Episode, stamp_ns: int) -> None:
        event = EpisodeEvent()
        event.header.stamp = ns_to_stamp(stamp_ns)
        event.episode_id, event.type = episode.source, kind
        event.text, event.source = episode.task, self._node.get_name()
        self._events.publish(event)

    def close(self) -> bool:
        """Wait until reliable subscribers have everything, then leave; return whether they do."""
        done = [publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_S))
                for publisher in (*self._publishers.values(), self._events)]
        self._node.destroy_node()
        rclpy.shutdown()
        return all(done)


class _Messages:
    """Messages of one episode; joint names are converted once."""

    def __init__(self, episode: Episode, joints: Mapping[str, str], rate: float) -> None:
        self._episode = episode
        self._state_names = [joints.get(name, name) for name in episode.state_names]
        self._action_names = [joints.get(name, name) for name in episode.action_names]
        gaps_s = np.diff(episode.times_s) if len(episode.times_s) > 1 else np.array([0.1])
        # A commanded row is to be reached when the next one comes.
        self._steps_ns = np.rint(np.append(gaps_s, gaps_s[-1]) * 1e9 / rate).astype(int)

    def make(self, item: TimelineItem,
             stamp_ns: int) -> JointState | JointTrajectory | CompressedImage:
        """Return the message of an item."""
        message: JointState | JointTrajectory | CompressedImage
        if item.stream == JOINT_STATES:
            message = JointState(
                name=self._state_names, position=self._episode.state[item.row].tolist())
        elif item.stream == TRAJECTORY:
            assert self._episode.action is not None
            message = JointTrajectory(joint_names=self._action_names, points=[
                JointTrajectoryPoint(
                    positions=self._episode.action[item.row].tolist(),
                    time_from_start=ns_to_duration(int(self._steps_ns[item.row])))])
        else:
            message = CompressedImage(format='rgb8; jpeg compressed bgr8')
            # Straight into the array: a list of bytes would be checked one by one.
            message.data.frombytes(item.image)
            message.header.frame_id = item.stream
        message.header.stamp = ns_to_stamp(stamp_ns)
        return message
