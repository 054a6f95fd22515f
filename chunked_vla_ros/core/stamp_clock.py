"""
Date the samples of a recording: which clock their stamps are of, and which of them can be true.

A recording has two clocks, that of the header stamps and that of the log. Live they are one; in a
recording they may be a simulator's time and the wall clock's. Streams that do not share a clock
are refused, as nothing could tell how they belong together. Knows no files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.conversion_rules import ConversionRefused
from chunked_vla_ros.core.dataset_episode import StampArray
from chunked_vla_ros.core.robot_spec import TimeBase
from chunked_vla_ros.core.sync import Stream
from chunked_vla_ros.core.types import FloatArray, NS_PER_S

# On a busy machine a message is published and received late; its stamp is true nevertheless.
LATEST_NS = 10 * NS_PER_S
# How far two clocks are apart is told by what arrives soonest. Not by the very soonest, whose
# stamp may be wrong; and for a clock that runs at another rate, in blocks of so many.
SOON_PERCENT = 90
BLOCK = 63


@dataclass(frozen=True)
class Arrivals:
    """
    What arrived on one topic, in the order of the log.

    :ivar name: What people call the stream.
    :ivar stamps_ns: Header stamps, shape (M,).
    :ivar logs_ns: When the recorder received them, shape (M,), not decreasing.
    :ivar tolerance_ns: How far a stamp may be from its arrival.
    """

    name: str
    time_base: TimeBase
    stamps_ns: StampArray
    logs_ns: StampArray
    tolerance_ns: int


@dataclass(frozen=True)
class Dated:
    """
    The samples of one stream that can be used.

    :ivar places: Which of the arrivals they are, shape (K,), increasing.
    :ivar times_ns: When they were taken, shape (K,), strictly increasing.
    :ivar refused: How many are left out; ``reason``: why the last of them was, '' without any.
    """

    places: StampArray
    times_ns: StampArray
    refused: int = 0
    reason: str = ''


class StampClock:
    """
    The clock by which a recording's rows are dated, as a function of the time of the log.

    :ivar name: The stream whose clock it is; '' if it is the log's.
    :ivar offset_s: How far it is ahead of the log in [s], in the middle.
    """

    def __init__(self, name: str = '', logs_ns: StampArray | None = None,
                 offsets_ns: FloatArray | None = None) -> None:
        """Make a clock that is the log's, or one ahead of it by ``offsets_ns`` at ``logs_ns``."""
        self.name = name
        self._logs_ns = np.zeros(1, np.int64) if logs_ns is None else logs_ns
        self._offsets_ns = np.zeros(1) if offsets_ns is None else offsets_ns
        self.offset_s = float(np.median(self._offsets_ns)) / NS_PER_S

    def at(self, logs_ns: StampArray) -> StampArray:
        """Return what the clock says when the log says ``logs_ns``, shape (M,)."""
        base = self._logs_ns[0]
        # Differences first: floats do not hold nanoseconds since 1970.
        offsets_ns = np.interp((logs_ns - base).astype(np.float64),
                               (self._logs_ns - base).astype(np.float64), self._offsets_ns)
        dated: StampArray = logs_ns + np.rint(offsets_ns).astype(np.int64)
        return dated


