"""One recording, twice: through the inference node's subscriptions, and out of a bag."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from rclpy.serialization import deserialize_message  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image, JointState  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from chunked_vla_ros.core.conversion_rules import ConversionRules  # noqa: E402
from chunked_vla_ros.core.episode_marks import EventKind  # noqa: E402
from chunked_vla_ros.core.policy import PolicySpec  # noqa: E402
from chunked_vla_ros.core.robot_spec import (  # noqa: E402
    CameraSpec,
    CommandKind,
    CommandSpec,
    ImageTransport,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.sync import ObservationNeeds, Waiting  # noqa: E402
from chunked_vla_ros.core.types import DimKind  # noqa: E402
from chunked_vla_ros.data.bag_episodes import bag_episodes  # noqa: E402
from chunked_vla_ros.data.bag_messages import BagReader  # noqa: E402
from chunked_vla_ros.msg import EpisodeEvent  # noqa: E402
from chunked_vla_ros.nodes.observation_streams import ObservationStreams  # noqa: E402
from chunked_vla_ros.policies.exchange import PolicyExchange  # noqa: E402
from chunked_vla_ros.policies.runner import PolicyRunner  # noqa: E402
from chunked_vla_ros.policies.runner_records import RunnerSettings  # noqa: E402

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
NAMES = ('shoulder', 'elbow', 'finger')
ROBOT = RobotSpec(
    name='tiny', base_frame='world',
    joints=tuple(JointSpec(name, DimKind.CONTINUOUS, -9.0, 9.0, 1.0, 1.0, 1.0, 0.0)
                 for name in NAMES),
    gripper=None, state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1),
    cameras=(
        CameraSpec('front', StreamSpec('front/image', 20.0, TimeBase.HEADER, 0.15), 'info',
                   16, 12, 'bgr8', resize=(8, 6)),
        CameraSpec('wrist', StreamSpec('wrist/image', 15.0, TimeBase.HEADER, 0.2), 'info',
                   16, 8, 'rgb8', ImageTransport.COMPRESSED, frozen_after_s=0.25)),
    command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 100.0))
SPEC = PolicySpec('looks', ROBOT.joint_names, ROBOT.dim_kinds, 0.05, 4, ('front', 'wrist'))
NEEDS = ObservationNeeds(SPEC.cameras)
DURATION_MS = 6000
KINDS = {'/joint_states': JointState, '/front/image': Image, '/wrist/image': CompressedImage,
         '/instruction': String}


class Recording:
    """Six seconds of a robot: what it should say, and what drivers say on bad days."""

    def __init__(self, author, time_base, late_ns):
        self.author, self.chance = author, np.random.default_rng(7)
        self.time_base, self.late_ns, self.messages = time_base, late_ns, []
        self._states()
        self._front()
        self._wrist()
        for at_ms, text in ((-300, 'pick'), (2500, 'place')):
            self.say('/instruction', at_ms, author.text(text))

    def say(self, topic, at_ms, message):
        self.messages.append((topic, T0 + round(at_ms * MS) + self.late_ns, message))

    def _states(self):
        author = self.author
        for number, at_ms in enumerate(range(0, DURATION_MS, 10)):
            if 3000 < at_ms < 3400:
                continue    # the driver pauses, longer than any tolerance
            jitter_ms = float(self.chance.uniform(-3.0, 3.0))
            stamp_ns = T0 + round((at_ms + jitter_ms) * MS)
            order = NAMES if number % 2 else NAMES[::-1]
            where = self.chance.uniform(-1.0, 1.0, 3)
            self.say('/joint_states', at_ms + jitter_ms, author.joints(stamp_ns, order, where))
            if number % 50 == 20:
                # Twice the same stamp, another device's joints, a stamp of zero, one of long ago,
                # and a value that is none.
                extra_ms = at_ms + jitter_ms + 0.001
                for message in (
                        author.joints(stamp_ns, NAMES, where + 1.0),
                        author.joints(stamp_ns, ('other', 'device', 'x'), where),
                        author.joints(0, NAMES, where + 2.0),
                        author.joints(stamp_ns - 30 * MS, NAMES, where + 3.0),
                        author.joints(stamp_ns, NAMES, where * np.nan)):
                    self.say('/joint_states', extra_ms, message)

    def _front(self):
        for number, at_ms in enumerate(range(5, DURATION_MS, 50)):
            if 4500 < at_ms < 5000:
                continue
            rows = self.chance.integers(0, 255, (12, 16 * 3 + 5), np.uint8)
            self.say('/front/image', at_ms, self.author.make(
                'sensor_msgs/msg/Image', header=self.author.header(T0 + at_ms * MS), height=12,
                width=16, encoding='rgb8' if number % 20 == 7 else 'bgr8', is_bigendian=0,
                step=53, data=rows.reshape(-1)))

    def _wrist(self):
        file = b''
        for number, at_ms in enumerate(range(3, DURATION_MS, 67)):
            # It hangs for a second.
            if not file or not 1500 < at_ms < 2500:
                pixels = self.chance.integers(0, 255, (8, 16, 3), np.uint8)
                file = cv2.imencode('.jpg', pixels)[1].tobytes()
            # Its clock stands still where the contract says that it is dated by receipt.
            stamp_ns = T0 + (at_ms * MS if self.time_base is TimeBase.HEADER else 0)
            self.say('/wrist/image', at_ms, self.author.compressed(
                stamp_ns, file[:-9] if number % 20 == 11 else file))


class Live:
    """The inference node's subscriptions, whose messages and clock the test has."""

    def __init__(self, domain, robot):
        self.context, self.now_ns = rclpy.Context(), 0
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('parity', context=self.context)
        self.runner = PolicyRunner(
            robot, PolicyExchange(SimpleNamespace(spec=SPEC), lambda policy: None),
            RunnerSettings(), lambda request: None, lambda: '0' * 32)
        self.streams = ObservationStreams(self.node, robot, self.runner, lambda: self.now_ns)
        self.callbacks = {each.topic_name: each.callback for each in self.node.subscriptions}

    def hear(self, message):
        """Call back what is subscribed to the topic, as an executor would at ``log_ns``."""
        self.now_ns = message.log_ns
        told = deserialize_message(message.data, KINDS[message.topic])
        callback = self.callbacks[message.topic]
        if message.topic.endswith('/image'):
            callback(told, {'publication_sequence_number': 0})
        else:
            callback(told)

    def observe(self, now_ns):
        return self.runner.assembler.assemble(now_ns, NEEDS)

    def close(self):
        self.streams.destroy()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.mark.parametrize(('time_base', 'late_ns'), [
    (TimeBase.HEADER, 2 * MS),
    # What is dated by its receipt is not late.
    (TimeBase.RECEIPT, 0)])
