"""
What of a numbered load is in a bag, read by the `mcap` library's own reader.

An independent one: it needs the index and checks the CRCs. Knows nothing about who recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcap.reader import make_reader

from chunked_vla_ros.core.numbered_cdr import read_number
from chunked_vla_ros.core.types import NS_PER_S

Found = Mapping[str, Counter[int]]


def numbers_in(folder: Path, topics: Sequence[str]) -> Found:
    """
    Return per topic how often each number is in the bag that lies in or below ``folder``.

    :param topics: Those that carry numbers; a bag may hold others.

    :raises ValueError: there is no such bag, or several; a message of it carries no number.
    """
    files = sorted(folder.rglob('*.mcap'))
    if len(files) != 1:
        raise ValueError(f'{folder}: has {len(files)} .mcap files, expected one')
    found: dict[str, Counter[int]] = {topic: Counter() for topic in topics}
    with files[0].open('rb') as stream:
        for _, channel, message in make_reader(stream, validate_crcs=True).iter_messages(
                topics=list(topics), log_time_order=False):
            found[channel.topic][read_number(message.data)[0]] += 1
    return found


@dataclass(frozen=True)
class Count:
    """
    What became of one topic's messages.

    :ivar lost: Of those sent, how many are not in the bag.
    :ivar doubled: How many are in it more than once.
    """

    sent: int
    lost: int
    doubled: int


def count(sent: int, found: Counter[int]) -> Count:
    """Compare the numbers 0 to ``sent`` - 1 with those found."""
    return Count(sent, sum(number not in found for number in range(sent)),
                 sum(times > 1 for times in found.values()))


@dataclass(frozen=True)
class CutOff:
    """
    What a recording that was cut off has lost of one topic.

    :ivar tail_s: Time from the first message that is gone to the cut in [s], 0 if none is.
    :ivar holes: Messages that are missing before the last one that is there.
    """

    tail_s: float
    holes: int


def cut_off(stamps_ns: Sequence[int], found: Collection[int], cut_ns: int) -> CutOff:
    """Compare what was sent, number by number, until ``cut_ns`` [ns] with the numbers found."""
    sent = sum(stamp_ns <= cut_ns for stamp_ns in stamps_ns)
    last = max((number for number in found if number < sent), default=-1)
    holes = sum(number not in found for number in range(last + 1))
    if last + 1 == sent:
        return CutOff(0.0, holes)
    return CutOff((cut_ns - stamps_ns[last + 1]) / NS_PER_S, holes)
