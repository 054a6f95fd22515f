"""
How long each topic of a damaged bag is silent around the damage.

Told of damage and messages as a file is read; estimates at the end. Knows neither files nor what
is done with the messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_scan import BagScan
from chunked_vla_ros.data.mcap_events import Damage

# A stamp in a damaged place that is farther than this from the rest is damaged itself.
BELIEVABLE_NS = 600 * NS_PER_S


@dataclass
class TopicLoss:
    """
    What became of one topic.

    :ivar recovered: Messages in the new bag.
    :ivar last_ns: Log stamp of the last of them in [ns], ``None`` without one.
    :ivar lost_messages: How many could be counted in what is lost, at least.
    :ivar lost_s: Time around the damage without messages, beyond the usual pause, in [s]; ``None``
        where the topic has too few messages to tell.
    """

    topic: str
    recovered: int = 0
    last_ns: int | None = None
    lost_messages: int = 0
    lost_s: float | None = None


class Holes:
    """
    The silence of each topic around damage.

    :ivar counted: Messages of each topic that could be counted in what is lost.
    """

    def __init__(self) -> None:
        self.counted: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._closed: dict[str, list[int]] = {}
        self._ends: list[int] = []

    def damage(self, bag: BagScan, damage: Damage) -> None:
        """Note after which stamp each topic is cut."""
        if damage.length and damage.end_ns is not None:
            self._ends.append(damage.end_ns)
        for name, topic in bag.topics.items():
            if damage.length and topic.last_ns is not None:
                self._open.setdefault(name, topic.last_ns)

    def message(self, topic: str, log_ns: int) -> None:
        """Note when a topic is back."""
        if topic in self._open:
            self._closed.setdefault(topic, []).append(log_ns - self._open.pop(topic))

    def losses(self, bag: BagScan) -> list[TopicLoss]:
        """Return every topic's loss."""
        believable = (end for end in self._ends if abs(end - bag.end_ns) < BELIEVABLE_NS)
        end_ns = max(believable, default=bag.end_ns)
        found = []
        for name, topic in bag.topics.items():
            holes = list(self._closed.get(name, []))
            if name in self._open:
                holes.append(end_ns - self._open[name])
            lost_s = None
            if topic.messages > 1 and topic.first_ns is not None and topic.last_ns is not None:
                silent_ns = sum(max(hole, 0) for hole in holes)
                usual = (topic.last_ns - topic.first_ns - sum(self._closed.get(name, []))
                         ) / max(topic.messages - 1 - len(self._closed.get(name, [])), 1)
                lost_s = max(silent_ns - len(holes) * max(usual, 0.0), 0.0) / NS_PER_S
            found.append(TopicLoss(name, topic.messages, topic.last_ns,
                                   self.counted.get(name, 0), lost_s))
        return found
