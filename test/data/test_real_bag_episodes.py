"""Real recordings become episodes: equal to independent joins, row by row, on the right clock."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from chunked_vla_ros.core.conversion_rules import Anchor, ConversionRefused, ConversionRules
from chunked_vla_ros.core.dataset_episode import ActionSource
from chunked_vla_ros.core.robot_spec import TimeBase
from chunked_vla_ros.data.bag_episodes import bag_episodes
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.robot_contract import load_robot

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'
T0 = 1_700_000_000_000_000_000
LATE_NS = 1_000_000
RULES = ConversionRules()

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason='real recordings are absent (shared/data)')


@pytest.mark.parametrize('number', [0, 3])
def test_a_franka_at_940_hz_comes_out_as_an_independent_as_of_join(bag_author, tmp_path, number):
    franka = load_robot('franka_fr3')
    rows = np.load(sorted((SHARED / 'demos/franka_fr3').glob('*.npy'))[number])
    stamps_ns = rows[:, 0].astype(np.int64)
    bag = bag_author.write(tmp_path / 'franka', [
        ('/joint_states', stamp_ns + LATE_NS,
         bag_author.joints(stamp_ns, franka.joint_names, row[1:8]))
        for stamp_ns, row in zip(stamps_ns.tolist(), rows, strict=True)])
    episode, = bag_episodes(bag, franka, RULES)
    count = int((stamps_ns[-1] - stamps_ns[0]) * 30 // 10**9) + 1
    times_ns = stamps_ns[0] + np.round(np.arange(count) * 1e9 / 30).astype(np.int64)
    newest = np.searchsorted(stamps_ns, times_ns, 'right') - 1
    assert count > 280
    assert episode.times_ns.tolist() == times_ns.tolist()
    assert np.array_equal(episode.state, rows[newest, 1:8])
    assert (episode.stamps_ns['state'] == stamps_ns[newest]).all()
    assert (episode.stamps_ns['state'] <= episode.times_ns).all()


def played(author, dataset, number, frames):
    """Return the messages that `chunked-vla play` would send, logged a millisecond later."""
    names, source = load_robot('g1_arms').joint_names, dataset.episode(number)
    stamps_ns = [T0 + round(time_s * 1e9) for time_s in source.times_s.tolist()]
    messages = []
    for stamp_ns, state, action in zip(stamps_ns, source.state, source.action, strict=True):
        trajectory = author.trajectory(stamp_ns, names, [author.point(action, 33_333_333)])
        messages += [
            ('/joint_states', stamp_ns + LATE_NS, author.joints(stamp_ns, names, state)),
            ('/demonstration/joint_trajectory', stamp_ns + LATE_NS, trajectory)]
    messages += [('/cameras/cam_high/image_raw/compressed', stamp_ns + LATE_NS,
                  author.compressed(stamp_ns, file))
                 for stamp_ns, file in zip(stamps_ns, frames, strict=False)]
    return source, stamps_ns, messages


def test_a_recorded_dataset_comes_back_row_by_row(bag_author, tmp_path):
    robot = replace(load_robot('g1_arms'), cameras=())
    dataset = open_dataset(SHARED / 'demos/g1_bottle')
    rows = 0
    for number in dataset.episodes:
        source, stamps_ns, messages = played(bag_author, dataset, number, ())
        episode, = bag_episodes(bag_author.write(tmp_path / str(number), messages), robot,
                                ConversionRules(anchor=Anchor.STATE.value))
        assert episode.fps == 30.0
        assert episode.times_ns.tolist() == stamps_ns
        assert np.array_equal(episode.state, source.state)
        assert np.array_equal(episode.action, source.action)
        assert episode.action_source is ActionSource.STAMPED_COMMAND
        rows += len(episode.times_ns)
    assert rows == 2138


def test_every_row_of_a_recorded_dataset_has_its_own_picture(bag_author, tmp_path):
    dataset = open_dataset(SHARED / 'demos/g1_bottle')
    number = min(dataset.episodes, key=lambda each: len(dataset.episode(each).times_s))
    files = [cv2.imencode('.jpg', cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
             for _, pixels in dataset.frames(number, 'cam_high')]
    source, _, messages = played(bag_author, dataset, number, files)
    robot = load_robot('g1_arms')
    # Every pixel is compared.
    robot = replace(robot, cameras=(replace(robot.camera('cam_high'), resize=None),))
    episode, = bag_episodes(bag_author.write(tmp_path / 'bag', messages), robot,
                            ConversionRules(anchor=Anchor.STATE.value))
    assert np.array_equal(episode.state, source.state)
    assert (episode.stamps_ns['cam_high'] == episode.times_ns).all()
    for file, frame in zip(files, episode.open_frames('cam_high'), strict=True):
        decoded = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(frame, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


ARM = ('arm_1_link_joint', 'arm_2_link_joint', 'arm_3_link_joint', 'gripper_link_joint')


def abitobot(robot, time_base):
    """Return the arm of the mobile robot in bags/abitobot, beside whose joints its wheels are."""
    return replace(
        robot, joints=tuple(replace(robot.joints[0], name=name) for name in ARM),
        state=replace(robot.state, rate_hz=20.0, time_base=time_base))


def recorded(bag):
    """Return log times, stamps and positions of the arm's joints, by rosbags."""
    highlevel = pytest.importorskip('rosbags.highlevel', reason='rosbags is not installed')
    found = []
    with highlevel.AnyReader([bag]) as reader:
        wanted = [each for each in reader.connections if each.topic == '/joint_states']
        for connection, log_ns, data in reader.messages(wanted):
            message = reader.deserialize(data, connection.msgtype)
            stamp = message.header.stamp
            found.append((log_ns, stamp.sec * 10**9 + stamp.nanosec,
                          [message.position[message.name.index(name)] for name in ARM]))
    log_ns, stamps_ns, positions = zip(*found, strict=True)
    return np.array(log_ns), np.array(stamps_ns), np.array(positions)


