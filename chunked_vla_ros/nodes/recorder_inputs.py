"""
The recorder's subscriptions: found by name, adapted to their publishers, taken from as raw bytes.

One thread polls them all, because rclpy's executor would spend 0.3 ms on each of a thousand
messages a second. Decides nothing about recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


@dataclass
class Input:
    """
    One topic that is listened to.

    :ivar spec: What the bag says of it, with its publishers of now.
    :ivar publishers: How many there are.
    """

    spec: StreamSpec
    message_type: type
    profile: QoSProfile
    subscriptions: list[Any]
    publishers: int
    # While two subscriptions overlap: what came from either, by send time and number.
    seen: set[tuple[int, int]] | None = None
    overlap_left: int = field(default=0)

    @property
    def latched(self) -> bool:
        """Return whether what was said before is heard."""
        return is_latched(self.profile)

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
        return WireMessage(self.spec.topic, data, received_ns, sent_ns or received_ns, sequence)


class RecorderInputs:
    """
    Every topic of a selection that somebody publishes.

    :ivar inputs: Those that are listened to; replaced as a whole, so any thread may read it.
    :ivar problems: Why a topic is not listened to, or not wholly, by topic.
    """

    def __init__(self, node: Node, selection: Selection) -> None:
        self._node, self._selection = node, selection
        self.inputs: tuple[Input, ...] = ()
        self.problems: dict[str, str] = {}

    def refresh(self) -> None:
        """Listen to topics that have appeared, and follow their publishers."""
        known = {entry.spec.topic: entry for entry in self.inputs}
        for topic, types in self._node.get_topic_names_and_types():
            if self._selection.wish(topic) is None:
                continue
            publishers = self._node.get_publishers_info_by_topic(topic)
            entry = known.get(topic)
            if entry is not None:
                self._follow(entry, publishers)
            elif publishers:
                self._listen(topic, publishers)
            self._compare_types(topic, types)
        for entry in self.inputs:
            _end_overlap(self._node, entry)

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
                self.problems[topic] = f'not recorded: {error}'
            except RCLError as error:
                # The middleware allows a process one type per topic, and this one knows another.
                reason = str(error).partition(', at ')[0]
                self.problems[topic] = f'not recorded as {type_name}: {reason}'
            else:
                self.problems.pop(topic, None)
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
            spec, message_type, profile_for(publishers, type_name), [], len(publishers))
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

    def _compare_types(self, topic: str, types: Sequence[str]) -> None:
        entry = next((each for each in self.inputs if each.spec.topic == topic), None)
        others = [name for name in types if entry and name != entry.spec.type_name]
        if entry is not None and others:
            self.problems[topic] = (f'only {entry.spec.type_name} is recorded, others call it '
                                    f'{", ".join(others)}: rename one of the topics')
        elif entry is not None:
            self.problems.pop(topic, None)


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
