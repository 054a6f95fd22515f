"""
The recorder's thread: takes what has come every few milliseconds and puts it where it belongs.

Into the episode that is being recorded, or into the ring that keeps the last seconds for the next
one. Looks for topics that appear, and counts every stream all the while. Decides nothing about
when to record.
"""

from __future__ import annotations

from collections.abc import Callable
import threading

from chunked_vla_ros.core.pretrigger import LatchedMemory, PretriggerRing
from chunked_vla_ros.core.recording import StreamSpec, WireMessage
from chunked_vla_ros.core.stream_health import StreamHealth
from chunked_vla_ros.nodes.recorder_inputs import Input, RecorderInputs
from chunked_vla_ros.nodes.recorder_writer import EpisodeRecording

# Stamps are the middleware's, so a longer pause costs no accuracy; a shorter one costs processor.
POLL_PERIOD_S = 0.01
# In polls: how often the publishers of known topics are looked at.
REFRESH = 20


class RecorderLoop:
    """
    Own the thread, and what it remembers between episodes.

    :ivar live: Per topic, counts since the node was configured.
    :ivar failure: Why nothing is heard any more, in one line; '' while all is well.
    """

    def __init__(self, inputs: RecorderInputs, ring: PretriggerRing, facts: frozenset[str],
                 log_ns: Callable[[int], int], now_ns: Callable[[], int]) -> None:
        """
        Prepare; ``log_ns`` turns the middleware's arrival time in [ns] into the log stamp.

        :param facts: Topics of which the last word is remembered, latched or not.
        """
        self._inputs, self._ring, self._facts = inputs, ring, facts
        self._log_ns, self._now_ns = log_ns, now_ns
        self.live: dict[str, StreamHealth] = {}
        self._latched = LatchedMemory()
        # What a topic's messages belong to, for those that wait in the ring.
        self._streams: dict[str, tuple[StreamSpec, int]] = {}
        self._recording: EpisodeRecording | None = None
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='recorder', daemon=True)
        self.failure = ''

    def start(self) -> None:
        """Begin to take messages."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)

    def begin(self, recording: EpisodeRecording) -> EpisodeRecording | None:
        """
        Put everything into ``recording`` from now on; return what was recorded before, if any.

        It starts with what latched topics said last and what the ring holds. No message falls
        between the two recordings.
        """
        with self._lock:
            self.poll()
            former = self._recording
            kept = self._ring.take(self._now_ns())
            # What follows an episode at once does not begin with that episode's end.
            first = self._latched.before(kept, recording.start_ns)
            recording.preload(
                (*self._streams[message.topic], message) for message in (*first, *kept))
            self._recording = recording
            return former

    def end(self) -> EpisodeRecording | None:
        """Stop putting messages into the recording, after what has come so far; return it."""
        with self._lock:
            self.poll()
            former, self._recording = self._recording, None
            return former

    def newest(self, topic: str) -> bytes:
        """Return what a topic whose facts are remembered said last; b'' if nothing."""
        with self._lock:
            self.poll()
            message = self._latched.newest(topic)
            return message.data if message else b''

    def live_numbers(self, now_ns: int) -> dict[str, tuple[float, int, int]]:
        """Return per topic the rate of late in [Hz], and lost and sent in the last ten seconds."""
        with self._lock:
            return {topic: health.live(now_ns) for topic, health in self.live.items()}

    def poll(self) -> None:
        """Take what has come. An error ends the listening; what was recorded before is kept."""
        self._try(self._take)

    def _take(self) -> None:
        for entry in self._inputs.inputs:
            for message in entry.take(self._log_ns):
                self._put(entry, message)

    def _put(self, entry: Input, message: WireMessage) -> None:
        topic = message.topic
        health = self.live.get(topic)
        if health is None:
            health = self.live[topic] = StreamHealth(entry.spec)
        health.publishers = entry.publishers
        health.add(message.log_ns, message.sequence, len(message.data))
        recording = self._recording
        if entry.latched or topic in self._facts:
            self._streams[topic] = entry.spec, entry.publishers
            self._latched.add(message, entry.publishers if entry.latched else 1)
        if recording is not None:
            recording.offer(entry.spec, entry.publishers, message)
            if not entry.heard and not entry.latched and entry.publishers == 1:
                recording.found(topic, entry.found_ns, message.sequence)
        else:
            self._streams[topic] = entry.spec, entry.publishers
            self._ring.add(message)
        entry.heard = True

    def _run(self) -> None:
        polls = 0
        while not self._stopping.wait(POLL_PERIOD_S) and not self.failure:
            polls += 1
            with self._lock:
                self._try(self._inputs.find)
                self.poll()
                if polls % REFRESH == 0:
                    self._try(lambda: self._inputs.refresh(forget=self._recording is None))

    def _try(self, step: Callable[[], None]) -> None:
        with self._lock:
            if self.failure:
                return
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the thread's boundary: told to the node
                self.failure = f'{type(error).__name__}: {error}'
