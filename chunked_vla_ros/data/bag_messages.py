"""
The messages of any bag in the order of their log times, as the bytes that came over the wire.

MCAP and sqlite3, one file or many. Knows no message's meaning; `data.wire_values` reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from chunked_vla_ros.data.bag_directory import BagError, BagPlace, find_bag, mapping
from chunked_vla_ros.data.bag_scan import LATEST_NS
from chunked_vla_ros.data.bag_wholeness import flaws_of
from chunked_vla_ros.data.mcap_chunk import unpack_zstd, UnpackError
from chunked_vla_ros.data.mcap_messages import McapMessages, StoredMessage
from chunked_vla_ros.data.sqlite_messages import SqliteMessages

# rosbag2's compression mode "message" packs each payload by itself. No CDR begins like this.
ZSTD_START = b'\x28\xb5\x2f\xfd'

__all__ = ['BagError', 'BagMessage', 'BagReader', 'BagTopic']


@dataclass(frozen=True, slots=True)
class BagMessage:
    """
    A message as it was recorded.

    :ivar data: CDR with its encapsulation of four bytes.
    :ivar log_ns: When the recorder received it, in [ns].
    :ivar publish_ns: When it was sent, in [ns]; the log time where the storage does not say.
    """

    topic: str
    type_name: str
    data: bytes
    log_ns: int
    publish_ns: int


@dataclass(frozen=True)
class BagTopic:
    """
    What a bag says of a topic.

    :ivar count: Messages that can be read.
    :ivar definition: Of its type, with all that it contains; '' where the bag does not say.
    :ivar encoding: How its messages are serialised; only 'cdr' is read.
    """

    name: str
    type_name: str
    count: int
    definition: str
    encoding: str = 'cdr'


class BagReader:
    """
    A bag, opened for reading; every byte has been read and checked once.

    :ivar topics: By name; topics without messages too.
    :ivar facts: What the recorder wrote of the episode: custom_data, and the same in our MCAP.
    :ivar start_ns: First log time in [ns], 0 without messages.
    :ivar end_ns: Last log time in [ns].
    :ivar damaged: What is not whole, one line each; the messages beside the damage can be read.
    """

    def __init__(self, path: Path) -> None:
        """
        Open a bag's directory, or one .mcap or .db3 file.

        :raises BagError: there is no bag, or nothing of it can be read.
        """
        self.path = path
        try:
            place = find_bag(path)
            self._files = place.files
            self._states = [_state(file) for file in place.files]
            store = (McapMessages(place.files) if place.storage == 'mcap'
                     else SqliteMessages(place.files))
            self.damaged = flaws_of(place, store.scan)
        except OSError as error:
            raise BagError(f'{path}: cannot be read ({error.strerror or error})') from error
        self._store = store
        self._conflicts: dict[str, str] = {}
        self.topics = self._gather(store)
        self.facts = _facts(place) | store.scan.facts
        self.start_ns, self.end_ns = store.scan.start_ns, store.scan.end_ns

    def messages(self, topics: Collection[str] | None = None, start_ns: int | None = None,
                 end_ns: int | None = None) -> Iterator[BagMessage]:
        """
        Yield messages ordered by log time over all files; memory does not grow with the bag.

        :param topics: Only of these; ``None``: of all.
        :param start_ns: Only from this log time on, in [ns].
        :param end_ns: Only up to this log time, in [ns], itself included.
        :raises BagError: one of ``topics`` is not there, is not CDR or has two types, or the
            bag has changed since it was opened.
        """
        chosen = frozenset(self.topics if topics is None else topics)
        for name in sorted(chosen):
            self._check(name)
        first_ns = 0 if start_ns is None else max(start_ns, 0)
        return self._messages(
            chosen, first_ns, LATEST_NS if end_ns is None else min(end_ns, LATEST_NS))

    def _messages(self, topics: frozenset[str], start_ns: int,
                  end_ns: int) -> Iterator[BagMessage]:
        types = {name: self.topics[name].type_name for name in topics}
        try:
            for file, state in zip(self._files, self._states, strict=True):
                if _state(file) != state:
                    raise BagError(f'{file}: has changed since it was opened, read it again when '
                                   f'its writer is done')
            for message in self._store.messages(topics, start_ns, end_ns):
                yield BagMessage(message.topic, types[message.topic], _unpacked(message),
                                 message.log_ns, message.publish_ns)
        except OSError as error:
            raise BagError(f'{self.path}: cannot be read ({error.strerror or error})') from error

    def _gather(self, store: McapMessages | SqliteMessages) -> dict[str, BagTopic]:
        found = {name: BagTopic(name, ''.join(topic.types[:1]), topic.messages, '', '')
                 for name, topic in store.scan.topics.items()}
        for said in _said(store):
            topic = found.setdefault(said.name, said)
            # Files of one bag repeat what they are about.
            for what in ('type_name', 'encoding', 'definition'):
                first, second = getattr(topic, what), getattr(said, what)
                if first and second and first != second and topic.count:
                    shown = '' if what == 'definition' else f', {first!r} and {second!r}'
                    self._conflicts[said.name] = f'two different {what}s{shown}'
            found[said.name] = BagTopic(
                said.name, topic.type_name, topic.count, topic.definition or said.definition,
                topic.encoding or said.encoding)
        return found

    def _check(self, name: str) -> None:
        topic = self.topics.get(name)
        if topic is None:
            raise BagError(f'{self.path}: has no topic {name}, it has: '
                           f'{", ".join(sorted(self.topics)) or "none"}')
        if name in self._conflicts:
            raise BagError(f'{self.path}: {name} has {self._conflicts[name]}; leave it out')
        if topic.count and topic.encoding != 'cdr':
            raise BagError(f'{self.path}: {name} is serialised as {topic.encoding!r}, only cdr is '
                           f'read; leave it out or convert the bag')


def _said(store: McapMessages | SqliteMessages) -> Iterator[BagTopic]:
    """Yield what each file says of each topic; nothing is counted."""
    if isinstance(store, SqliteMessages):
        for topics in store.topics:
            for topic in topics.values():
                yield BagTopic(topic.name, topic.type_name, 0, topic.definition, topic.encoding)
        return
    for file, channels in enumerate(store.channels):
        for channel in channels.values():
            schema = store.schema(file, channel)
            readable = schema is not None and schema.encoding == 'ros2msg'
            yield BagTopic(
                channel.topic, '' if schema is None else schema.name, 0,
                schema.data.decode('utf-8', 'replace') if schema is not None and readable else '',
                channel.encoding)


def _facts(place: BagPlace) -> dict[str, str]:
    custom_data = mapping((place.information or {}).get('custom_data'))
    return {str(key): str(text) for key, text in custom_data.items()}


def _unpacked(message: StoredMessage) -> bytes:
    """Return a message's own bytes; those that do not unpack stay as they are, no CDR."""
    if not message.data.startswith(ZSTD_START):
        return message.data
    try:
        return unpack_zstd(message.data)
    except UnpackError:
        return message.data


def _state(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
