"""Real demonstrations are played into the recorder; two readers find every byte that was sent."""

from collections import defaultdict
import hashlib
from pathlib import Path
import re

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
reader = pytest.importorskip('mcap.reader', reason='mcap is not installed')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import CompressedImage, JointState  # noqa: E402

from chunked_vla_ros.nodes.polled import PolledGroup, taken  # noqa: E402

DEMONSTRATIONS = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'demos'
FRANKA = DEMONSTRATIONS / 'franka_fr3' / (
    'franka_follower_20260223_163055_final_20260223_163105.npy')
G1 = DEMONSTRATIONS / 'g1_bottle'
JOINTS, CAMERA = '/joint_states', '/cameras/cam_high/image_raw/compressed'
EARS = QoSProfile(depth=20_000)
PLAY_LIMIT_S = 90.0

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(
        not DEMONSTRATIONS.is_dir(), reason='real demonstrations are absent (shared/data)')]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def never_called(_):
    raise AssertionError('a polled subscription was called back')


class Ear:
    """Hears a topic beside the recorder, in another process, and remembers every message."""

    def __init__(self, operator, topic, message_type):
        self.heard = []
        self.subscription = operator.node.create_subscription(
            message_type, topic, never_called, EARS, callback_group=PolledGroup(), raw=True)

    def listen(self):
        """Return how many messages have come so far."""
        self.heard += [digest(data) for data, _ in taken(
            self.subscription, EARS.depth, raw=True)]
        return len(self.heard)


def read_by_mcap(path):
    """Return the digests of every topic's messages; every CRC is checked."""
    found = defaultdict(list)
    file, = path.glob('*.mcap')
    with file.open('rb') as stream:
        for _, channel, message in reader.make_reader(stream, validate_crcs=True).iter_messages():
            found[channel.topic].append(digest(message.data))
    return found


def check(operator, start, player, log, dataset, topics, *arguments):
    """
    Record what is played and compare three accounts of it; return how many messages.

    A publisher may count a subscriber before that hears it. So it waits for three, and the third
    comes when recorder and ear have said themselves that they are connected.
    """
    recorder = start(f'topics:=[{", ".join(topics)}]')
    ears = {topic: Ear(operator, topic, kind) for topic, kind in topics.items()}
    operator.press_well('start')
    with player(log, dataset, '--subscribers', '3', *arguments) as process:
        for topic, ear in ears.items():
            operator.wait_for_value(f'publishers {topic}', '1 of 1 heard')
            operator.wait_for(ear.subscription.get_publisher_count, f'player at {topic}')
        gates = [operator.node.create_subscription(
            kind, topic, never_called, 1, callback_group=PolledGroup(), raw=True)
            for topic, kind in topics.items()]
        operator.wait_for(
            lambda: [ear.listen() for ear in ears.values()] and process.poll() is not None,
            'end of the player', PLAY_LIMIT_S)
    told = log.read_text()
    assert process.returncode == 0, told
    sent = {topic: int(number) for topic, number in re.findall(r'│ (/\S+) +│ +(\d+) ', told)}
    for topic, ear in ears.items():
        operator.wait_for(lambda: ear.listen() >= sent[topic],  # noqa: B023
                          f'{sent[topic]} messages of {topic}',
                          instead=lambda: len(ear.heard))  # noqa: B023
    # The player has left with everything acknowledged, also by the recorder.
    answer = operator.press_well('stop')
    operator.peer.destroy(*gates, *(ear.subscription for ear in ears.values()))
    bag = recorder.bag('episode_000000')
    by_mcap = read_by_mcap(bag.path)
    for topic, ear in ears.items():
        assert len(ear.heard) == sent[topic]
        assert [digest(data) for data in bag.data(topic)] == ear.heard
        assert by_mcap[topic] == ear.heard
    assert 'lost' not in answer
    assert 'dropped' not in answer
    assert bag.facts['verdict'] == 'good', bag.facts['reasons']
    return sent


def test_a_franka_at_its_own_rate(operator, start, player, tmp_path):
    sent = check(operator, start, player, tmp_path / 'played', FRANKA, {JOINTS: JointState})
    # 9.7 s at 940 Hz.
    assert sent[JOINTS] > 9000


@pytest.mark.skipif(not G1.is_dir(), reason='real demonstrations are absent (shared/data)')
def test_a_g1_and_what_it_sees(operator, start, player, tmp_path):
    sent = check(operator, start, player, tmp_path / 'played', G1,
                 {JOINTS: JointState, CAMERA: CompressedImage}, '--episode', '29',
                 '--rate', '4')
    # 7.3 s at 30 Hz, four times as fast.
    assert sent[CAMERA] == sent[JOINTS] > 200
