"""metadata.yaml: what is written is read back; what others wrote never breaks the reader."""

from contextlib import suppress
from io import StringIO
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from ruamel.yaml import YAML
import yaml

from chunked_vla_ros.core.recording import OfferedQos, StreamSpec
from chunked_vla_ros.data.bag_metadata import (
    BagMetadata,
    BagMetadataError,
    information_text,
    metadata_text,
    parse_metadata,
    qos_text,
    writable,
)

ROOT = 'rosbag2_bagfile_information'
BAG = BagMetadata(
    'one_0.mcap', ((StreamSpec('/a', 'a_msgs/msg/A', type_hash='RIHS01_00'), 3),),
    start_ns=5, duration_ns=7, custom_data={'task': 'stack'}, ros_distro='jazzy')


def load_both(text: str) -> Any:
    """Return what YAML 1.1 (as in PyYAML) reads, after holding it against 1.2 (as in rosbags)."""
    content = yaml.safe_load(text)
    assert YAML(typ='safe').load(StringIO(text)) == content
    return content


def test_the_text_is_what_rosbag2_writes() -> None:
    content = load_both(metadata_text(BAG))[ROOT]
    assert load_both(information_text(BAG)) == content
    assert content == {
        'version': 9, 'storage_identifier': 'mcap',
        'starting_time': {'nanoseconds_since_epoch': 5}, 'duration': {'nanoseconds': 7},
        'message_count': 3,
        'topics_with_message_count': [{
            'topic_metadata': {
                'name': '/a', 'type': 'a_msgs/msg/A', 'serialization_format': 'cdr',
                'offered_qos_profiles': [], 'type_description_hash': 'RIHS01_00'},
            'message_count': 3}],
        'compression_format': '', 'compression_mode': '',
        'relative_file_paths': ['one_0.mcap'],
        'files': [{'path': 'one_0.mcap', 'starting_time': {'nanoseconds_since_epoch': 5},
                   'duration': {'nanoseconds': 7}, 'message_count': 3}],
        'custom_data': {'task': 'stack'}, 'ros_distro': 'jazzy'}


def test_a_publisher_without_limits_offers_what_rmw_calls_infinite() -> None:
    offered = load_both(qos_text((OfferedQos(),)))[0]
    assert offered['deadline'] == offered['lifespan'] == offered['liveliness_lease_duration'] == {
        'sec': 9223372036, 'nsec': 854775807}


@pytest.mark.parametrize(('history', 'depth', 'written'), [
    ('keep_last', 5, 5), ('keep_all', 5, 10), ('unknown', 0, 10)])
def test_a_depth_that_rosbag2_would_not_read_is_the_one_it_takes_instead(
        history: str, depth: int, written: int) -> None:
    offered, = load_both(qos_text((OfferedQos(history=history, depth=depth),)))
    assert (offered['history'], offered['depth']) == (history, written)


@given(custom=st.dictionaries(
    st.text(min_size=1, max_size=10), st.text(max_size=40), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_text_of_ours_survives_both_kinds_of_yaml(custom: dict[str, str]) -> None:
    bag = BagMetadata('one_0.mcap', custom_data=custom)
    text = metadata_text(bag)
    text.encode()
    expected = {writable(key): writable(value) for key, value in custom.items()}
    assert (load_both(text)[ROOT]['custom_data'] or {}) == expected
    assert parse_metadata(text).custom_data == expected


@pytest.mark.parametrize('text', ['yes', '0o17', '1:30', '.inf', '~', 'null', '12', '-', 'a: b',
                                  '# a', '"', "'", '\n', '\u2028', '\x00', '\ufeff', '=', '<<'])
def test_words_that_yaml_takes_for_something_else_stay_words(text: str) -> None:
    bag = BagMetadata('one_0.mcap', custom_data={'word': text})
    assert load_both(metadata_text(bag))[ROOT]['custom_data'] == {'word': text}


def test_what_is_written_can_be_read_back() -> None:
    assert parse_metadata(metadata_text(BAG)) == BAG
    assert parse_metadata(metadata_text(BAG)).messages == 3


def test_a_bag_of_another_recorder_and_version_is_understood() -> None:
    text = f"""{ROOT}:
  version: 5
  storage_identifier: sqlite3
  relative_file_paths: [rosbag2_0.db3]
  duration: {{nanoseconds: 10}}
  starting_time: {{nanoseconds_since_epoch: 20}}
  message_count: 1
  topics_with_message_count:
    - topic_metadata: {{name: /a, type: a_msgs/msg/A, serialization_format: cdr,
                        offered_qos_profiles: "- history: 3"}}
      message_count: 1
"""
    bag = parse_metadata(text)
    assert (bag.file_name, bag.start_ns, bag.duration_ns, bag.custom_data) == (
        'rosbag2_0.db3', 20, 10, {})
    assert bag.topics == ((StreamSpec('/a', 'a_msgs/msg/A'), 1),)


BOMB = ('a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\n'
        + '\n'.join(f'{chr(98 + i + 1)}: &{chr(98 + i + 1)} [{", ".join(["*" + chr(98 + i)] * 9)}]'
                    for i in range(8)))


@pytest.mark.parametrize('text', [
    '', '[' * 5000, '\x00', 'a', f'{ROOT}:', f'{ROOT}: []', '&a [*a]', f'{ROOT}: &a {{b: *a}}',
    metadata_text(BAG).replace('nanoseconds: 7', 'nanoseconds: -7'),
    metadata_text(BAG).replace('nanoseconds: 7', 'nanoseconds: ' + '9' * 5000),
    metadata_text(BAG).replace('nanoseconds: 7', 'nanoseconds: true'),
    metadata_text(BAG).replace('task: stack', f'task: [{BOMB}]'),
    metadata_text(BAG).replace('name: /a', 'nome: /a'),
    metadata_text(BAG).replace('- "one_0.mcap"', '- 3')])
def test_what_is_no_metadata_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BagMetadataError) as refused:
        parse_metadata(text)
    assert '\n' not in str(refused.value)
    assert len(str(refused.value)) < 300


@given(at=st.integers(0, 2000), junk=st.text(max_size=5), cut=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_damage_anywhere_is_an_error_or_harmless(at: int, junk: str, cut: int) -> None:
    text = metadata_text(BAG)
    at %= len(text)
    with suppress(BagMetadataError):
        assert parse_metadata(text[:at] + junk + text[at + cut:]).messages >= 0
