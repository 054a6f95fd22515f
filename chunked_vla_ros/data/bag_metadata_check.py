"""
Whether metadata.yaml says what the bag's files hold: counts, topics, QoS, times, our own facts.

Compares two readings, one line for each difference. Opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from chunked_vla_ros.data.bag_directory import LOADER, mapping, sequence
from chunked_vla_ros.data.bag_metadata import METADATA_FILE
from chunked_vla_ros.data.bag_qos import QosError, read_qos
from chunked_vla_ros.data.bag_scan import BagScan, FACTS_RECORD
from chunked_vla_ros.data.topic_scan import TopicScan

NEWEST_VERSION = 9
# Only bags of ours say it.
EPISODE_KEY = 'episode_id'
TOPICS = 'topics_with_message_count'
# rosbag2's own copy of metadata.yaml inside of the MCAP file.
ROSBAG2_RECORD = 'rosbag2'


def compare_metadata(information: Mapping[str, Any], bag: BagScan) -> Iterator[str]:
    """Yield what metadata.yaml and the files disagree about, one line each."""
    version = information.get('version')
    if not isinstance(version, int) or not 1 <= version <= NEWEST_VERSION:
        yield f'{METADATA_FILE}: version is {version!r}, expected 1 to {NEWEST_VERSION}'
    storage = information.get('storage_identifier')
    if storage != bag.storage:
        yield f'{METADATA_FILE}: storage is {storage!r}, the files are {bag.storage}'
    yield from _times(information, bag)
    yield from _counts(information, bag)
    yield from _topics(information, bag)
    yield from compare_facts(information, bag)


def nested(information: Mapping[str, Any], *keys: str) -> Any:
    """Return the value below ``keys``, ``None`` where one is missing."""
    value: Any = information
    for key in keys:
        value = mapping(value).get(key)
    return value


def _times(information: Mapping[str, Any], bag: BagScan) -> Iterator[str]:
    if not bag.messages:
        return
    for keys, found in ((('starting_time', 'nanoseconds_since_epoch'), bag.start_ns),
                        (('duration', 'nanoseconds'), bag.end_ns - bag.start_ns)):
        said = nested(information, *keys)
        if said != found:
            yield f'{METADATA_FILE}: {keys[0]} is {said!r} ns, the messages say {found} ns'


def _counts(information: Mapping[str, Any], bag: BagScan) -> Iterator[str]:
    said = information.get('message_count')
    if said != bag.messages:
        yield f'{METADATA_FILE}: message_count is {said!r}, there are {bag.messages}'
    for entry in sequence(information.get('files')):
        name, count = mapping(entry).get('path'), mapping(entry).get('message_count')
        for scan in bag.files:
            statistics = scan.summary.statistics if scan.summary is not None else None
            if scan.path.name == name and statistics is not None \
                    and len(bag.files) > 1 and statistics.messages != count:
                yield (f'{METADATA_FILE}: {name} has message_count {count!r}, there are '
                       f'{statistics.messages}')


def _topics(information: Mapping[str, Any], bag: BagScan) -> Iterator[str]:
    said: dict[str, Mapping[str, Any]] = {}
    for entry in sequence(information.get(TOPICS)):
        name = nested(mapping(entry), 'topic_metadata', 'name')
        if not isinstance(name, str) or name in said:
            yield f'{METADATA_FILE}: lists the topic {name!r} twice or without a name'
        else:
            said[name] = mapping(entry)
    for name, topic in bag.topics.items():
        if name in said:
            yield from _topic(said[name], topic)
        elif topic.messages:
            yield f'{METADATA_FILE}: does not list {name} with its {topic.messages} messages'
    for name, entry in said.items():
        if name not in bag.topics and entry.get('message_count'):
            yield (f'{METADATA_FILE}: lists {name} with {entry.get("message_count")!r} messages, '
                   f'there are none')


def _topic(entry: Mapping[str, Any], topic: TopicScan) -> Iterator[str]:
    name, metadata = topic.topic, mapping(entry.get('topic_metadata'))
    count, type_name = entry.get('message_count'), metadata.get('type')
    if count != topic.messages:
        yield f'{METADATA_FILE}: {name} has message_count {count!r}, there are {topic.messages}'
    if topic.types and type_name not in topic.types:
        yield f'{METADATA_FILE}: {name} is {type_name!r}, the file says {topic.types[0]}'
    type_hash = metadata.get('type_description_hash') or ''
    if type_hash and topic.type_hash and type_hash != topic.type_hash:
        yield f'{METADATA_FILE}: {name} has another type_description_hash than the file'
    said = metadata.get('offered_qos_profiles', '')
    if topic.messages and not any(_same_qos(said, text) for text in topic.qos_texts):
        # rosbags looks for its messages by QoS.
        yield (f'{METADATA_FILE}: {name} has other offered_qos_profiles than the file; rosbags '
               f'reads none of its messages')


def _same_qos(said: Any, text: str) -> bool:
    try:
        return read_qos(said) == read_qos(text)
    except QosError:
        return bool(said == text)


def compare_facts(information: Mapping[str, Any], bag: BagScan) -> Iterator[str]:
    """Yield what is missing or different in ``custom_data`` of a bag that is ours."""
    facts = bag.facts
    said = mapping(information.get('custom_data'))
    if not facts:
        if bag.storage == 'mcap' and EPISODE_KEY in said:
            yield 'the MCAP file lacks the facts of the episode that custom_data has'
        return
    if not said:
        yield (f"{METADATA_FILE}: custom_data with the episode's facts is gone (a tool may drop "
               f'it), the MCAP still has them: recover writes both')
        return
    different = sorted(key for key, text in facts.items()
                       if key not in said or not _same_fact(said[key], text))
    if different:
        yield f'{METADATA_FILE}: custom_data and the MCAP differ in {", ".join(different[:5])}'
    yield from _copies(information, bag)


def _copies(information: Mapping[str, Any], bag: BagScan) -> Iterator[str]:
    """Yield where one of our MCAP files contradicts itself or its copy of metadata.yaml."""
    records = [record for scan in bag.files for record in scan.metadata]
    ours = [dict(record.values) for record in records if record.name == FACTS_RECORD]
    if any(ours[-1].get(key) != text for key, text in ours[0].items()):
        yield 'the facts at the beginning and at the end of the MCAP file differ'
    copies = [dict(record.values) for record in records if record.name == ROSBAG2_RECORD]
    if copies and not _same_metadata(copies[-1].get('serialized_metadata', ''), information):
        yield f'{METADATA_FILE}: its copy inside of the MCAP file says something else'


def _same_metadata(text: str, information: Mapping[str, Any]) -> bool:
    """
    Return whether both say the same.

    `ros2 bag reindex` puts the topics in another order, leaves `files` empty and writes texts
    without quotes; the bag is as whole as before.
    """
    content = {**mapping(_plain(text))}
    if not information.get('files'):
        content['files'] = information.get('files')
    facts, said = (mapping(each.get('custom_data')) for each in (content, information))
    return (_without_order(content) == _without_order(information)
            and facts.keys() == said.keys()
            and all(_same_fact(said[key], text) for key, text in facts.items()))


def _without_order(information: Mapping[str, Any]) -> dict[str, Any]:
    return {**information, 'custom_data': None, TOPICS: sorted(
        sequence(information.get(TOPICS)),
        key=lambda entry: str(nested(mapping(entry), 'topic_metadata', 'name')))}


def _same_fact(said: Any, text: Any) -> bool:
    """Return whether a value is ``text``; rosbag2 writes '12' without quotes, a number then."""
    if said == text:
        return True
    return isinstance(text, str) and not isinstance(said, str | dict | list) \
        and bool(_plain(text) == said)


def _plain(text: str) -> Any:
    """Return what YAML reads in ``text``; ``text`` itself where it is none."""
    try:
        return yaml.load(text, Loader=LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
