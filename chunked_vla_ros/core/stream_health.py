"""
Whether a recorded stream is whole: rate, gaps, losses, queue drops, and what they add up to.

Counts as messages come and judges at the end. Knows neither ROS nor files; times are arguments in
[ns] on the clock that dates the messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chunked_vla_ros.core.loss_meter import LossMeter, NOT_NUMBERED
from chunked_vla_ros.core.rate_meter import RateMeter
from chunked_vla_ros.core.recording import StreamSpec, Verdict
from chunked_vla_ros.core.types import NS_PER_S

# A pause of so many periods is a gap, if it is longer than a busy machine's hiccup.
GAP_PERIODS, GAP_FLOOR_S = 3.0, 0.1
# A required stream that is silent so long is not to be trained on.
SILENCE_PERIODS, SILENCE_FLOOR_S = 10.0, 1.0
# Shares of the expected rate below which a stream is worth a reason, and below which it is broken.
SLOW_SHARE, BROKEN_SHARE = 0.9, 0.5
# Share of a required stream's messages whose absence breaks an episode.
LOSS_SHARE = 0.05
# A rate of fewer messages than these tells nothing.
FEWEST_FOR_RATE = 5
# Of a stream that is absent for more than this share of an episode too little is left.
ABSENT_SHARE = 0.5


@dataclass(frozen=True)
class StreamReport:
    """
    What became of one topic in one recording.

    :ivar messages: Messages recorded.
    :ivar bytes: Their size.
    :ivar rate_hz: Mean rate from the first to the last of them in [Hz]; 0.0 below two.
    :ivar largest_gap_s: Longest silence in [s], at the beginning and the end too.
    :ivar pause_s: The same between two messages only.
    :ivar gaps: Pauses between two messages that are longer than the expected rate explains.
    :ivar head_s: Silence from the recording's beginning to the first message in [s].
    :ivar tail_s: Silence from the last message to the recording's end in [s].
    :ivar publishers: How many there were; with several, ``lost`` is what was lost at least.
    :ivar lost: Sent by a publisher, never received.
    :ivar unheard: Sent before its publisher was found, while recording; at most so many.
    :ivar dropped: Received, but the recorder's queue was full.
    :ivar first_ns: When the first was received, ``None`` without one.
    :ivar required: Whether an episode is broken without the stream.
    :ivar notes: What else is worth knowing, one line each.
    """

    topic: str
    messages: int = 0
    bytes: int = 0
    expected_rate_hz: float | None = None
    rate_hz: float = 0.0
    largest_gap_s: float = 0.0
    pause_s: float = 0.0
    gaps: int = 0
    head_s: float = 0.0
    tail_s: float = 0.0
    publishers: int = 1
    lost: int = 0
    unheard: int = 0
    dropped: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    required: bool = False
    notes: tuple[str, ...] = ()


class StreamHealth:
    """
    Count what comes on one topic.

    :ivar publishers: How many publishers the topic has; their numbers are told apart by it.
    :ivar unheard: How many messages at most were sent before the publisher was found.
    :ivar notes: What else is worth knowing of the stream, one line each.
    """

    def __init__(self, spec: StreamSpec, start_ns: int | None = None, publishers: int = 1) -> None:
        """Count from ``start_ns`` in [ns]; ``None``: from the first message."""
        self.spec, self.publishers, self.unheard = spec, publishers, 0
        self.notes: list[str] = []
        self._start_ns = start_ns
        self._meters = [LossMeter()]
        self._rate = RateMeter()
        self._messages = self._bytes = self._dropped = self._gaps = 0
        self._largest_ns = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        rate_hz = spec.expected_rate_hz
        self._gap_ns = None if not rate_hz else round(
            max(GAP_PERIODS / rate_hz, GAP_FLOOR_S) * NS_PER_S)

    def add(self, log_ns: int, sequence: int, size: int) -> None:
        """Count a message of ``size`` bytes that is recorded, received at ``log_ns``."""
        self._number(sequence, log_ns)
        self._rate.add(log_ns)
        self._messages += 1
        self._bytes += size
        if self._last_ns is not None:
            self._pause(log_ns - self._last_ns)
        if self._first_ns is None:
            self._first_ns = log_ns
        self._last_ns = log_ns

    def dropped(self, log_ns: int, sequence: int) -> None:
        """Count a message that was received at ``log_ns`` and is not recorded."""
        self._number(sequence, log_ns)
        self._dropped += 1

    @property
    def lost_count(self) -> int:
        """Return how many messages were sent and never received."""
        return sum(meter.lost for meter in self._meters)

    @property
    def dropped_count(self) -> int:
        """Return how many messages were received and not recorded."""
        return self._dropped

    def rejoin(self) -> None:
        """Begin anew with the publishers' numbers: the topic was subscribed to again."""
        for meter in self._meters:
            meter.rejoin()

    def live(self, now_ns: int) -> tuple[float, int, int]:
        """Return the rate over the last seconds in [Hz], and of the last ten lost and sent."""
        recent = [meter.recent(now_ns) for meter in self._meters]
        return (self._rate.rate_hz(now_ns), sum(lost for lost, _ in recent),
                sum(sent for _, sent in recent))

    def report(self, now_ns: int) -> StreamReport:
        """Return what there is at ``now_ns``, the end of the recording or any time before."""
        first_ns, last_ns, start_ns = self._first_ns, self._last_ns, self._start_ns
        silent_from_ns = last_ns if last_ns is not None else start_ns
        tail_ns = 0 if silent_from_ns is None else max(now_ns - silent_from_ns, 0)
        head_ns = 0 if first_ns is None or start_ns is None else max(first_ns - start_ns, 0)
        span_ns = (last_ns or 0) - (first_ns or 0)
        return StreamReport(
            topic=self.spec.topic, messages=self._messages, bytes=self._bytes,
            expected_rate_hz=self.spec.expected_rate_hz,
            rate_hz=(self._messages - 1) * NS_PER_S / span_ns if span_ns > 0 else 0.0,
            largest_gap_s=max(self._largest_ns, head_ns, tail_ns) / NS_PER_S,
            pause_s=self._largest_ns / NS_PER_S, gaps=self._gaps,
            head_s=head_ns / NS_PER_S, tail_s=tail_ns / NS_PER_S,
            publishers=max(self.publishers, len(self._meters)), lost=self.lost_count,
            unheard=self.unheard, dropped=self._dropped, first_ns=first_ns, last_ns=last_ns,
            required=self.spec.required, notes=tuple(self.notes))

    def _pause(self, pause_ns: int) -> None:
        self._largest_ns = max(self._largest_ns, pause_ns)
        self._gaps += self._gap_ns is not None and pause_ns > self._gap_ns

    def _number(self, sequence: int, now_ns: int) -> None:
        """
        Give the message to the publisher that it seems to be of.

        Messages do not say who sent them. Each publisher counts by itself, so a message continues
        the sequence that it leaves the smallest hole in; a hole is a loss only when every
        publisher is known. What is counted so was lost for certain.
        """
        meters = self._meters
        if self.publishers <= 1 or sequence == NOT_NUMBERED:
            meters[0].add(sequence, now_ns)
            return
        below = [meter for meter in meters
                 if meter.newest is not None and meter.newest < sequence]
        nearest = max(below, key=lambda meter: meter.newest or 0, default=None)
        if nearest is not None and nearest.newest == sequence - 1:
            nearest.add(sequence, now_ns)
            return
        unused = [meter for meter in meters if meter.newest is None]
        if unused or len(meters) < self.publishers:
            if not unused:
                meters.append(LossMeter())
            (unused or meters[-1:])[0].add(sequence, now_ns)
            return
        # Below them all: one of the publishers started anew; which one makes no difference.
        (nearest or meters[0]).add(sequence, now_ns)


