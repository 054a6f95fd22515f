"""
The text of rosbag2's ``metadata.yaml``, version 9: written for our bags, read of anybody's.

Takes and gives text; files are others'. Knows nothing about MCAP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Any, cast

import yaml

from chunked_vla_ros.core.recording import OfferedQos, StreamSpec
from chunked_vla_ros.core.types import NS_PER_S

METADATA_FILE = 'metadata.yaml'
VERSION = 9
LARGEST_TEXT = 16 * 1024 * 1024
ROOT = 'rosbag2_bagfile_information'
# Written as it is; all else is quoted, since YAML 1.1 and 1.2 read some of it differently.
PLAIN = re.compile(r'[A-Za-z_/][A-Za-z0-9_/]*')
LONE_SURROGATE = re.compile('[\ud800-\udfff]')
# rosbag2 reads a depth with keep_last only, else it takes this one. `ros2 bag reindex` writes it,
# and rosbags finds no message of a topic whose QoS is no longer that of its channel.
DEFAULT_DEPTH = 10


class BagMetadataError(ValueError):
    """A metadata.yaml cannot be understood; the message is one line that says what is wrong."""


@dataclass(frozen=True)
class BagMetadata:
    """
    What stands in a metadata.yaml.

    :ivar file_name: The bag's only file, beside it.
    :ivar topics: Streams with how many messages each has; read back, without definitions.
    :ivar start_ns: Log stamp of the first message in [ns]; 0 without any.
    :ivar duration_ns: From the first to the last.
    :ivar custom_data: Whatever the writer wants to be known.
    """

    file_name: str
    topics: tuple[tuple[StreamSpec, int], ...] = ()
    start_ns: int = 0
    duration_ns: int = 0
    custom_data: Mapping[str, str] = field(default_factory=dict)
    ros_distro: str = 'unknown'

    @property
    def messages(self) -> int:
        """Return how many messages there are."""
        return sum(count for _, count in self.topics)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar('tag:yaml.org,2002:str', text, style=style)


_Dumper.add_representer(str, _write_text)


def writable(text: str) -> str:
    """Return ``text`` with what UTF-8 cannot hold (a broken file name's bytes) replaced."""
    return LONE_SURROGATE.sub('\N{REPLACEMENT CHARACTER}', text)


def qos_text(offered: tuple[OfferedQos, ...]) -> str:
    """Return the YAML that stands both in metadata.yaml and in an MCAP channel's metadata."""
    return _dump([_qos(qos) for qos in offered])


def metadata_text(bag: BagMetadata) -> str:
    """Return the whole metadata.yaml."""
    return _dump({ROOT: _information(bag)}) + '\n'


def information_text(bag: BagMetadata) -> str:
    """Return what rosbag2 keeps inside an MCAP file: metadata.yaml without its root key."""
    return _dump(_information(bag))


def parse_metadata(text: str) -> BagMetadata:
    """
    Read a metadata.yaml of any version.

    :raises BagMetadataError: it is no YAML or lacks what every version has.
    """
    if len(text) > LARGEST_TEXT:
        raise BagMetadataError(f'has {len(text)} characters, at most {LARGEST_TEXT} are allowed')
    try:
        content = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = ' '.join(str(error).split())
        raise BagMetadataError(f'is no YAML: {line[:200]}') from None
    information = _mapping(_mapping(content, 'the file').get(ROOT), ROOT)
    files = information.get('relative_file_paths')
    if not isinstance(files, list) or not files or not isinstance(files[0], str):
        raise BagMetadataError('names no file in relative_file_paths')
    topics = information.get('topics_with_message_count')
    if not isinstance(topics, list):
        raise BagMetadataError('has no list topics_with_message_count')
    custom_data = _mapping(information.get('custom_data') or {}, 'custom_data')
    if any(isinstance(text, (dict, list)) for text in custom_data.values()):
        raise BagMetadataError('has more than texts in custom_data')
    return BagMetadata(
        file_name=files[0], topics=tuple(_topic(entry) for entry in topics),
        start_ns=_number(information, 'starting_time', 'nanoseconds_since_epoch'),
        duration_ns=_number(information, 'duration', 'nanoseconds'),
        custom_data={str(key): str(text) for key, text in custom_data.items()},
        ros_distro=str(information.get('ros_distro', 'unknown')))


# The one in C is ten times as fast; a folder of episodes is read at every listing.
_Loader = cast('type[yaml.SafeLoader]', getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


def _dump(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True,
                     default_flow_style=False, width=2**31).rstrip('\n')


def _information(bag: BagMetadata) -> dict[str, Any]:
    span = {'starting_time': {'nanoseconds_since_epoch': bag.start_ns},
            'duration': {'nanoseconds': bag.duration_ns}, 'message_count': bag.messages}
    custom_data = {writable(key): writable(text) for key, text in bag.custom_data.items()}
    return {
        'version': VERSION, 'storage_identifier': 'mcap', **span,
        'topics_with_message_count': [
            {'topic_metadata': {
                'name': spec.topic, 'type': spec.type_name, 'serialization_format': 'cdr',
                'offered_qos_profiles': [_qos(qos) for qos in spec.offered_qos],
                'type_description_hash': spec.type_hash},
             'message_count': count} for spec, count in bag.topics],
        'compression_format': '', 'compression_mode': '',
        'relative_file_paths': [bag.file_name], 'files': [{'path': bag.file_name, **span}],
        'custom_data': custom_data or None, 'ros_distro': bag.ros_distro}


def _qos(qos: OfferedQos) -> dict[str, Any]:
    return {
        'history': qos.history,
        'depth': qos.depth if qos.history == 'keep_last' else DEFAULT_DEPTH,
        'reliability': qos.reliability, 'durability': qos.durability,
        'deadline': _duration(qos.deadline_ns), 'lifespan': _duration(qos.lifespan_ns),
        'liveliness': qos.liveliness,
        'liveliness_lease_duration': _duration(qos.liveliness_lease_ns),
        'avoid_ros_namespace_conventions': False}


def _duration(time_ns: int) -> dict[str, int]:
    return {'sec': time_ns // NS_PER_S, 'nsec': time_ns % NS_PER_S}


def _topic(entry: Any) -> tuple[StreamSpec, int]:
    entry = _mapping(entry, 'topics_with_message_count')
    topic = _mapping(entry.get('topic_metadata'), 'topic_metadata')
    name, type_name = topic.get('name'), topic.get('type')
    if not isinstance(name, str) or not isinstance(type_name, str):
        raise BagMetadataError('has a topic without name or type')
    return StreamSpec(name, type_name, type_hash=str(topic.get('type_description_hash', ''))), \
        _number(entry, 'message_count')


def _mapping(content: Any, what: str) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise BagMetadataError(f'has no mapping in {what}')
    return content


def _number(content: dict[Any, Any], *keys: str) -> int:
    for key in keys[:-1]:
        content = _mapping(content.get(key), key)
    number = content.get(keys[-1])
    if not isinstance(number, int) or isinstance(number, bool) \
            or not 0 <= number < 2**63:
        raise BagMetadataError(f'has no number {".".join(keys)}')
    return number
