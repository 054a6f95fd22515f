"""
What is known of one topic of a bag: counted message by message, whatever the storage.

Judges losses and gaps as the recorder does. Knows no files.
"""

from __future__ import annotations

from chunked_vla_ros.core.presence import Presence
from chunked_vla_ros.core.recording import StreamSpec
from chunked_vla_ros.core.stream_health import StreamHealth, StreamReport


class TopicScan:
    """
    What is known of one topic.

    :ivar types: Its message type; several, if the bag contradicts itself.
    :ivar qos_texts: What its publishers offered, as YAML, one for each channel.
    :ivar messages: How many.
    :ivar first_ns: Smallest log stamp in [ns], ``None`` without messages.
    :ivar last_ns: Largest log stamp in [ns].
    :ivar numbered: Whether the messages carry their publisher's numbers.
    """

    def __init__(self, topic: str, publishers: int = 1, judged: bool = True) -> None:
        """Count from nothing; losses, gaps and presence only if ``judged``."""
        self.topic = topic
        self.types: list[str] = []
        self.qos_texts: list[str] = []
        self.type_hash = ''
        self.messages = self.bytes = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.numbered = False
        self.presence = Presence()
        self._judged = judged
        self._health = StreamHealth(StreamSpec(topic, ''), publishers=publishers)

    def describe(self, type_name: str, qos_text: str, type_hash: str) -> None:
        """Take what a channel says of the topic."""
        if type_name not in self.types:
            self.types.append(type_name)
        if qos_text not in self.qos_texts:
            self.qos_texts.append(qos_text)
        self.type_hash = self.type_hash or type_hash
        self._health.publishers = max(self._health.publishers, publishers_in(qos_text))

    def add(self, log_ns: int, sequence: int, size: int) -> None:
        """Count a message of ``size`` bytes."""
        self.messages += 1
        self.bytes += size
        if self.first_ns is None or self.last_ns is None:
            self.first_ns = self.last_ns = log_ns
        elif log_ns > self.last_ns:
            self.last_ns = log_ns
        elif log_ns < self.first_ns:
            self.first_ns = log_ns
        self.numbered = self.numbered or sequence > 0
        if self._judged:
            self.presence.add(log_ns)
            self._health.add(log_ns, sequence, size)

    def report(self, end_ns: int) -> StreamReport:
        """Return rate, gaps and losses up to ``end_ns``, as the recorder itself reports them."""
        return self._health.report(end_ns)


def publishers_in(qos_text: str) -> int:
    """Return how many publishers offered what ``qos_text`` says; at least one."""
    return max(1, qos_text.count('reliability:'))
