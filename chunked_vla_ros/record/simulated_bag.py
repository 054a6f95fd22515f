"""
One simulated episode on its way to a bag: as the recorder's, without its queue and its thread.

The order of writing is that of the messages, so equal messages make equal bytes. Reads no clock.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.core.recording import EpisodeFacts, Outcome, StreamSpec, WireMessage
from chunked_vla_ros.core.stream_health import StreamHealth, verdict
from chunked_vla_ros.core.stream_selection import Selection
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.episode_folder import EpisodeRecord
from chunked_vla_ros.data.episode_streams import EpisodeStreams
from chunked_vla_ros.data.episode_writer import EpisodeWriter


class SimulatedBag:
    """
    The episode ``facts.episode_id`` in the folder ``out``.

    :raises OSError: it exists, or cannot be written.
    """

    def __init__(self, out: Path, facts: EpisodeFacts, selection: Selection) -> None:
        self._facts = facts
        self._writer = EpisodeWriter(out, facts)
        self.health = {
            topic: StreamHealth(StreamSpec(
                topic, '', expected_rate_hz=wish.expected_rate_hz, required=wish.required),
                facts.start_ns)
            for topic in selection.expected() if (wish := selection.wish(topic)) is not None}
        self._streams = EpisodeStreams(self._writer, selection, self.health)
        self._announced: set[str] = set()

    def keep(self, spec: StreamSpec, publishers: int, message: WireMessage) -> None:
        """
        Take a message of a topic that has so many publishers.

        :raises OSError: it cannot be written.
        """
        if spec.topic not in self._announced:
            self._announced.add(spec.topic)
            self.health.setdefault(spec.topic, StreamHealth(spec, self._facts.start_ns))
            self._streams.open(spec)
        health = self.health[spec.topic]
        health.publishers = publishers
        health.add(message.log_ns, message.sequence, len(message.data))
        self._streams.write(message)

    def finish(self, outcome: Outcome, end_ns: int) -> EpisodeRecord:
        """
        Close the bag and return what became of it.

        :raises OSError: it cannot be closed; what there is stays in its .partial folder.
        """
        facts, writer = self._facts, self._writer
        duration_s = (end_ns - facts.start_ns) / NS_PER_S
        reports = [health.report(end_ns) for health in self.health.values()]
        found, reasons = verdict(reports, duration_s)
        path = writer.finish(outcome, found, reasons, reports)
        return EpisodeRecord(
            facts.episode_id, path, complete=True, start_ns=facts.start_ns,
            duration_s=duration_s, task=facts.task, outcome=outcome, verdict=writer.verdict,
            reasons=tuple(writer.reasons), messages=writer.messages, bytes=writer.bytes)

    def abandon(self) -> None:
        """Leave what there is in the .partial folder."""
        self._writer.abandon()