@pytest.mark.parametrize('time_base', TimeBase)
def test_a_simulated_robot_converts_by_either_of_its_clocks(make_robot, time_base):
    bag = SHARED / 'bags/abitobot'
    parts = bag_episodes(bag, abitobot(make_robot(), time_base), ConversionRules(fps=10.0))
    logs_ns, stamps_ns, positions = recorded(bag)
    taken_ns = logs_ns if time_base is TimeBase.RECEIPT else stamps_ns
    for part in parts:
        newest = np.searchsorted(taken_ns, part.times_ns, 'right') - 1
        assert (part.stamps_ns['state'] == taken_ns[newest]).all()
        assert np.array_equal(part.state, positions[newest])
    rows = sum(len(part.times_ns) for part in parts)
    assert rows == int((taken_ns[-1] - taken_ns[0]) // 10**8) + 1
    # Simulation time began 101 s before; it runs a little slower than the wall clock.
    assert 93 < rows / 10 < 96
    assert (parts[0].times_ns[0] > 10**18) == (time_base is TimeBase.RECEIPT)
    assert ('note: clock' in parts[0].facts) == (time_base is TimeBase.HEADER)


def bags():
    """Return every bag there is: directories with metadata, and files without."""
    files = [path for path in (SHARED / 'bags').rglob('*') if path.suffix in ('.mcap', '.db3')]
    return sorted({path.parent if (path.parent / 'metadata.yaml').is_file() else path
                   for path in files})


def test_every_other_bag_is_refused_with_one_line(make_robot):
    robot, refused = make_robot(), 0
    for bag in bags():
        with pytest.raises(ConversionRefused) as error:
            bag_episodes(bag, robot, RULES)
        line = str(error.value)
        assert '\n' not in line
        assert line.startswith(str(bag))
        refused += 1
    assert refused > 30
