"""
SIGKILL while recording: what lies on the disk is whole as far as it goes.

In a file, and so in a domain, of its own: the others would take the dead for a while for alive.
"""

from contextlib import suppress
import itertools

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from mcap.exceptions import EndOfFile
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader
from std_msgs.msg import String

TALK = 'topics:=[/talk]'
LIMIT_S = 30.0


def rescued(path):
    """Return what another reader finds of /talk in a file that was never finished."""
    found, channels = [], {}
    with path.open('rb') as file, suppress(EndOfFile):
        for record in StreamReader(file, skip_magic=False).records:
            if isinstance(record, Channel):
                channels[record.id] = record.topic
            elif isinstance(record, Message) and channels[record.channel_id] == '/talk':
                found.append(record.data)
    return found


def test_after_a_kill_what_was_recorded_is_there_without_a_hole(start, operator):
    recorder = start(TALK)
    talk = operator.speak('/talk')
    numbers = itertools.count()
    operator.press_well('start')
    operator.repeat(lambda: operator.say(talk, String(data=f'number {next(numbers)}')))
    file = recorder.out / 'episode_000000.partial' / 'episode_000000_0.mcap'
    size = file.stat().st_size
    operator.wait_for(lambda: file.stat().st_size > size + 20_000, 'chunks on the disk')
    recorder.process.kill()
    recorder.process.wait(LIMIT_S)
    operator.repeat(lambda: None)
    kept, sent = rescued(file), operator.sent['/talk']
    assert len(kept) >= 100
    first = sent.index(kept[0])
    assert kept == sent[first:first + len(kept)]
    # The next recorder leaves it alone.
    start(TALK)
    assert operator.press_well('start') == 'episode_000001 is being recorded'
    assert rescued(file) == kept
