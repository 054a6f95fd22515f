"""
What is in a sqlite3 bag, topic by topic; payloads are not read, only their sizes.

The file is opened so that nothing is ever written, not even a journal. Knows nothing of terminals.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
import sqlite3
from urllib.parse import quote

from chunked_vla_ros.data.bag_directory import BagError
from chunked_vla_ros.data.bag_scan import BagScan, Progress
from chunked_vla_ros.data.mcap_chunk import LARGEST_RECORD
from chunked_vla_ros.data.topic_scan import TopicScan

# sqlite3's SQLITE_LIMIT_LENGTH.
LIMIT_LENGTH = 0
# What sqlite3 raises about a damaged file: it even fails to decode its own messages.
BROKEN = (sqlite3.Error, TypeError, ValueError, OverflowError)


def scan_sqlite(files: Sequence[Path], progress: Progress | None = None,
                into: BagScan | None = None) -> BagScan:
    """
    Read the stamps and sizes of every message of a bag's files.

    :raises BagError: a file is not a sqlite3 bag, or is damaged.
    :raises OSError: a file cannot be read.
    """
    bag, before = BagScan('sqlite3') if into is None else into, 0
    for path in files:
        with closing(open_sqlite(path)) as connection:
            try:
                _count(connection, _topics(connection, bag))
            except BROKEN as error:
                raise BagError(f'{path}: cannot be read as a sqlite3 bag ({error}); try: sqlite3 '
                               f'{path.name} .recover | sqlite3 new.db3') from error
        before += path.stat().st_size
        if progress is not None:
            progress(before)
    return bag


def integrity_of(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a file, at most ten lines."""
    try:
        with closing(open_sqlite(path)) as connection:
            rows = connection.execute('PRAGMA integrity_check(10)').fetchall()
    except (*BROKEN, BagError) as error:
        return [str(error)]
    return [' '.join(str(row[0]).split()) for row in rows if row[0] != 'ok']


def open_sqlite(path: Path) -> sqlite3.Connection:
    """
    Return a connection by which nothing can be written.

    :raises BagError: the file is no sqlite3 bag.
    :raises OSError: it cannot be read.
    """
    with path.open('rb') as stream:
        start = stream.read(16)
    if not start:
        raise BagError(f'{path}: is empty, nothing was ever written to it')
    if start != b'SQLite format 3\x00':
        raise BagError(f'{path}: is not a sqlite3 file')
    try:
        connection = sqlite3.connect(
            f'file:{quote(str(path.resolve()))}?mode=ro&immutable=1', uri=True)
        if hasattr(connection, 'setlimit'):    # Python 3.11
            connection.setlimit(LIMIT_LENGTH, LARGEST_RECORD)
        connection.text_factory = lambda text: text.decode(errors='replace')
        tables = {row[0] for row in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'")}
    except BROKEN as error:
        raise BagError(f'{path}: cannot be read as sqlite3 ({error})') from error
    if not {'topics', 'messages'} <= tables:
        connection.close()
        raise BagError(f'{path}: is a sqlite3 file but no bag, it has no topics and messages')
    return connection


def _topics(connection: sqlite3.Connection, bag: BagScan) -> dict[int, TopicScan]:
    """Return the topics of one file by their numbers in it."""
    columns = {row[1] for row in connection.execute('PRAGMA table_info(topics)')}
    qos = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
    type_hash = 'type_description_hash' if 'type_description_hash' in columns else "''"
    topics = {}
    for number, name, type_name, qos_text, hash_text in connection.execute(
            f'SELECT id, name, type, {qos}, {type_hash} FROM topics ORDER BY id'):
        topic = bag.topic(str(name))
        topic.describe(str(type_name), str(qos_text), str(hash_text))
        topics[int(number)] = topic
    return topics


def _count(connection: sqlite3.Connection, topics: dict[int, TopicScan]) -> None:
    # In the order in which they were written; a payload's size is known without reading it.
    rows = connection.execute('SELECT rowid, topic_id, timestamp, length(data) FROM messages '
                              'NOT INDEXED ORDER BY rowid')
    last = -2**63
    for row, number, stamp, size in rows:
        topic = topics.get(number)
        if topic is None:
            raise ValueError(f'a message is of topic {number}, which is not there')
        if not isinstance(stamp, int) or stamp < 0:
            raise ValueError(f'a message has the time {str(stamp)[:32]!r}')
        # Damaged pages that lead back to each other would be read for ever.
        if row < last:
            raise ValueError('its messages do not stand in their order')
        topic.add(stamp, 0, int(size or 0))
        last = row
