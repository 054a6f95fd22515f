"""
The quality of service in a bag, of any rosbag2 version: numbers or words, text or YAML nodes.

Both places that state it, metadata.yaml and the MCAP channel, are read by this one function, so
that they can be compared. Knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from chunked_vla_ros.core.recording import INFINITE_NS, OfferedQos
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_directory import LOADER

# rmw's numbers, which metadata before version 9 holds.
HISTORY = ('system_default', 'keep_last', 'keep_all', 'unknown')
RELIABILITY = ('system_default', 'reliable', 'best_effort', 'unknown', 'best_available')
DURABILITY = ('system_default', 'transient_local', 'volatile', 'unknown', 'best_available')
LIVELINESS = ('system_default', 'automatic', 'manual_by_node', 'manual_by_topic', 'unknown',
              'best_available')
LARGEST_TEXT = 1 << 20


class QosError(ValueError):
    """A text is not what rosbag2 writes of offered profiles; the message says why."""


def read_qos(content: Any) -> tuple[OfferedQos, ...]:
    """
    Return the profiles in ``content``, a text or what YAML made of it.

    :raises QosError: it is something else.
    """
    if isinstance(content, str):
        if len(content) > LARGEST_TEXT:
            raise QosError(f'{len(content)} characters of QoS')
        try:
            content = yaml.load(content, Loader=LOADER)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise QosError('QoS is not YAML') from None
    if content is None or content == '':
        return ()
    if not isinstance(content, list):
        raise QosError('QoS is not a list of profiles')
    return tuple(_profile(entry) for entry in content)


def _profile(entry: Any) -> OfferedQos:
    if not isinstance(entry, dict):
        raise QosError('a QoS profile is not a mapping')
    depth = entry.get('depth', 0)
    if not isinstance(depth, int):
        raise QosError('a QoS depth is not a number')
    return OfferedQos(
        reliability=_word(entry.get('reliability'), RELIABILITY),
        durability=_word(entry.get('durability'), DURABILITY),
        history=_word(entry.get('history'), HISTORY), depth=depth,
        lifespan_ns=_duration(entry.get('lifespan')),
        deadline_ns=_duration(entry.get('deadline')),
        liveliness=_word(entry.get('liveliness'), LIVELINESS),
        liveliness_lease_ns=_duration(entry.get('liveliness_lease_duration')))


def _word(value: Any, words: Sequence[str]) -> str:
    if isinstance(value, int) and 0 <= value < len(words):
        return words[value]
    return value.lower() if isinstance(value, str) and value.lower() in words else 'unknown'


def _duration(value: Any) -> int:
    if value is None:
        return INFINITE_NS
    if not isinstance(value, dict):
        raise QosError('a QoS duration is not a mapping')
    seconds, rest = value.get('sec', 0), value.get('nsec', 0)
    if not isinstance(seconds, int) or not isinstance(rest, int):
        raise QosError('a QoS duration is not a number')
    return seconds * NS_PER_S + rest
