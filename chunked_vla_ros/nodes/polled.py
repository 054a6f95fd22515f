"""
Subscriptions that a loop takes from at its own pace, instead of being called back.

rclpy's executor builds its whole wait set anew for every message (0.2 to 0.3 ms); a loop that
ticks anyway asks for less than a hundredth of that. Knows nothing about what the messages mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message


class PolledGroup(CallbackGroup):
    """A group whose members no rclpy executor ever waits for."""

    def can_execute(self, entity: Any) -> bool:
        """Return that ``entity`` is not the executor's."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Return that ``entity`` may not be executed."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Take note of nothing: nothing is executed."""


def taken(subscription: Any, depth: int, *, raw: bool) -> Iterator[tuple[Any, dict[str, Any]]]:
    """
    Yield what waits for ``subscription``, oldest first, each with the middleware's facts.

    At most ``depth`` messages, the queue's: a flood ends too.
    """
    handle = subscription.handle
    with handle:
        for _ in range(depth):
            found = handle.take_message(subscription.msg_type, raw)
            if found is None:
                return
            yield found


class Polled:
    """
    One subscription, taken from by one thread.

    :ivar lost: Messages of the publishers heard that were never taken here: what came faster than
        the loop asked, and what was lost on the wire.
    :ivar oversized: Sizes in bytes of messages that were dropped unread; the taker empties it.
    """

    def __init__(self, node: Node, message_type: type, topic: str, profile: QoSProfile,
                 largest_bytes: int = 0) -> None:
        """Subscribe; a message above ``largest_bytes`` (0: any size) is not even decoded."""
        self._node, self._depth, self.lost = node, profile.depth, 0
        self._sequence, self._largest = 0, largest_bytes
        self.oversized: list[int] = []
        self._subscription: Any = node.create_subscription(
            message_type, topic, _never_called, profile, callback_group=PolledGroup())

    def take(self) -> list[Any]:
        """Return what is waiting, oldest first, at most the queue's depth: a flood ends too."""
        waiting = self._take(raw=bool(self._largest))
        return self._decoded(waiting) if self._largest and waiting else waiting

    def take_bytes(self) -> list[bytes]:
        """Return the same as it came over the wire, encapsulation included."""
        return self._take(raw=True)

    def _take(self, *, raw: bool) -> list[Any]:
        waiting: list[Any] = []
        for message, info in taken(self._subscription, self._depth, raw=raw):
            self._count(info)
            waiting.append(message)
        return waiting

    def _decoded(self, waiting: list[bytes]) -> list[Any]:
        small = [data for data in waiting if len(data) <= self._largest]
        self.oversized += [len(data) for data in waiting if len(data) > self._largest]
        return [deserialize_message(data, self._subscription.msg_type) for data in small]

    def newest(self) -> Any | None:
        """Return the newest message waiting and drop those before it; None if there is none."""
        waiting = self.take()
        return waiting[-1] if waiting else None

    def _count(self, info: dict[str, Any]) -> None:
        """Book a gap in the publisher's numbers; a lower number is another publisher's."""
        number = info['publication_sequence_number'] or 0
        self.lost += max(number - self._sequence - 1, 0) if self._sequence else 0
        self._sequence = number

    def destroy(self) -> None:
        """Leave the topic."""
        self._node.destroy_subscription(self._subscription)


def _never_called(_: object) -> None:
    raise AssertionError('a polled subscription was called back')