def verdict(reports: Sequence[StreamReport], duration_s: float) -> tuple[Verdict, list[str]]:
    """Return whether a recording of ``duration_s`` in [s] is whole, and why not, worst first."""
    broken, usable = [], []
    if not any(report.messages for report in reports):
        broken.append('nothing was recorded: is the robot running, in this domain and namespace?')
    latest_ns = max((report.last_ns for report in reports
                     if report.required and report.last_ns is not None), default=0)
    for report in reports:
        worse, lesser = _judge(report, duration_s, latest_ns)
        broken += worse
        usable += lesser
    if broken:
        return Verdict.BROKEN, broken + usable
    return (Verdict.USABLE, usable) if usable else (Verdict.GOOD, [])


def _judge(report: StreamReport, duration_s: float, latest_ns: int,
           ) -> tuple[list[str], list[str]]:
    """Return what breaks a recording and what only harms it, of one stream."""
    topic, expected = report.topic, report.expected_rate_hz
    harms = [f'{topic}: {note}' for note in report.notes]
    if not report.messages:
        if expected is None and not report.required:
            return [], harms
        absent = f'{topic} never came: is its driver running?'
        return ([absent], harms) if report.required else ([], [absent, *harms])
    faults = [*_missing(report), *_rate_faults(report, duration_s),
              *_absences(report, duration_s, latest_ns)]
    worse = [text for text, severe in faults if severe and report.required]
    return worse, [text for text, _ in faults if text not in worse] + harms


