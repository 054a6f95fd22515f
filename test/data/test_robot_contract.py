"""The contract loader: what is right loads, every mistake is one line that says what to write."""

import copy
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import yaml

from chunked_vla_ros.core.robot_spec import (
    CommandKind,
    ImageTransport,
    JointUnit,
    Resample,
    RobotSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.robot_contract import ContractError, load_robot, parse_robot

CONTRACT = Path(__file__).resolve().parents[2] / 'config' / 'robots' / 'ur5e_sim.yaml'
VALID = yaml.safe_load(CONTRACT.read_text())
ABSENT = object()


def changed(path, value):
    """Return the valid contract with ``value`` at ``path``; ABSENT removes the key."""
    content = copy.deepcopy(VALID)
    *parents, last = path
    place = content
    for key in parents:
        place = place[key]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(content)


def test_the_shipped_contract_loads_by_name_and_by_path():
    robot = load_robot('ur5e_sim')
    assert robot == load_robot(CONTRACT)
    assert len(robot.joint_names) == 7
    assert robot.joints[2].upper == 3.1415
    assert robot.dim_kinds[-1] is DimKind.BINARY
    assert robot.gripper.closed == 0.8
    assert robot.camera('wrist').stream.topic == 'cameras/wrist/image_raw'
    assert robot.state.time_base is TimeBase.HEADER
    assert robot.command.kind is CommandKind.POSITION_COMMAND


def test_a_robot_may_have_no_gripper_and_no_camera():
    content = copy.deepcopy(VALID)
    del content['gripper']
    content['cameras'] = []
    robot = parse_robot(yaml.safe_dump(content), 'arm.yaml')
    assert robot.gripper is None
    assert robot.cameras == ()


def test_a_camera_says_how_its_images_come_and_what_policies_see():
    content = copy.deepcopy(VALID)
    content['cameras'][0] |= {'width': 640, 'height': 480, 'transport': 'compressed',
                              'resize': {'width': 320, 'height': 240}, 'frozen_after_s': 1.5}
    front, wrist = parse_robot(yaml.safe_dump(content), 'arm.yaml').cameras
    assert (front.transport, front.frozen_after_s) == (ImageTransport.COMPRESSED, 1.5)
    assert front.frame_shape == (240, 320, 3)
    # What is not said: raw messages, unchanged in size, and a scene may be at rest.
    assert (wrist.transport, wrist.frozen_after_s) == (ImageTransport.RAW, 0.0)
    assert wrist.frame_shape == (224, 224, 3)


def test_a_stream_says_what_becomes_of_its_samples_between_rows():
    content = copy.deepcopy(VALID)
    content['state']['resample'] = 'drop'
    content['cameras'][0]['resample'] = 'hold'
    robot = parse_robot(yaml.safe_dump(content), 'arm.yaml')
    ways = [robot.state.resample, *(camera.stream.resample for camera in robot.cameras)]
    assert ways == [Resample.DROP, Resample.HOLD, Resample.ASOF]
    content['state']['resample'] = 'linear'
    with pytest.raises(ContractError, match=r"state.resample is 'linear', expected one of asof"):
        parse_robot(yaml.safe_dump(content), 'arm.yaml')


def test_a_compressed_image_has_no_encoding_but_rgb():
    content = copy.deepcopy(VALID)
    content['cameras'][0] |= {'transport': 'compressed', 'encoding': 'mono8'}
    with pytest.raises(ContractError, match=r"encoding is 'mono8', expected one of rgb8"):
        parse_robot(yaml.safe_dump(content), 'arm.yaml')


def test_a_joint_has_a_unit_and_may_have_other_names():
    content = copy.deepcopy(VALID)
    content['joints'][-1] |= {'unit': '1', 'aliases': ['gripper', 'hand']}
    *arm, finger = parse_robot(yaml.safe_dump(content), 'arm.yaml').joints
    assert (finger.unit, finger.aliases) == (JointUnit.FRACTION, ('gripper', 'hand'))
    assert {(joint.unit, joint.aliases) for joint in arm} == {(JointUnit.RADIAN, ())}


@pytest.mark.parametrize(('path', 'value', 'message'), [
    (('speed',), 1.0, "unknown key 'speed', expected schema, name, base_frame,"),
    (('joints', 1, 'torque'), 1.0, "unknown key 'torque' in joints[1], expected name, kind,"),
    (('state', 'qos'), 'x', "unknown key 'qos' in state, expected topic, rate_hz,"),
    (('joints', 3, 'jerk'), ABSENT, 'joints[3].jerk is missing'),
    (('command',), ABSENT, 'command is missing'),
    (('schema',), 2, 'schema is 2, expected a whole number from 1 to 1'),
    (('units', 'angle'), 'deg', "units.angle is 'deg', expected one of rad"),
    (('units', 'length'), 'mm', "units.length is 'mm', expected one of m"),
    (('joints', 1, 'name'), 'shoulder_pan_joint',
     "joints[1].name is 'shoulder_pan_joint' as in joints[0], expected a name of its own"),
    (('joints',), [], 'joints is [], expected at least one joint'),
    (('joints', 0), 'arm', "joints[0] is 'arm', expected a mapping of name, kind,"),
    (('joints', 0, 'kind'), 'prismatic', 'expected one of continuous, binary, wrapped'),
    (('joints', 0, 'velocity'), 'fast', "joints[0].velocity is 'fast', expected a number in rad"),
    (('joints', 0, 'velocity'), True, 'joints[0].velocity is True, expected a number in rad/s'),
    (('joints', 0, 'velocity'), 180.0,
     'joints[0].velocity is 180.0, expected 1e-06 to 30 rad/s (not degrees)'),
    (('joints', 0, 'velocity'), 0.0, 'joints[0].velocity is 0.0, expected 1e-06 to 30'),
    (('joints', 0, 'acceleration'), -5.0, 'joints[0].acceleration is -5.0, expected 1e-06 to'),
    (('joints', 0, 'jerk'), float('nan'), 'joints[0].jerk is nan, expected 1e-06 to 50000'),
    (('joints', 0, 'jerk'), 10 ** 400, 'joints[0].jerk is 1000000'),
    (('joints', 0, 'lower'), -360.0,
     'joints[0].lower is -360.0, expected -100 to 100 rad (not degrees)'),
    (('joints', 0, 'lower'), 7.0, 'joints[0].lower is 7.0, expected less than upper, 6.2831 rad'),
    (('joints', 0, 'home'), 6.5,
     'joints[0].home is 6.5, expected -6.2831 to 6.2831 rad, inside lower and upper'),
    (('gripper', 'joint'), 'thumb', "gripper.joint is 'thumb', expected one of shoulder_pan"),
    (('gripper', 'closed'), 0.9, 'gripper.closed is 0.9, expected 0 to 0.8 rad'),
    (('gripper', 'closed'), 0.0, 'gripper.closed is 0.0, expected another value than open'),
    (('cameras', 1, 'name'), 'front', "cameras[1].name is 'front' as in cameras[0]"),
    (('cameras', 1, 'topic'), 'cameras/front/image_raw', 'expected a topic of its own'),
    (('cameras', 0, 'encoding'), 'yuyv', "encoding is 'yuyv', expected one of rgb8, bgr8"),
    (('cameras', 0, 'width'), 0, 'cameras[0].width is 0, expected a whole number from 1'),
    (('cameras', 0, 'width'), 224.5, 'cameras[0].width is 224.5, expected a whole number'),
    (('cameras',), None, 'cameras is None, expected a list of cameras'),
    (('state', 'topic'), '/joint_states', 'expected a relative topic name'),
    (('state', 'time_base'), 'arrival', "is 'arrival', expected one of header, receipt"),
    (('state', 'tolerance_s'), 0, 'state.tolerance_s is 0, expected 0.001 to 60 s'),
    (('command', 'kind'), 'torque', 'expected one of position_command, joint_trajectory'),
    (('name',), 'ur5e sim', 'name is'),
    (('cameras', 0, 'transport'), 'jpeg', "transport is 'jpeg', expected one of raw, compressed"),
    (('cameras', 0, 'resize'), [224, 224], 'expected a mapping of width, height'),
    (('cameras', 0, 'resize'), {'width': 0, 'height': 8},
     'cameras[0].resize.width is 0, expected a whole number from 1 to 16384 pixels'),
    (('cameras', 0, 'resize'), {'width': 8}, 'cameras[0].resize.height is missing'),
    (('cameras', 0, 'frozen_after_s'), -1.0,
     'cameras[0].frozen_after_s is -1.0, expected 0 to 60 s, 0 for unchecked'),
    (('joints', 0, 'unit'), 'deg', "joints[0].unit is 'deg', expected one of rad, m, 1"),
    (('joints', 0, 'aliases'), ['elbow_joint'],
     "elbow_joint is also called 'elbow_joint' as is shoulder_pan_joint"),
    (('joints', 0, 'aliases'), 'motor0', "joints[0].aliases is 'motor0', expected"),
])
def test_a_mistake_is_one_line_with_file_key_and_expected_value(path, value, message):
    with pytest.raises(ContractError) as error:
        parse_robot(changed(path, value), 'ur5e.yaml')
    text = str(error.value)
    assert text.startswith('ur5e.yaml: ')
    assert message in text
    assert '\n' not in text
    assert len(text) < 300


@pytest.mark.parametrize(('text', 'message'), [
    ('joints: [', 'arm.yaml: not YAML: '),
    ('a: 1\na: 2\n', "arm.yaml: not YAML: key 'a' stands twice, line 2 column 1"),
    ('name: 2026-13-45\n', 'arm.yaml: not YAML: month must be in 1..12'),
    ('- 1\n- 2\n', 'arm.yaml: the file is [1, 2], expected a mapping of schema'),
    ('', 'arm.yaml: the file is None, expected a mapping of schema'),
    ('!!python/object/apply:os.getcwd []', 'arm.yaml: not YAML: could not determine'),
])
def test_a_file_that_is_no_contract_is_one_line(text, message):
    with pytest.raises(ContractError) as error:
        parse_robot(text, 'arm.yaml')
    assert str(error.value).startswith(message)
    assert '\n' not in str(error.value)


def test_an_unknown_name_says_which_contracts_there_are():
    with pytest.raises(ContractError, match=r"'ur6': no such robot contract, .*ur5e_sim"):
        load_robot('ur6')


def test_an_absent_file_says_which_contracts_there_are(tmp_path):
    with pytest.raises(ContractError, match=r'ur6\.yaml: no such robot contract, .*ur5e_sim'):
        load_robot(tmp_path / 'ur6.yaml')


def test_a_file_that_is_not_text_is_one_line(tmp_path):
    path = tmp_path / 'arm.yaml'
    path.write_bytes(b'\xff\xfe\x00name')
    with pytest.raises(ContractError, match=r'arm\.yaml: cannot be read'):
        load_robot(path)


def paths(content, prefix=()):
    """Return the path of every value in ``content``."""
    items = content.items() if isinstance(content, dict) else (
        enumerate(content) if isinstance(content, list) else ())
    return [path for key, value in items
            for path in [(*prefix, key), *paths(value, (*prefix, key))]]


def robot_or_refusal(text):
    """Return the robot, or the text of the one error that may be raised."""
    try:
        return parse_robot(text, 'ur5e.yaml')
    except ContractError as error:
        return str(error)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(SCALARS, inner, max_size=3), max_leaves=8)


@settings(max_examples=60)
@given(st.sampled_from(paths(VALID)), VALUES | st.just(ABSENT))
def test_a_contract_with_any_value_changed_loads_or_is_refused_in_one_line(path, value):
    robot = robot_or_refusal(changed(path, value))
    if isinstance(robot, RobotSpec):
        assert (robot.limits.lower < robot.limits.upper).all()
        assert (robot.limits.velocity > 0.0).all()
    else:
        assert '\n' not in robot


@settings(max_examples=40)
@given(st.integers(0, 3500), st.integers(0, 60), st.text(max_size=12))
def test_a_file_with_any_piece_overwritten_loads_or_is_refused_in_one_line(start, count, piece):
    text = CONTRACT.read_text()
    robot = robot_or_refusal(text[:start] + piece + text[start + count:])
    assert isinstance(robot, RobotSpec) or '\n' not in robot