def clock_of(arrivals: Arrivals) -> StampClock:
    """
    Return the clock of a recording's main stream: the log's, if its stamps are of that.

    :raises ConversionRefused: its own clock goes back, as when a simulator starts again.
    """
    usable = arrivals.stamps_ns > 0
    if arrivals.time_base is TimeBase.RECEIPT or not usable.any():
        return StampClock()
    logs_ns, offsets_ns = arrivals.logs_ns[usable], _offsets_ns(arrivals)[usable]
    if abs(_ahead_ns(offsets_ns)) <= arrivals.tolerance_ns:
        return StampClock()
    parts = np.array_split(np.arange(len(logs_ns)), max(1, len(logs_ns) // BLOCK))
    knots = np.array([part[_soon(offsets_ns[part])] for part in parts])
    knots_ns = logs_ns[knots]
    clock = StampClock(arrivals.name, *_whole_span(logs_ns, knots_ns, offsets_ns[knots]))
    back_ns = np.diff(clock.at(knots_ns))
    if len(back_ns) and back_ns.min() < -arrivals.tolerance_ns:
        raise ConversionRefused(
            f'the clock of {arrivals.name} goes back by {-back_ns.min() / NS_PER_S:.1f} s, as '
            'when a simulator starts again: cut the recording there and convert the parts')
    return clock


def date(arrivals: Arrivals, clock: StampClock) -> Dated:
    """
    Return which samples can be used and when they were taken, by ``clock``.

    Whether a stamp can be true is what the live stream decides as well.

    :raises ConversionRefused: the stream is on another clock than the recording's main one.
    """
    nows_ns = clock.at(arrivals.logs_ns)
    if arrivals.time_base is TimeBase.RECEIPT:
        if clock.name:
            raise ConversionRefused(
                f'{arrivals.name} is dated by the log, but {clock.name} by a clock '
                f'{_apart(clock.offset_s)} it: say time_base: receipt for {clock.name} in the '
                'robot contract')
        return _chosen(arrivals, nows_ns, nows_ns)
    _refuse_other_clock(arrivals, nows_ns, clock.name or 'the log')
    return _chosen(arrivals, arrivals.stamps_ns, nows_ns)


def _chosen(arrivals: Arrivals, times_ns: StampArray, nows_ns: StampArray) -> Dated:
    stream = Stream[int](arrivals.name, arrivals.tolerance_ns)
    places: list[int] = []
    held_ns = 0
    for place, (time_ns, now_ns) in enumerate(
            zip(times_ns.tolist(), nows_ns.tolist(), strict=True)):
        late_ns, refused = now_ns - time_ns, stream.refused
        if time_ns > 0 and late_ns > max(LATEST_NS, stream.tolerance_ns):
            stream.reject(f'stamp is {late_ns / NS_PER_S:.1f} s before its arrival', now_ns)
        elif 0 < time_ns <= held_ns:
            # Live an older one may follow once the newer is too old; in a recording it is known.
            stream.reject(f'stamp went back by {(held_ns - time_ns) / NS_PER_S:.3f} s', now_ns)
        else:
            stream.add(time_ns, place, now_ns)
        if stream.refused == refused:
            places.append(place)
            held_ns = time_ns
        else:
            reason = stream.last_refusal
    chosen = np.array(places, np.int64)
    return Dated(chosen, times_ns[chosen], stream.refused, reason if stream.refused else '')


def _refuse_other_clock(arrivals: Arrivals, nows_ns: StampArray, other: str) -> None:
    usable = arrivals.stamps_ns > 0
    if not usable.any():
        if len(arrivals.stamps_ns):
            raise ConversionRefused(
                f'{arrivals.name} has no stamps, all {len(usable)} are zero: say time_base: '
                'receipt for it in the robot contract')
        return
    ahead_ns = _ahead_ns((arrivals.stamps_ns[usable] - nows_ns[usable]).astype(np.float64))
    if abs(ahead_ns) > arrivals.tolerance_ns:
        raise ConversionRefused(
            f'{arrivals.name} is stamped by a clock {_apart(ahead_ns / NS_PER_S)} {other}, '
            f'tolerance {arrivals.tolerance_ns / NS_PER_S:g} s: say time_base: receipt for it in '
            'the robot contract, or raise its tolerance_s if that is its delay')


def _offsets_ns(arrivals: Arrivals) -> FloatArray:
    """Return how far the stamps are ahead of the log in [ns], shape (M,)."""
    offsets_ns: FloatArray = (arrivals.stamps_ns - arrivals.logs_ns).astype(np.float64)
    return offsets_ns


def _whole_span(logs_ns: StampArray, knots_ns: StampArray,
                offsets_ns: FloatArray) -> tuple[StampArray, FloatArray]:
    """Return the knots with one more at either end, as a clock's rate may not be the log's."""
    span_ns = float(knots_ns[-1] - knots_ns[0])
    rate = (offsets_ns[-1] - offsets_ns[0]) / span_ns if span_ns else 0.0
    ends_ns = logs_ns[[0, -1]]
    first = offsets_ns[0] - rate * float(knots_ns[0] - ends_ns[0])
    last = offsets_ns[-1] + rate * float(ends_ns[1] - knots_ns[-1])
    return (np.concatenate([ends_ns[:1], knots_ns, ends_ns[1:]]),
            np.concatenate([[first], offsets_ns, [last]]))


def _ahead_ns(offsets_ns: FloatArray) -> float:
    """Return how far stamps that are ahead of their arrivals by ``offsets_ns`` really are."""
    return float(offsets_ns[_soon(offsets_ns)])


def _soon(offsets_ns: FloatArray) -> int:
    """Return which of several arrived soon after its stamp."""
    return int(np.argsort(offsets_ns, kind='stable')[SOON_PERCENT * (len(offsets_ns) - 1) // 100])


def _apart(ahead_s: float) -> str:
    return f'{abs(ahead_s):.2f} s {"ahead of" if ahead_s > 0 else "behind"}'
