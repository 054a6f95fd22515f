"""Real demonstrations played over DDS, recorded, converted: the dataset has the source's rows."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')
highlevel = pytest.importorskip('rosbags.highlevel', reason='rosbags is not installed')

from sensor_msgs.msg import CompressedImage, JointState  # noqa: E402
from trajectory_msgs.msg import JointTrajectory  # noqa: E402

from chunked_vla_ros.cli import main  # noqa: E402
from chunked_vla_ros.data.datasets import open_dataset  # noqa: E402
from chunked_vla_ros.data.robot_contract import load_robot  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402

DEMONSTRATIONS = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'demos'
JOINTS, COMMANDS = '/joint_states', '/demonstration/joint_trajectory'
CAMERA = '/cameras/cam_high/image_raw/compressed'
LIMIT_S = 60.0

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(600),
    pytest.mark.skipif(
        not DEMONSTRATIONS.is_dir(), reason='real demonstrations are absent (shared/data)')]


def record(operator, play, topics):
    """Record what is played, all of it: it begins when the recorder says that it hears."""
    with play as process:
        for topic in topics:
            operator.wait_for_value(f'publishers {topic}', '1 of 1 heard')
        operator.press_well('start')
        gates = [operator.node.create_subscription(kind, topic, lambda _: None, qos.SENSOR)
                 for topic, kind in topics.items()]
        assert process.wait(LIMIT_S) == 0
    operator.press_well('stop')
    operator.peer.destroy(*gates)


def psnr(picture, other):
    """Return the peak signal-to-noise ratio in [dB]."""
    error = np.mean((picture.astype(float) - other) ** 2)
    return 10.0 * np.log10(255.0**2 / error)


def as_seen(picture):
    """Return a picture at the size that the contract shows to policies."""
    height, width, _ = load_robot('g1_arms').camera('cam_high').frame_shape
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def test_a_g1_and_what_it_saw_come_back_row_by_row(operator, start, player, tmp_path, capsys):
    source = open_dataset(DEMONSTRATIONS / 'g1_bottle')
    start('robot:=g1_arms', f'topics:=[{COMMANDS}]', out=tmp_path / 'bags')
    topics = {JOINTS: JointState, COMMANDS: JointTrajectory, CAMERA: CompressedImage}
    for number in source.episodes:
        record(operator, player(
            tmp_path / 'played', DEMONSTRATIONS / 'g1_bottle', '--robot', 'g1_arms', '--episode',
            number, '--topics', 'joint_states', 'cameras', 'trajectory', '--subscribers', '2'),
            topics)
    out = tmp_path / 'dataset'
    assert main(['convert', str(tmp_path / 'bags'), '--robot', 'g1_arms', '--out', str(out),
                 '--anchor', 'state']) == 0
    converted = open_dataset(out)
    assert len(converted.episodes) == len(source.episodes) == 8
    rows, ratios = 0, []
    for ours, theirs in zip(converted.episodes, source.episodes, strict=True):
        found, wanted = converted.episode(ours), source.episode(theirs)
        assert np.array_equal(found.state, wanted.state)
        assert np.array_equal(found.action, wanted.action)
        columns = converted.columns(ours)
        assert (columns['source_stamp_ns.cam_high'] == columns['stamp_ns']).all()
        rows += len(found.times_s)
        ratios += [psnr(picture, as_seen(original)) for (_, picture), (_, original) in zip(
            converted.frames(ours, 'cam_high'), source.frames(theirs, 'cam_high'), strict=True)]
    assert rows == len(ratios) == 2138
    with capsys.disabled():
        print(f'\n{rows} rows equal; images: PSNR {np.median(ratios):.1f} dB, '
              f'at least {min(ratios):.1f}')
    # Two lossy steps lie between, JPEG on the wire and the video: less would be another picture.
    assert min(ratios) > 30.0


def test_a_franka_at_940_hz_is_an_as_of_join_at_30_hz(operator, start, player, tmp_path, capsys):
    start('robot:=franka_fr3', out=tmp_path / 'bags')
    recordings = sorted((DEMONSTRATIONS / 'franka_fr3').glob('*.npy'))
    for path in recordings:
        record(operator, player(
            tmp_path / 'played', path, '--robot', 'franka_fr3', '--subscribers', '2'),
            {JOINTS: JointState})
    out = tmp_path / 'dataset'
    assert main(['convert', str(tmp_path / 'bags'), '--robot', 'franka_fr3', '--out', str(out),
                 '--fps', '30']) == 0
    converted = open_dataset(out)
    rows = messages = 0
    for number, (path, recording) in enumerate(zip(
            sorted(tmp_path.glob('bags/episode_*')), recordings, strict=True)):
        with highlevel.AnyReader([path]) as reader:
            states = [reader.deserialize(data, connection.msgtype)
                      for connection, _, data in reader.messages() if connection.topic == JOINTS]
        stamps_ns = np.array([state.header.stamp.sec * 10**9 + state.header.stamp.nanosec
                              for state in states])
        positions = np.array([state.position for state in states])
        assert np.array_equal(positions, np.load(recording)[:, 1:8])
        columns = converted.columns(number)
        newest = np.searchsorted(stamps_ns, columns['stamp_ns'], 'right') - 1
        assert np.array_equal(columns['source_stamp_ns.state'], stamps_ns[newest])
        assert (columns['source_stamp_ns.state'] <= columns['stamp_ns']).all()
        assert np.array_equal(converted.episode(number).state,
                              positions[newest].astype(np.float32))
        rows, messages = rows + len(newest), messages + len(states)
    assert messages == 39055
    with capsys.disabled():
        print(f'\n{messages} states, {rows} rows, all as the join says')
