"""Damaged bags: what is converted is what was recorded, or nothing is; never a crash."""

from dataclasses import replace
import random

import numpy as np
import pytest

from chunked_vla_ros.core.conversion_rules import ConversionRefused, ConversionRules
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.data.bag_episodes import bag_episodes
from chunked_vla_ros.data.bag_messages import BagReader

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
RULES = ConversionRules(fps=20.0)
MUTATIONS = 40


@pytest.fixture
def robot(make_robot):
    small = make_robot()
    camera = CameraSpec('front', StreamSpec('front/image', 10.0, TimeBase.HEADER, 0.2), 'info',
                        4, 3, 'rgb8')
    return replace(small, cameras=(camera,), joints=tuple(
        replace(joint, name=name) for joint, name in zip(small.joints, 'ab', strict=True)))


def rewritten(bag, change=lambda place, message: message):
    """Write a bag's file anew with every byte under a CRC, as our recorder does."""
    writing = pytest.importorskip('mcap.writer', reason='mcap is not installed')
    reader = BagReader(bag)
    messages = [change(place, each) for place, each in enumerate(reader.messages())]
    with next(bag.glob('*.mcap')).open('wb') as stream:
        writer = writing.Writer(stream, chunk_size=4000, enable_data_crcs=True,
                                compression=writing.CompressionType.NONE)
        writer.start('ros2', 'test')
        channels = {}
        for name, topic in reader.topics.items():
            schema = writer.register_schema(
                topic.type_name, 'ros2msg', topic.definition.encode())
            channels[name] = writer.register_channel(name, 'cdr', schema)
        for each in messages:
            writer.add_message(channels[each.topic], each.log_ns, each.data, each.publish_ns)
        writer.finish()
    return bag


def content(episodes):
    """Return all that there is in episodes, pixels included."""
    return [(each.times_ns.tolist(), each.state.tolist(), each.reward.tolist(),
             [frame.tobytes() for frame in each.open_frames('front')]) for each in episodes]


@pytest.mark.parametrize('seed', range(MUTATIONS))
def test_a_damaged_bag_yields_what_was_recorded_or_one_line(scene, robot, mutate, seed):
    scene.states(*range(0, 1001, 20)).images(*range(0, 1001, 100)).event(500, 4, 1.0)
    checked = rewritten(scene.bag())
    whole = content(bag_episodes(checked, robot, RULES))
    file = next(checked.glob('*.mcap'))
    file.write_bytes(mutate(file.read_bytes(), random.Random(seed)))
    found = converted(checked, robot, RULES)
    assert not found or content(found) == whole
    # What is left of it, if that is wished for: rows that were recorded, each as it was.
    for part in converted(checked, robot, replace(RULES, allow_damaged=True, gap_s=0.02)):
        at_s = (part.stamps_ns['state'] - T0) / 1e9
        assert np.allclose(part.state, np.stack([at_s, -at_s], axis=1))
        assert sum(1 for _ in part.open_frames('front')) == len(part.times_ns)


def converted(bag, robot, rules):
    """Return the episodes of a bag, none if it is refused with one line."""
    try:
        return bag_episodes(bag, robot, rules)
    except ConversionRefused as error:
        if '\n' in str(error):
            raise
        return []


def test_two_time_lines_in_one_log_are_refused_and_not_interleaved(scene, robot):
    # A simulator starts again and logs by its own clock: both runs have the same times there.
    bag = rewritten(scene.states(*range(0, 1001, 20)).bag(), lambda place, each: replace(
        each, publish_ns=each.log_ns + 60_000 * MS * (place % 2)))
    with pytest.raises(ConversionRefused, match=r'was sent 60.0 s before the one that is logged'):
        bag_episodes(bag, replace(robot, cameras=()), RULES)
