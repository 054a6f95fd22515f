"""
The messages of a bag's sqlite3 files in the order of their log times, in bounded memory.

Opens files so that nothing is ever written. Knows no message's meaning and judges no bag.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
import sqlite3

from chunked_vla_ros.data.bag_directory import BagError
from chunked_vla_ros.data.bag_scan import BagScan
from chunked_vla_ros.data.mcap_messages import StoredMessage
from chunked_vla_ros.data.sqlite_scan import BROKEN, open_sqlite, scan_sqlite


@dataclass(frozen=True)
class SqliteTopic:
    """What one file says of a topic; ``definition`` is '' where it does not."""

    name: str
    type_name: str
    encoding: str
    definition: str


class SqliteMessages:
    """
    The messages of a bag's sqlite3 files.

    :ivar scan: What is in them, counted.
    :ivar topics: For each file, what its topics' numbers stand for.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """
        Count what is in all files.

        :raises BagError: one is not a sqlite3 bag, or is damaged.
        :raises OSError: one cannot be read.
        """
        self._files = files
        self.scan = scan_sqlite(files, into=BagScan('sqlite3', judged=False))
        self.topics = [_topics(path) for path in files]

    def messages(self, topics: Collection[str], start_ns: int,
                 end_ns: int) -> Iterator[StoredMessage]:
        """
        Yield the messages of ``topics`` from ``start_ns`` to ``end_ns``, ordered by log time.

        Of equal times the earlier file comes first, then what was written first.

        :raises BagError: a file turns out to be damaged.
        :raises OSError: a file cannot be read.
        """
        return merge(*(self._of_file(file, topics, start_ns, end_ns)
                       for file in range(len(self._files))), key=lambda message: message.log_ns)

    def _of_file(self, file: int, topics: Collection[str], start_ns: int,
                 end_ns: int) -> Iterator[StoredMessage]:
        path = self._files[file]
        names = {number: topic.name for number, topic in self.topics[file].items()
                 if topic.name in topics}
        with closing(open_sqlite(path)) as connection:
            try:
                # No index is believed: sqlite sorts times and row numbers, on the disk where they
                # are many, and each payload is fetched when it is due.
                rows = connection.execute(
                    'SELECT rowid, topic_id, timestamp FROM messages NOT INDEXED '
                    f'WHERE topic_id IN ({",".join(map(str, names))}) '
                    'AND timestamp BETWEEN ? AND ? ORDER BY timestamp, rowid',
                    (start_ns, end_ns))
                for row, number, stamp in rows:
                    data = _payload(connection, row)
                    yield StoredMessage(stamp, stamp, names[number], data)
            except BROKEN as error:
                raise BagError(f'{path}: cannot be read to its end ({error}); try: sqlite3 '
                               f'{path.name} .recover | sqlite3 new.db3') from error


def _payload(connection: sqlite3.Connection, row: int) -> bytes:
    found = connection.execute('SELECT data FROM messages WHERE rowid = ?', (row,)).fetchone()
    if found is None or not isinstance(found[0], bytes):
        raise ValueError(f'message {row} has no bytes')
    data: bytes = found[0]
    return data


def _topics(path: Path) -> dict[int, SqliteTopic]:
    with closing(open_sqlite(path)) as connection:
        try:
            definitions = _definitions(connection)
            columns = {row[1] for row in connection.execute('PRAGMA table_info(topics)')}
            encoding = 'serialization_format' if 'serialization_format' in columns else "'cdr'"
            return {int(number): SqliteTopic(str(name), str(type_name), str(encoding),
                                             definitions.get(str(type_name), ''))
                    for number, name, type_name, encoding in connection.execute(
                        f'SELECT id, name, type, {encoding} FROM topics ORDER BY id')}
        except BROKEN as error:
            raise BagError(f'{path}: its topics cannot be read ({error})') from error


def _definitions(connection: sqlite3.Connection) -> dict[str, str]:
    """Return message definitions by type; bags before Iron have none."""
    if not list(connection.execute('PRAGMA table_info(message_definitions)')):
        return {}
    return {str(type_name): str(text) for type_name, text in connection.execute(
        'SELECT topic_type, encoded_message_definition FROM message_definitions '
        "WHERE encoding = 'ros2msg'")}
