"""
What about a bag is not whole: damage, missing files, writers that never finished; one line each.

Of readings that others have made. A bag may be read beside its damage, but nobody can say what
was in it. Only looks for files beside sqlite3 ones; opens none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chunked_vla_ros.data.bag_directory import BagPlace
from chunked_vla_ros.data.bag_metadata import METADATA_FILE
from chunked_vla_ros.data.bag_scan import BagScan, FileScan
from chunked_vla_ros.data.sqlite_scan import integrity_of

# What SQLite leaves beside a file whose writer did not finish.
UNFINISHED = ('-wal', '-journal')


def flaws_of(place: BagPlace, bag: BagScan) -> tuple[str, ...]:
    """Return what is not whole, one line each with the file's name; nothing for a whole bag."""
    lines = list(_of_directory(place, bag))
    for scan in bag.files:
        lines += [f'{scan.path}: {line}' for line in _of_mcap(scan)]
    if place.storage == 'sqlite3':
        for path in place.files:
            lines += _of_sqlite(path)
    return tuple(lines)


def _of_directory(place: BagPlace, bag: BagScan) -> Iterator[str]:
    for flaw in place.flaws:
        # Anyone may have lost it; the files say all that counts.
        if not flaw.startswith(f'{place.path / METADATA_FILE}: is missing'):
            yield flaw
    said = (place.information or {}).get('message_count')
    if isinstance(said, int) and said != bag.messages:
        yield (f'{place.path / METADATA_FILE}: message_count is {said}, there are '
               f'{bag.messages}')


def _of_mcap(scan: FileScan) -> Iterator[str]:
    for damage in scan.damages:
        yield (f'{damage.what} at byte {damage.offset} of {scan.size} ({damage.length} bytes are '
               f'lost)')
    if scan.damage_count > len(scan.damages):
        yield f'and {scan.damage_count - len(scan.damages)} more such places'
    end, summary = scan.data_end, scan.summary
    if end is not None and end.stored_crc not in (0, end.found_crc):
        yield 'the CRC of the data section is wrong'
    if summary is None:
        yield 'it has no end (footer and summary)'
    elif summary.flaw:
        yield summary.flaw
    elif summary.statistics is not None and not scan.damage_count:
        found = scan.chunks, scan.messages
        said = summary.statistics.chunks, summary.statistics.messages
        for what, count, there in zip(('chunks', 'messages'), said, found, strict=True):
            if count != there:
                yield f'the summary counts {count} {what}, there are {there}'
    if scan.strays:
        yield f'{scan.strays} messages are of a channel that is not defined'
    if scan.timeless:
        yield f'{scan.timeless} messages have stamps that no clock can show'
    yield from scan.definitions.contradictions
    for topic in scan.definitions.fallbacks:
        yield f'what {topic} is stands only in a chunk whose CRC is wrong'


def _of_sqlite(path: Path) -> Iterator[str]:
    for line in integrity_of(path):
        yield f'{path}: {line}'
    for ending in UNFINISHED:
        beside = path.with_name(path.name + ending)
        if beside.exists() and beside.stat().st_size:
            yield (f'{path}: its writer did not finish, what is in {beside.name} is not read; '
                   f'take it in with: sqlite3 {path.name} "PRAGMA wal_checkpoint"')
