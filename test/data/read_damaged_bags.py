"""
Read every bag of a folder to its last value, within a time and a memory, and say how each ended.

A program of its own, so that a crash, a hang or runaway memory ends it and not the tests:
``read_damaged_bags.py FOLDER SECONDS MEGABYTES`` writes one line of JSON for each bag.
"""

from collections.abc import Callable
import faulthandler
import hashlib
import json
from pathlib import Path
import resource
import sys
from typing import Any

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.data.bag_messages import BagError, BagReader, BagTopic
from chunked_vla_ros.data.message_layout import MessageLayout
from chunked_vla_ros.data.wire_values import (
    CompressedImageValue,
    FloatsValue,
    ImageValue,
    JointStateValue,
    reader_of,
    TextValue,
    TrajectoryValue,
)

KINDS = {kind.TYPE: kind for kind in (
    CompressedImageValue, FloatsValue, ImageValue, JointStateValue, TextValue, TrajectoryValue)}


def reader(topic: BagTopic) -> Callable[[bytes], Any]:
    """Return what reads a topic's values; refusing a definition is an answer, too."""
    try:
        if topic.type_name in KINDS:
            return reader_of(KINDS[topic.type_name], topic.type_name)
        return MessageLayout(topic.type_name, topic.definition).read
    except InputRejected:
        return lambda _: None


def read(path: Path) -> dict[str, Any]:
    """Return how the reading of one bag ended."""
    values = refused = count = 0
    digest, last_ns = hashlib.sha256(), 0
    try:
        bag = BagReader(path)
        readers = {topic.name: reader(topic) for topic in bag.topics.values()}
        for message in bag.messages():
            assert message.log_ns >= last_ns, 'not in order'
            last_ns, count = message.log_ns, count + 1
            digest.update(f'{message.topic} {message.log_ns} {len(message.data)} '.encode())
            digest.update(message.data)
            try:
                readers[message.topic](message.data)
                values += 1
            except InputRejected:
                refused += 1
    except BagError as error:
        return {'line': str(error), 'messages': count}
    assert count == sum(topic.count for topic in bag.topics.values()), 'not all messages'
    return {'messages': count, 'values': values, 'refused': refused, 'damaged': bag.damaged,
            'digest': digest.hexdigest()}


def main() -> None:
    """Read the bags, the smallest name first."""
    folder, seconds, megabytes = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    # The address space that the imports have taken, and what the reading may take.
    taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    limit = taken + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in sorted(folder.iterdir()):
        faulthandler.dump_traceback_later(seconds, exit=True)
        answer = read(path)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.write(json.dumps({'bag': path.name, **answer}) + '\n')
        sys.stdout.flush()


if __name__ == '__main__':
    main()