def _missing(report: StreamReport) -> list[tuple[str, bool]]:
    """Return which messages of a stream are missing, and whether that is severe."""
    missing = report.lost + report.dropped
    sent = report.messages + missing
    # Messages do not say who sent them: of several publishers only what is certain is counted.
    least = 'at least ' if report.publishers > 1 else ''
    texts = []
    if report.lost:
        texts.append(f'{least}{report.lost} of {sent} messages lost on the way')
    if report.dropped:
        texts.append(f'{report.dropped} of {sent} messages dropped: '
                     'the disk or the processor was too slow')
    faults = [(f'{report.topic}: {text}', missing > LOSS_SHARE * sent) for text in texts]
    if report.unheard:
        faults.append((
            (f'{report.topic} was found while recording: up to {report.unheard} messages before '
             'that are missing'), False))
    return faults


def _rate_faults(report: StreamReport, duration_s: float) -> list[tuple[str, bool]]:
    """Return what is wrong with a stream's rate, and whether it is severe."""
    expected = report.expected_rate_hz
    if not expected:
        return []
    faults = []
    share = report.rate_hz / expected
    if duration_s * expected >= FEWEST_FOR_RATE and share < SLOW_SHARE:
        faults.append((f'{report.topic} is slow: {report.rate_hz:.1f} of {expected:g} Hz',
                       share < BROKEN_SHARE))
    if report.gaps:
        times = 'once' if report.gaps == 1 else f'{report.gaps} times'
        faults.append((f'{report.topic} paused {times}, {report.pause_s:.2f} s at most',
                       report.pause_s > _silence_s(expected)))
    return faults


def _absences(report: StreamReport, duration_s: float, latest_ns: int,
              ) -> list[tuple[str, bool]]:
    """
    Return how a stream is absent at the ends of an episode, and whether that is severe.

    What is recorded before all streams are there, and after the first of them has gone, is cut
    off by a conversion; the rest is as good as any. A stream that ends while others go on has
    died: the end of the demonstration is not in it.

    :param latest_ns: When the last message of any required stream was received.
    """
    expected, topic = report.expected_rate_hz, report.topic
    if not expected:
        return []
    head_s, tail_s = (silence_s if silence_s > max(GAP_PERIODS / expected, GAP_FLOOR_S) else 0.0
                      for silence_s in (report.head_s, report.tail_s))
    limit_s = _silence_s(expected)
    absent = head_s + tail_s > max(limit_s, ABSENT_SHARE * duration_s)
    alone = tail_s > limit_s and latest_ns - (report.last_ns or 0) > limit_s * NS_PER_S
    faults = []
    if head_s:
        faults.append((f'{topic} began {head_s:.2f} s after the start', absent))
    if tail_s:
        others = ' while others went on: has its driver died?' if alone else ''
        faults.append((f'{topic} fell silent {tail_s:.2f} s before the end{others}',
                       absent or alone))
    return faults


def _silence_s(expected_hz: float) -> float:
    """Return how long a required stream may be silent in [s]."""
    return max(SILENCE_PERIODS / expected_hz, SILENCE_FLOOR_S)
