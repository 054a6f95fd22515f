"""Real demonstrations are played into the recorder; two readers find every byte that was sent."""

from collections import defaultdict
import hashlib
import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
reader = pytest.importorskip('mcap.reader', reason='mcap is not installed')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import CompressedImage, JointState  # noqa: E402

DEMONSTRATIONS = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'demos'
FRANKA = DEMONSTRATIONS / 'franka_fr3' / (
    'franka_follower_20260223_163055_final_20260223_163105.npy')
G1 = DEMONSTRATIONS / 'g1_bottle'
JOINTS, CAMERA = '/joint_states', '/cameras/cam_high/image_raw/compressed'
EARS = QoSProfile(depth=5000)
PLAY_LIMIT_S = 90.0
# `chunked-vla play`, except that it waits for recorder and witness, not for the first of them:
# DDS needs up to three seconds until everybody has found everybody.
PLAY = """
import sys, time
from chunked_vla_ros.cli import main
from chunked_vla_ros.nodes.player import Player

def wait_for_both(self, limit_s):
    deadline_s = time.monotonic() + limit_s
    while any(each.get_subscription_count() < 2 for each in self._publishers.values()):
        assert time.monotonic() < deadline_s, 'recorder or witness is missing'
        time.sleep(0.01)
    return []

Player.wait_for_subscribers = wait_for_both
sys.exit(main(['play', *sys.argv[1:]]))
"""

MATCHED_WITHIN = 2000

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(
        not DEMONSTRATIONS.is_dir(), reason='real demonstrations are absent (shared/data)')]


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Witness:
    """Hears the same topics as the recorder, in another process, and remembers every message."""

    def __init__(self, operator, topics):
        self.node, self.heard = operator.node, defaultdict(list)
        self.ears = [self.node.create_subscription(
            message_type, topic, lambda data, topic=topic: self.heard[topic].append(digest(data)),
            EARS, raw=True) for topic, message_type in topics.items()]

    def leave(self):
        for ear in self.ears:
            self.node.destroy_subscription(ear)


def play(domain, dataset, *arguments):
    """Return how many messages were published on each topic."""
    done = subprocess.run(
        [sys.executable, '-c', PLAY, str(dataset), '--wait-for-subscribers', '20', *arguments],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'COLUMNS': '200'},
        timeout=PLAY_LIMIT_S, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {topic: int(number)
            for topic, number in re.findall(r'│ (/\S+) +│ +(\d+) ', done.stderr)}


def read_by_mcap(path):
    """Return the digests of every topic's messages; every CRC is checked."""
    found = defaultdict(list)
    file, = path.glob('*.mcap')
    with file.open('rb') as stream:
        for _, channel, message in reader.make_reader(stream, validate_crcs=True).iter_messages():
            found[channel.topic].append(digest(message.data))
    return found


def check(domain, operator, start, dataset, topics, *arguments):
    """Record what is played and compare three accounts of it; return how many messages."""
    recorder = start(f'topics:=[{", ".join(topics)}]')
    witness = Witness(operator, topics)
    try:
        operator.press_well('start')
        sent = play(domain, dataset, *arguments)
        answer = operator.press_well('stop')
        for topic in topics:
            operator.wait_for(lambda: len(witness.heard[topic]) >= sent[topic],  # noqa: B023
                              f'{sent[topic]} messages of {topic} at the witness',
                              instead=lambda: len(witness.heard[topic]))  # noqa: B023
    finally:
        witness.leave()
    bag = recorder.bag('episode_000000')
    by_mcap = read_by_mcap(bag.path)
    for topic in topics:
        wire = witness.heard[topic]
        assert len(wire) == sent[topic]
        recorded = [digest(data) for data in bag.data(topic)]
        # A best-effort listener may be matched later than its publisher knows; from then on all.
        assert len(wire) - len(recorded) < MATCHED_WITHIN
        assert recorded == wire[len(wire) - len(recorded):]
        assert by_mcap[topic] == recorded
    assert 'lost' not in answer
    assert 'dropped' not in answer
    assert bag.facts['verdict'] == 'good', bag.facts['reasons']
    return sent


def test_a_franka_at_its_own_rate(domain, operator, start):
    sent = check(domain, operator, start, FRANKA, {JOINTS: JointState})
    # 9.7 s at 940 Hz.
    assert sent[JOINTS] > 9000


@pytest.mark.skipif(not G1.is_dir(), reason='real demonstrations are absent (shared/data)')
def test_a_g1_and_what_it_sees(domain, operator, start):
    sent = check(domain, operator, start, G1, {JOINTS: JointState, CAMERA: CompressedImage},
                 '--episode', '29')
    # 7.3 s at 30 Hz.
    assert sent[CAMERA] == sent[JOINTS] > 200
