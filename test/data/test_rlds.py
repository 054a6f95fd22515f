"""RLDS: records, protobuf and episodes read without TensorFlow; damage is refused in one line."""

from dataclasses import replace
import json
from pathlib import Path
import random
import struct

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.crc32c import crc32c, masked_crc32c
from chunked_vla_ros.data.datasets import DatasetError, open_dataset
from chunked_vla_ros.data.protobuf_wire import packed_integers, read_varint, WireError
from chunked_vla_ros.data.tf_example import parse_example
from chunked_vla_ros.data.training_rows import read_training_rows

BRIDGE = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos' / 'bridge_widowx'


def varint(value):
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(octets) + bytes([value])


def message(number, payload):
    """Return a protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def feature(values):
    """Return a tf.train.Feature of floats, whole numbers or bytes."""
    if isinstance(values[0], bytes):
        return message(1, b''.join(message(1, value) for value in values))
    if isinstance(values[0], float):
        return message(2, message(1, struct.pack(f'<{len(values)}f', *values)))
    return message(3, message(1, b''.join(varint(value % 2**64) for value in values)))


def example(features):
    return message(1, b''.join(
        message(1, message(1, name.encode()) + message(2, feature(values)))
        for name, values in features.items()))


def record(content):
    head = struct.pack('<Q', len(content))
    return head + struct.pack('<I', masked_crc32c(head)) + content \
        + struct.pack('<I', masked_crc32c(content))


def picture(grey):
    pixels = np.full((8, 8, 3), grey, np.uint8)
    pixels[0] = 255 - pixels[0]      # a picture of one colour is padding
    return cv2.imencode('.png', pixels)[1].tobytes()


def steps(grey=40, **more):
    """Return an episode of three steps: state (row, row / 2), action 1, one camera, padding."""
    flat = cv2.imencode('.png', np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    return {
        'steps/observation/state': [0.0, 0.0, 1.0, 0.5, 2.0, 1.0],
        'steps/action': [1.0, 1.0, 1.0], 'steps/is_first': [1, 0, 0],
        'steps/reward': [0.0, 0.0, 1.0],
        'steps/is_terminal': [0, 0, 1], 'steps/language_instruction': [b'push'] * 3,
        'steps/observation/image_0': [picture(grey + row) for row in range(3)],
        'steps/observation/image_1': [flat] * 3,
        'episode_metadata/file_path': [b'/from/here'], **more}


@pytest.fixture
def write(tmp_path):
    def make(*episodes):
        (tmp_path / 'a.tfrecord-00000-of-00001').write_bytes(
            b''.join(record(example(each)) for each in episodes))
        return tmp_path
    return make


def test_rows_columns_pictures_and_facts_of_an_episode(write):
    dataset = open_dataset(write(steps(), steps(grey=90)))
    assert (dataset.layout, dataset.timed, dataset.cameras) == ('RLDS', False, ('image_0',))
    assert dataset.episodes == (0, 1)
    episode = dataset.episode(1)
    assert (episode.task, episode.state_names) == ('push', ('state.0', 'state.1'))
    assert episode.state.tolist() == [[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]]
    assert episode.action.tolist() == [[1.0], [1.0], [1.0]]
    assert dataset.columns(1)['next.reward'].tolist() == [0.0, 0.0, 1.0]
    assert dataset.columns(1)['next.done'].tolist() == [False, False, True]
    assert dataset.facts(1) == {'source': '/from/here'}
    assert [(row, frame[4, 4].tolist()) for row, frame in dataset.frames(1, 'image_0')] == [
        (0.0, [90] * 3), (1.0, [91] * 3), (2.0, [92] * 3)]
    with pytest.raises(DatasetError, match='has no camera image_1, expected one of image_0'):
        dataset.frames(0, 'image_1')


@pytest.mark.parametrize('no_cache', [False, True])
def test_a_training_takes_each_step_as_a_row_and_padding_as_no_camera(
        write, make_robot, tmp_path_factory, no_cache):
    robot = make_robot()
    stream = StreamSpec('cameras/image_0/image_raw', 10.0, TimeBase.HEADER, 0.2)
    robot = replace(
        robot, cameras=(CameraSpec('image_0', stream, 'cameras/image_0/info', 8, 8, 'rgb8'),),
        joints=tuple(replace(joint, aliases=(f'state.{number}', f'action.{number}'))
                     for number, joint in enumerate(robot.joints)))
    flat = cv2.imencode('.png', np.full((8, 8, 3), 7, np.uint8))[1].tobytes()
    targets = {'steps/action': [1.0, 0.5, 2.0, 1.0, 3.0, 1.5]}
    padded = steps(90, **{**targets, 'steps/observation/image_0': [flat] * 3})
    rows = read_training_rows(
        [write(steps(**targets), padded)], robot, cache=tmp_path_factory.mktemp('cache'),
        no_cache=no_cache)
    assert rows.fps == 0.0
    assert rows.action.tolist() == [[1.0, 0.5], [2.0, 1.0], [3.0, 1.5]] * 2
    assert rows.present.tolist() == [[True], [False]]
    assert rows.frames.read([2, 0, 4], 0)[:, 4, 4].tolist() == [[42] * 3, [40] * 3, [0] * 3]
    assert rows.windows(2, 0.05).action_rows([0, 2]).tolist() == [[0, 1], [2, 2]]


def test_features_json_says_how_wide_a_step_is(write):
    leaf = {'tensor': {'shape': {'dimensions': ['3']}, 'dtype': 'float32', 'encoding': 'none'}}
    root = write(steps())
    (root / 'features.json').write_text(json.dumps({'featuresDict': {'features': {'steps': {
        'sequence': {'feature': {'featuresDict': {'features': {
            'observation': {'featuresDict': {'features': {'state': leaf}}}}}}}}}}}))
    dataset = open_dataset(root)
    assert dataset.cameras == ()
    with pytest.raises(DatasetError, match='state has 6, expected 3 steps of 3'):
        dataset.episode(0)
    (root / 'features.json').write_text('[' * 100_000)
    with pytest.raises(DatasetError, match=r'features\.json: lists no features'):
        open_dataset(root)


@pytest.mark.parametrize(('change', 'complaint'), [
    ({'steps/reward': [0.0, 0.0]}, 'expected one number a step, as many of each'),
    ({'steps/action': [1.0, 1.0, 1.0, 1.0]}, r'steps/action has 4, expected 3 steps of 1'),
    ({'steps/observation/state': [float('nan')] * 6}, 'state in row 0 is not finite'),
])
def test_steps_that_disagree_are_one_line_that_names_the_record(write, change, complaint):
    with pytest.raises(DatasetError, match=complaint) as error:
        open_dataset(write(steps(), steps(**change))).episode(1)
    assert 'record 1' in str(error.value)
    assert '\n' not in str(error.value)


def test_an_episode_without_a_state_names_what_there_is(write):
    features = steps()
    del features['steps/observation/state']
    with pytest.raises(DatasetError, match=r"expected the robot's state; found .*steps/action"):
        open_dataset(write(features))


@pytest.mark.parametrize(('at', 'complaint'), [
    (3, 'record 0 at byte 0 has another length than its CRC says'),
    (30, 'record 0 at byte 12 has another content than its CRC says'),
])
def test_a_flipped_bit_is_noticed(write, at, complaint):
    root = write(steps())
    file = next(root.glob('*.tfrecord*'))
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=complaint):
        open_dataset(root)


def test_a_truncated_file_is_refused_whole(write):
    root = write(steps(), steps())
    file = next(root.glob('*.tfrecord*'))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r'record 1 at byte .* claims'):
        open_dataset(root)


def test_crc32c_is_that_of_its_standard():
    assert crc32c(b'123456789') == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA       # RFC 3720, B.4
    assert crc32c(b'\xff' * 32) == 0x62A8AB43


@settings(max_examples=25)
@given(st.integers(0, 2000), st.integers(0, 2**32))
def test_crc32c_in_lanes_is_that_of_single_bytes(size, seed):
    data = random.Random(seed).randbytes(size)
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(data) == crc ^ 0xFFFFFFFF


@given(st.lists(st.integers(-2**63, 2**63 - 1), max_size=40))
def test_packed_numbers_come_back(values):
    data = b''.join(varint(value % 2**64) for value in values)
    assert packed_integers(memoryview(data)).tolist() == values
    assert [read_varint(memoryview(varint(value % 2**64)), 0)[0] for value in values] == [
        value % 2**64 for value in values]


@given(st.binary(max_size=200))
def test_any_bytes_are_an_example_or_refused(data):
    try:
        found, complaint = parse_example(data), ''
    except WireError as error:
        found, complaint = {}, str(error)
    assert '\n' not in complaint
    assert sum(len(values) for values in found.values()) <= len(data)


def test_a_length_is_not_believed():
    with pytest.raises(WireError, match='claims 1152921504606846976 bytes, 0 are left'):
        parse_example(varint(1 << 3 | 2) + varint(2**60))


@pytest.mark.skipif(not BRIDGE.is_dir(), reason='real demonstrations are absent (shared/data)')
def test_real_episodes_have_three_cameras_and_four_instructions():
    dataset = open_dataset(BRIDGE)
    assert dataset.episodes == tuple(range(25))
    assert dataset.cameras == ('image_0', 'image_1', 'image_2')
    episodes = [dataset.episode(index) for index in dataset.episodes]
    assert {each.state.shape for each in episodes} == {(10, 7)}
    assert len({each.task for each in episodes}) == 4
    assert {frame.shape for camera in dataset.cameras
            for _, frame in dataset.frames(7, camera)} == {(64, 64, 3)}


@pytest.mark.skipif(not BRIDGE.is_dir(), reason='../shared/data is not there')
def test_real_actions_that_are_steps_are_no_joint_targets(make_robot):
    kinds = (DimKind.CONTINUOUS,) * 7
    robot = make_robot(kinds)
    robot = replace(robot, joints=tuple(
        replace(joint, aliases=(f'state.{number}', f'action.{number}'))
        for number, joint in enumerate(robot.joints)))
    with pytest.raises(DatasetError, match='its actions are steps from row to row'):
        read_training_rows([BRIDGE], robot, no_cache=True)
