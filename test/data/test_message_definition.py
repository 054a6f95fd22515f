"""Definitions of message types, against those of `rosbags` and against files of our own."""

import json
from pathlib import Path

import pytest
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from chunked_vla_ros.data.message_definition import definition_of, installed_shares


@pytest.mark.parametrize('name', [
    'sensor_msgs/msg/Image', 'sensor_msgs/msg/JointState', 'sensor_msgs/msg/CameraInfo',
    'trajectory_msgs/msg/MultiDOFJointTrajectory', 'std_msgs/msg/String',
    'diagnostic_msgs/msg/DiagnosticArray', 'visualization_msgs/msg/MarkerArray'])
def test_a_definition_has_the_fields_that_rosbags_knows(name: str) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    types = get_types_from_msg(definition_of(name), name)
    assert {key: store.fielddefs[key] for key in types} == types


@pytest.mark.parametrize('name', ['ActionChunk', 'ExecutorState', 'EpisodeEvent'])
def test_our_own_messages_have_the_hash_that_the_middleware_announces(name: str) -> None:
    full = f'chunked_vla_ros/msg/{name}'
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(definition_of(full), full))
    files = [share / 'chunked_vla_ros' / 'msg' / f'{name}.json' for share in installed_shares()]
    described = json.loads(next(file for file in files if file.is_file()).read_text())
    hashes = {entry['type_name']: entry['hash_string'] for entry in described['type_hashes']}
    # The hash covers every field of every type that the message contains.
    assert store.hash_rihs01(full) == hashes[full]


def write_package(share: Path, package: str, **messages: str) -> None:
    folder = share / package / 'msg'
    folder.mkdir(parents=True)
    for name, text in messages.items():
        (folder / f'{name}.msg').write_text(text)


def test_types_are_followed_once_and_in_the_order_they_are_met(tmp_path: Path) -> None:
    write_package(tmp_path, 'a_msgs', Top=(
        'int8 LIMIT=3   # Inner x\nstring<=5 name "Inner y"\nInner[<=3] many\n'
        'b_msgs/Other one\nb_msgs/msg/Other two\nstring WORD="Missing z"\nfloat64[9] k\n'),
        Inner='Leaf leaf\n', Leaf='int8 a')
    write_package(tmp_path, 'b_msgs', Other='a_msgs/Leaf leaf\n')
    rule = '=' * 80
    assert definition_of('a_msgs/msg/Top', [tmp_path]).partition(f'{rule}\n')[2] == (
        f'MSG: a_msgs/Inner\nLeaf leaf\n{rule}\nMSG: a_msgs/Leaf\nint8 a\n'
        f'{rule}\nMSG: b_msgs/Other\na_msgs/Leaf leaf\n')


def test_the_overlay_comes_first(tmp_path: Path) -> None:
    write_package(tmp_path / 'under', 'a_msgs', A='int8 old')
    write_package(tmp_path / 'over', 'a_msgs', A='int8 new')
    assert definition_of('a_msgs/msg/A', [tmp_path / 'over', tmp_path / 'under']) == 'int8 new\n'


@pytest.mark.parametrize('name', [
    'no_msgs/msg/None', 'a_msgs/msg/Lacks', 'a_msgs', '', '../../etc/passwd', 'a_msgs/msg/Latin',
    'a_msgs/msg/Folder', 'a_msgs/srv/Top'])
def test_what_cannot_be_found_in_full_has_no_definition(tmp_path: Path, name: str) -> None:
    write_package(tmp_path, 'a_msgs', Lacks='no_msgs/None x\n')
    (tmp_path / 'a_msgs' / 'msg' / 'Latin.msg').write_bytes(b'int8 a # \xe4')
    (tmp_path / 'a_msgs' / 'msg' / 'Folder.msg').mkdir()
    assert definition_of(name, [tmp_path]) == ''