def test_live_and_offline_see_the_same_observations(
        domain, bag_author, tmp_path, time_base, late_ns):
    front, wrist = ROBOT.cameras
    robot = replace(ROBOT, cameras=(front, replace(
        wrist, stream=replace(wrist.stream, time_base=time_base))))
    bag = bag_author.write(
        tmp_path / 'bag', Recording(bag_author, time_base, late_ns).messages)
    episodes = bag_episodes(bag, robot, ConversionRules(fps=25.0))
    live = Live(domain, robot)
    try:
        seen, waited = follow(live, bag, episodes, late_ns)
    finally:
        live.close()
    assert seen == sum(len(episode.times_ns) for episode in episodes)
    assert seen > 80
    # While the driver paused, a camera hung or was silent.
    assert waited > 20
    assert len(episodes) == 4


def follow(live, bag, episodes, late_ns):
    """Play the bag; at each row compare. Return how many rows live saw and how many it did not."""
    rows = {}
    for episode in episodes:
        pictures = zip(*(episode.open_frames(name) for name in SPEC.cameras), strict=True)
        for row, (time_ns, pixels) in enumerate(zip(
                episode.times_ns.tolist(), pictures, strict=True)):
            stamps = {name: int(each[row]) for name, each in episode.stamps_ns.items()}
            rows[time_ns] = episode.state[row], stamps, pixels, episode.tasks[row]
    first_ns, last_ns = min(rows), max(rows)
    due_ns = iter(range(first_ns, last_ns + 1, 40 * MS))
    ask_ns, waited, seen = next(due_ns), 0, 0
    for message in [*BagReader(bag).messages(), None]:
        # By then everything up to the row has arrived, and nothing from later.
        while ask_ns is not None and (message is None or message.log_ns > ask_ns + late_ns):
            found = live.observe(ask_ns + late_ns)
            assert isinstance(found, Waiting) == (ask_ns not in rows), found
            if isinstance(found, Waiting):
                waited += 1
            else:
                compare(found, *rows[ask_ns])
                seen += 1
            ask_ns = next(due_ns, None)
        if message is not None:
            live.hear(message)
    return seen, waited


def compare(observation, state, stamps, pixels, task):
    """Assert that a live observation is what a row holds."""
    assert observation.joints.position.tolist() == state.tolist()
    assert observation.stamp_ns == stamps['state']
    for name, picture in zip(SPEC.cameras, pixels, strict=True):
        assert observation.images[name].stamp_ns == stamps[name]
        assert np.array_equal(observation.images[name].pixels, picture)
    assert observation.instruction == task


def test_events_of_bags_are_numbered_as_the_messages_are():
    for kind in EventKind:
        assert getattr(EpisodeEvent, kind.name) == kind
