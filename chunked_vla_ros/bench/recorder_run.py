"""
One recording of the recorder benchmark: whole, or cut off by SIGKILL and rescued.

Every message carries its number, so what is missing from a bag is exact. Judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
import shutil
import tempfile
import time

from chunked_vla_ros.bench.process_use import peak_bytes, processor_s
from chunked_vla_ros.bench.recorder_count import (
    Count,
    count,
    cut_off,
    CutOff,
    Found,
    numbers_in,
)
from chunked_vla_ros.bench.recorder_options import BenchRecorderOptions
from chunked_vla_ros.bench.recorder_processes import NoRecordingError, OURS, recording
from chunked_vla_ros.data.bag_directory import BagError, find_bag, PARTIAL
from chunked_vla_ros.data.bag_recovery import recover_bag

# What a load sends after its recorder has been killed: nothing of it counts.
AFTER_KILL_S = 0.3
# A bag is a little larger than its pictures.
ROOM = 1.2


@dataclass(frozen=True)
class RecorderRun:
    """
    A whole recording.

    :ivar side: `OURS` or `PLAIN`.
    :ivar seconds: How long it was [s].
    :ivar topics: What became of each topic's messages.
    :ivar cpu_share: Share of a core that the recorder used while the load was sent.
    :ivar peak_mb: Most memory that it had in RAM until then [MB].
    :ivar closing_s: From the operator's stop to the answer that the bag is whole [s].
    :ivar bag_mb: What lies on the disk [MB].
    :ivar sender_cpu: Share of a core that the load used.
    :ivar latest_ms: Largest delay of a message of the load against its deadline [ms].
    :ivar message: What the recorder answered.
    """

    side: str
    seconds: float
    topics: dict[str, Count]
    cpu_share: float
    peak_mb: float
    closing_s: float
    bag_mb: float
    sender_cpu: float
    latest_ms: float
    message: str


@dataclass(frozen=True)
class KilledRun:
    """
    A recording that was cut off.

    :ivar after_s: When, after the load began [s].
    :ivar topics: What was lost of each topic.
    :ivar messages: How many messages were rescued.
    """

    after_s: float
    topics: dict[str, CutOff]
    messages: int


def check_room(options: BenchRecorderOptions) -> None:
    """
    Check that the longest recording has room on the disk.

    :raises NoRecordingError: it has not.
    """
    wanted = ROOM * options.byte_rate * options.longest_s
    if options.kills:    # the rescued copy lies beside what was cut off
        wanted = max(wanted, 2 * ROOM * options.byte_rate * options.kill_within_s)
    free = shutil.disk_usage(options.out).free
    if free < wanted:
        raise NoRecordingError(
            f'{options.out}: {free / 1e9:.1f} GB are free and a recording may need '
            f'{wanted / 1e9:.1f} GB: choose another --out or fewer --seconds')


def run_once(options: BenchRecorderOptions, side: str, seconds: float,
             domain_id: int) -> RecorderRun:
    """
    Record the load for ``seconds`` [s] with the recorder of ``side`` and count what is in its bag.

    :raises NoRecordingError: a process fails.
    """
    with _folder(options) as folder:
        with recording(options, side, seconds, domain_id, folder) as pair:
            pair.wait_for('begun')
            before_s = processor_s(pair.recorder.pid)
            sent = pair.wait_for('sent')
            used_s = processor_s(pair.recorder.pid) - before_s
            peak = peak_bytes(pair.recorder.pid)
            pair.go_on()
            closed = pair.wait_for('closed')
        found = numbers_in(pair.folder, list(sent['stamps_ns']))
        size = sum(path.stat().st_size for path in pair.folder.rglob('*') if path.is_file())
    return RecorderRun(
        side, seconds, {topic: count(len(stamps), found[topic])
                        for topic, stamps in sent['stamps_ns'].items()},
        used_s / sent['wall_s'], peak / 1e6, closed['closing_s'], size / 1e6, sent['cpu_share'],
        sent['latest_ms'], closed['message'])


def kill_once(options: BenchRecorderOptions, after_s: float, domain_id: int) -> KilledRun:
    """
    Kill our recorder ``after_s`` [s] after the load began, rescue its bag, count what is gone.

    :raises NoRecordingError: a process fails.
    """
    with _folder(options) as folder:
        with recording(options, OURS, after_s + AFTER_KILL_S, domain_id, folder,
                       doomed=True) as pair:
            pair.wait_for('begun')
            time.sleep(after_s)
            cut_ns = pair.kill_recorder()
            stamps = pair.wait_for('sent')['stamps_ns']
        found = _rescued(pair.folder, folder / 'rescued', list(stamps))
    return KilledRun(
        after_s, {topic: cut_off(sent, found[topic], cut_ns)
                  for topic, sent in stamps.items()},
        sum(map(len, found.values())))


def _rescued(folder: Path, target: Path, topics: Sequence[str]) -> Found:
    """Return the numbers in what can be rescued from the one episode in ``folder``."""
    episodes = list(folder.glob(f'*{PARTIAL}'))
    if len(episodes) != 1:
        raise NoRecordingError(f'{folder}: has {len(episodes)} episodes that were cut off, '
                               'expected one')
    try:
        recover_bag(find_bag(episodes[0]), target)
    except BagError:    # not one whole message
        return {topic: Counter() for topic in topics}
    return numbers_in(target, topics)


@contextmanager
def _folder(options: BenchRecorderOptions) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=options.out, prefix='bags_') as folder:
        yield Path(folder)
