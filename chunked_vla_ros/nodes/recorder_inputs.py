"""
The recorder's subscriptions: found by name, adapted to their publishers, taken from as raw bytes.

One thread polls them all, because rclpy's executor would spend 0.3 ms on each of a thousand
messages a second. Decides nothing about recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rclpy._rclpy_pybind11 import InvalidHandle, RCLError
from rclpy.node import Node
from rclpy.qos import QoSProfile

from chunked_vla_ros.core.loss_meter import NOT_NUMBERED
from chunked_vla_ros.core.recording import StreamSpec, WireMessage
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.data.message_definition import definition_of
from chunked_vla_ros.nodes.polled import PolledGroup, taken
from chunked_vla_ros.nodes.recorded_types import message_class, TypeNotHereError
from chunked_vla_ros.nodes.recorder_qos import (
    asks_too_much,
    is_latched,
    offered_qos,
    profile_for,
)

# A subscription that replaces another is there beside it until every publisher has found it.
OVERLAP_REFRESHES = 5
NOBODY = 'nobody has published it: is the name right, and its driver running?'


@dataclass
class Input:
    """
    One topic that is listened to.

    :ivar spec: What the bag says of it, with its publishers of now.
    :ivar publishers: How many there are.
    :ivar found_ns: When it was first listened to, in [ns] of the node's clock.
    :ivar heard: Whether anything has come.
    """

    spec: StreamSpec
    message_type: type
    profile: QoSProfile
    subscriptions: list[Any]
    publishers: int
    found_ns: int
    heard: bool = False
    # While two subscriptions overlap: what came from either, by send time and number.
    seen: set[tuple[int, int]] | None = None
    overlap_left: int = field(default=0)

    @property
    def latched(self) -> bool:
        """Return whether what was said before is heard."""
        return is_latched(self.profile)

    @property
    def matched(self) -> int:
        """
        Return how many publishers the middleware connects to, seen from here.

        A publisher may believe that it is heard before that is so; here it is.
        """
        try:
            return int(self.subscriptions[-1].get_publisher_count())
        except (InvalidHandle, IndexError):
            return 0    # replaced or destroyed meanwhile

    def take(self, log_ns: Callable[[int], int]) -> Iterator[WireMessage]:
        """Yield what waits, oldest first, at most the queue's depth: a flood ends too."""
        for subscription in tuple(self.subscriptions):
            try:
                for found in taken(subscription, self.profile.depth, raw=True):
                    message = self._message(found, log_ns)
                    if message is not None:
                        yield message
            except InvalidHandle:
                continue    # replaced or destroyed meanwhile

    def _message(self, found: tuple[bytes, dict[str, Any]],
                 log_ns: Callable[[int], int]) -> WireMessage | None:
        data, info = found
        number = info['publication_sequence_number']
        sequence = NOT_NUMBERED if number is None else number
        sent_ns = info['source_timestamp']
        if self.seen is not None:
            key = sent_ns, sequence
            if key in self.seen:
                return None
            self.seen.add(key)
        received_ns = log_ns(info['received_timestamp'])
        # A stamp of another machine may be anything.
        sent_ns = sent_ns if sent_ns > 0 else received_ns
        return WireMessage(self.spec.topic, data, received_ns, sent_ns, sequence)


