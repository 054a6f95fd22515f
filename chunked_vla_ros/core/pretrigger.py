"""
What came shortly before a recording starts, and what was latched long before.

Bounded in time and in bytes. Knows neither ROS nor files; time is that of the messages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from chunked_vla_ros.core.recording import WireMessage
from chunked_vla_ros.core.types import NS_PER_S


class PretriggerRing:
    """
    Keep the newest messages.

    :ivar bytes: Size of what is kept.
    """

    def __init__(self, seconds: float, limit_bytes: int) -> None:
        """Keep at most ``seconds`` in [s], and at most ``limit_bytes``; 0 of either: nothing."""
        self._span_ns, self._limit = round(seconds * NS_PER_S), limit_bytes
        self._kept: deque[WireMessage] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, message: WireMessage) -> None:
        """Keep ``message`` and forget what it makes too old or too much."""
        if not self._span_ns:
            return
        if self._kept and message.log_ns < self._kept[-1].log_ns - self._span_ns:
            # The clock was set back: what is kept now lies in the future.
            self.clear()
        self._kept.append(message)
        self.bytes += len(message.data)
        self._forget(message.log_ns)

    def take(self, now_ns: int) -> list[WireMessage]:
        """Return what is kept of the time before ``now_ns``, oldest first, and forget it."""
        self._forget(now_ns)
        kept = list(self._kept)
        self.clear()
        return kept

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.bytes = 0

    def _forget(self, now_ns: int) -> None:
        kept = self._kept
        while kept and (kept[0].log_ns < now_ns - self._span_ns or self.bytes > self._limit):
            self.bytes -= len(kept.popleft().data)


class LatchedMemory:
    """
    Remember what latched topics said last.

    A subscription hears it once, when it begins; every episode needs it.
    """

    def __init__(self) -> None:
        self._topics: dict[str, deque[WireMessage]] = {}

    def add(self, message: WireMessage, publishers: int) -> None:
        """Remember ``message``; of each topic as many as it has ``publishers``, at least one."""
        kept = self._topics.setdefault(message.topic, deque())
        kept.append(message)
        while len(kept) > max(publishers, 1):
            kept.popleft()

    def newest(self, topic: str) -> WireMessage | None:
        """Return what ``topic`` said last."""
        kept = self._topics.get(topic)
        return kept[-1] if kept else None

    def before(self, ring: list[WireMessage], start_ns: int) -> list[WireMessage]:
        """
        Return what is true when an episode begins that starts with ``ring``, oldest first.

        Its log time is the episode's beginning, as if a recorder had subscribed there: an episode
        must not seem to begin when the operator typed its instruction.
        """
        begin_ns = min([start_ns, *(message.log_ns for message in ring[:1])])
        present = {id(message) for message in ring}
        held = [message for kept in self._topics.values() for message in kept
                if id(message) not in present]
        return [replace(message, log_ns=begin_ns)
                for message in sorted(held, key=lambda message: message.log_ns)]
