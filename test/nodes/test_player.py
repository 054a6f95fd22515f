"""``chunked-vla play`` over DDS: everything arrives, with recorded spacing and recorded values."""

from collections.abc import Iterator
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

import cv2  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import CompressedImage, JointState  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from chunked_vla_ros.data.robot_contract import load_robot  # noqa: E402
from chunked_vla_ros.msg import EpisodeEvent  # noqa: E402
from chunked_vla_ros.nodes.conversions import duration_to_ns, stamp_to_ns  # noqa: E402

G1 = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos' / 'g1_bottle'
EVERYTHING = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
LIMIT_S = 60
real = pytest.mark.skipif(
    not G1.is_dir(), reason='real demonstrations are absent (shared/data)')


def play(domain: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', 'chunked_vla_ros', 'play', *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain)})


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return exit code and error text; a process that hangs is ended."""
    try:
        _, text = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return process.returncode, text


@pytest.fixture
def heard(peer: Any) -> Iterator[Any]:
    """Yield what subscribes and returns the list that messages go to."""
    subscriptions = []

    def listen(kind: type, topic: str) -> list[Any]:
        messages: list[Any] = []
        subscriptions.append(
            peer.node.create_subscription(kind, topic, messages.append, EVERYTHING))
        return messages
    yield listen
    peer.destroy(*subscriptions)


def recording(path: Path, count: int = 400) -> np.ndarray:
    """Write a Franka recording at 500 Hz with one gap of 7 ms; return its rows."""
    rows = np.zeros((count, 42))
    rows[:, 0] = 2e6 * np.arange(count)
    rows[count // 2:, 0] += 5e6
    rows[:, 1:8] = 0.1 * np.arange(7) + 0.001 * np.arange(count)[:, None]
    np.save(path, rows)
    return rows


def test_every_row_arrives_with_its_values_and_the_recorded_spacing(
        domain: int, peer: Any, heard: Any, tmp_path: Path) -> None:
    rows = recording(tmp_path / 'motion.npy')
    states, marks = heard(JointState, '/left/joint_states'), heard(
        EpisodeEvent, '/left/episode_event')
    code, text = ended(play(
        domain, str(tmp_path / 'motion.npy'), '--robot', 'franka_fr3', '--namespace', 'left',
        '--wait-for-subscribers', '20'))
    assert code == 0, text
    peer.wait_for(lambda: len(states) == 400 and len(marks) == 2, 'all messages')
    assert states[0].name == [f'fr3_joint{index}' for index in range(1, 8)]
    assert np.array([state.position for state in states]) == pytest.approx(rows[:, 1:8], abs=0)
    stamps_ns = np.array([stamp_to_ns(state.header.stamp) for state in states])
    assert stamps_ns - stamps_ns[0] == pytest.approx(rows[:, 0], abs=1000)
    assert [mark.type for mark in marks] == [EpisodeEvent.START, EpisodeEvent.END]
    assert stamp_to_ns(marks[0].header.stamp) == stamps_ns[0]
    assert stamp_to_ns(marks[1].header.stamp) == stamps_ns[-1]


@pytest.mark.parametrize(('wanted', 'complaint'), [
    ((), 'nobody listens'), (('--subscribers', '2'), 'fewer than 2 subscribers listen')])
def test_without_enough_subscribers_it_says_which_topic_and_fails(
        domain: int, tmp_path: Path, wanted: tuple[str, ...], complaint: str) -> None:
    recording(tmp_path / 'motion.npy')
    code, text = ended(play(
        domain, str(tmp_path / 'motion.npy'), '--namespace', 'nobody',
        '--wait-for-subscribers', '0.2', *wanted))
    assert code == 1
    assert f'error: {complaint} to /nobody/joint_states after 0.2 s' in text


def test_joints_that_a_robot_publishes_already_are_not_mixed_with_recorded_ones(
        domain: int, peer: Any, heard: Any, tmp_path: Path) -> None:
    recording(tmp_path / 'motion.npy', 20)
    robot = peer.node.create_publisher(JointState, '/busy/joint_states', 1)
    heard(JointState, '/busy/joint_states')
    code, text = ended(play(domain, str(tmp_path / 'motion.npy'), '--namespace', 'busy',
                            '--wait-for-subscribers', '20'))
    peer.destroy(robot)
    assert code == 1
    assert 'error: /busy/joint_states has a publisher already' in text


def test_an_interrupt_ends_a_loop_in_order(
        domain: int, peer: Any, heard: Any, tmp_path: Path) -> None:
    recording(tmp_path / 'motion.npy', 20)
    marks = heard(EpisodeEvent, 'episode_event')
    process = play(domain, str(tmp_path / 'motion.npy'), '--loop')
    try:
        peer.wait_for(lambda: [mark.type for mark in marks].count(EpisodeEvent.END) >= 2, 'loops')
        process.send_signal(signal.SIGINT)
    except BaseException:
        process.kill()
        raise
    code, text = ended(process)
    assert code == 130
    assert 'Traceback' not in text
    assert 'published' in text


@pytest.mark.parametrize(('arguments', 'message'), [
    (('--episode', '5'), 'has no episode 5, expected one of 0'),
    (('--rate', '0'), '--rate is 0, expected 0.01 to 100'),
    (('--subscribers', '0'), '--subscribers is 0, expected 1 or more'),
    (('--namespace', '1bad'), "'1bad': Invalid namespace"),
    (('--robot', 'ur5e_sim'), "ur5e_sim has no joint 'fr3_joint1' as the dataset has"),
    (('--topics', 'trajectory'), 'has no action, leave trajectory out of --topics'),
    (('--topics', 'cameras'), 'nothing to play of cameras'),
])
def test_what_cannot_be_played_is_one_line(
        domain: int, try_to_start: Any, tmp_path: Path, arguments: tuple[str, ...], message: str
        ) -> None:
    recording(tmp_path / 'motion.npy', 3)
    code, text = try_to_start(
        'chunked_vla_ros.cli', domain, 'play', str(tmp_path / 'motion.npy'), *arguments)
    assert code == 2
    assert message in text
    assert text.count('\n') == 1


@real
def test_a_video_that_is_not_there_ends_the_play_with_one_line(
        domain: int, tmp_path: Path) -> None:
    shutil.copytree(G1.parent / 'so101_constant', tmp_path / 'set')
    next((tmp_path / 'set').rglob('*.mp4')).unlink()
    code, text = ended(play(domain, str(tmp_path / 'set'), '--episode', '4'))
    assert code == 1
    (line,) = [line for line in text.splitlines() if line.startswith('error: ')]
    assert line.endswith('wrist/chunk-000/file-000.mp4: is missing, fetch it again')


@real
def test_a_real_episode_arrives_whole_states_commands_and_frames(
        domain: int, peer: Any, heard: Any) -> None:
    robot = load_robot('g1_arms')
    states = heard(JointState, robot.state.topic)
    frames = heard(CompressedImage, robot.cameras[0].stream.topic)
    commands = heard(JointTrajectory, 'demonstration/joint_trajectory')
    code, text = ended(play(
        domain, str(G1), '--episode', '28', '--robot', 'g1_arms', '--rate', '2',
        '--topics', 'joint_states', 'cameras', 'trajectory', '--wait-for-subscribers', '20'))
    assert code == 0, text
    peer.wait_for(
        lambda: len(states) == len(frames) == len(commands) == 278, 'all messages',
        instead=lambda: f'{len(states)}, {len(frames)}, {len(commands)}')
    stamps_ns = [np.array([stamp_to_ns(message.header.stamp) for message in messages])
                 for messages in (states, frames, commands)]
    assert (stamps_ns[0] == stamps_ns[1]).all()
    assert (stamps_ns[0] == stamps_ns[2]).all()
    assert stamps_ns[0] - stamps_ns[0][0] == pytest.approx(np.arange(278) / 60e-9, abs=1000)
    assert tuple(states[0].name) == tuple(commands[0].joint_names) == robot.joint_names
    assert duration_to_ns(commands[0].points[0].time_from_start) == pytest.approx(1e9 / 60, abs=1)
    image = cv2.imdecode(np.frombuffer(frames[0].data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (480, 640, 3)