class RecorderInputs:
    """
    Every topic of a selection that somebody publishes. For one thread, but for what is read.

    :ivar inputs: Those that are listened to; replaced as a whole, so any thread may read it.
    :ivar problems: Why a topic is not listened to, or not wholly, by topic; replaced likewise.
    """

    def __init__(self, node: Node, selection: Selection) -> None:
        self._node, self._selection = node, selection
        self.inputs: tuple[Input, ...] = ()
        self.problems: Mapping[str, str] = {}
        # Topics that need no look any more: not to be recorded, or listened to.
        self._settled: set[str] = set()

    @property
    def publishers(self) -> dict[str, tuple[int, int]]:
        """Return per topic how many publishers are heard, and how many there are."""
        return {entry.spec.topic: (entry.matched, entry.publishers) for entry in self.inputs}

    def find(self) -> None:
        """
        Listen to topics that have appeared.

        Costs a hundredth of a millisecond where nothing has: a topic that appears while recording
        loses what is sent before this is called.
        """
        for topic, _ in self._node.get_topic_names_and_types():
            if topic in self._settled:
                continue
            if self._selection.wish(topic) is None:
                self._settled.add(topic)
            elif self._node.count_publishers(topic):
                publishers = self._node.get_publishers_info_by_topic(topic)
                if publishers:
                    self._settled.add(topic)
                    self._listen(topic, publishers)

    def refresh(self, forget: bool) -> None:
        """
        Follow the publishers of every topic, and try again what could not be listened to.

        :param forget: Whether a problem goes with its topic; it stays as long as somebody needs
            to be told.
        """
        types = dict(self._node.get_topic_names_and_types())
        for entry in self.inputs:
            topic = entry.spec.topic
            self._follow(entry, self._node.get_publishers_info_by_topic(topic))
            self._compare_types(entry, types.get(topic, ()))
            _end_overlap(self._node, entry)
        known = {entry.spec.topic for entry in self.inputs}
        for topic in self.problems.keys() - known:
            publishers = self._node.get_publishers_info_by_topic(topic)
            if publishers:
                self._listen(topic, publishers)
        if forget:
            self._settled -= self.problems.keys() - types.keys()
            self.problems = {topic: text for topic, text in self.problems.items()
                             if topic in types or text == NOBODY}
        for topic in self._selection.named:
            if topic not in known and topic not in self.problems:
                self._complain(topic, NOBODY)

    def destroy(self) -> None:
        """Leave every topic."""
        inputs, self.inputs = self.inputs, ()
        for entry in inputs:
            for subscription in entry.subscriptions:
                self._node.destroy_subscription(subscription)

    def _listen(self, topic: str, publishers: Sequence[Any]) -> None:
        """Listen to the first of the topic's types that can be: another one is somebody's slip."""
        for type_name in dict.fromkeys(each.topic_type for each in publishers):
            try:
                entry = self._entry(
                    topic, type_name,
                    [each for each in publishers if each.topic_type == type_name])
            except TypeNotHereError as error:
                self._complain(topic, f'not recorded: {error}')
            except (RCLError, OSError, ValueError) as error:
                # The middleware allows a process one type per topic, and this one knows another.
                reason = ' '.join(str(error).partition(', at ')[0].split())
                self._complain(topic, f'not recorded as {type_name}: {reason}')
            else:
                self._complain(topic, '')
                self.inputs = (*self.inputs, entry)
                return

    def _entry(self, topic: str, type_name: str, publishers: Sequence[Any]) -> Input:
        message_type = message_class(type_name)
        wish = self._selection.wish(topic)
        assert wish is not None
        spec = StreamSpec(
            topic, type_name, definition_of(type_name), str(publishers[0].topic_type_hash),
            tuple(offered_qos(each) for each in publishers), wish.expected_rate_hz,
            wish.required, self._selection.codec(topic).compression)
        entry = Input(
            spec, message_type, profile_for(publishers, type_name), [], len(publishers),
            int(self._node.get_clock().now().nanoseconds))
        entry.subscriptions.append(self._subscribe(entry))
        return entry

    def _follow(self, entry: Input, publishers: Sequence[Any]) -> None:
        """Take note of the publishers of now, and be heard by all of them."""
        publishers = [each for each in publishers if each.topic_type == entry.spec.type_name]
        offers = tuple(offered_qos(each) for each in publishers)
        if not offers or offers == entry.spec.offered_qos:
            return    # a bag tells what was offered, also after the publisher has gone
        entry.publishers = max(len(publishers), 1)
        entry.spec = replace(entry.spec, offered_qos=offers)
        wanted = profile_for(publishers, entry.spec.type_name)
        if asks_too_much(entry.profile, wanted):
            entry.profile = wanted
            # Both listen until the publishers have found the new one; nothing is taken twice.
            entry.seen, entry.overlap_left = set(), OVERLAP_REFRESHES
            entry.subscriptions.append(self._subscribe(entry))

    def _subscribe(self, entry: Input) -> Any:
        return self._node.create_subscription(
            entry.message_type, entry.spec.topic, _never_called, entry.profile,
            callback_group=PolledGroup(), raw=True)

    def _compare_types(self, entry: Input, types: Sequence[str]) -> None:
        others = [name for name in types if name != entry.spec.type_name]
        self._complain(entry.spec.topic, '' if not others else (
            f'only {entry.spec.type_name} is recorded, others call it {", ".join(others)}: '
            'rename one of the topics'))

    def _complain(self, topic: str, problem: str) -> None:
        """Say what is wrong with a topic, '' if nothing is."""
        if self.problems.get(topic, '') != problem:
            kept = {name: text for name, text in self.problems.items() if name != topic}
            self.problems = {**kept, topic: problem} if problem else kept


def _end_overlap(node: Node, entry: Input) -> None:
    if not entry.overlap_left:
        return
    entry.overlap_left -= 1
    if not entry.overlap_left:
        *former, newest = entry.subscriptions
        entry.subscriptions = [newest]
        entry.seen = None
        for subscription in former:
            node.destroy_subscription(subscription)


def _never_called(_: object) -> None:
    raise AssertionError('a polled subscription was called back')
