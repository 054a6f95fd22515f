"""
Which bags are meant, and by what each is known again: content, not place.

Knows files, not what is recorded in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import hashlib
from pathlib import Path

from chunked_vla_ros.data.bag_directory import BagError, find_bag
from chunked_vla_ros.data.bag_folders import bags_below
from chunked_vla_ros.data.bag_metadata import METADATA_FILE
from chunked_vla_ros.data.episode_labels import LABELS_FILE

# Read at either end of a file: two recordings of one size differ in their first stamp at least.
PROBED_BYTES = 1 << 16


@dataclass(frozen=True)
class Bag:
    """
    A bag to convert.

    :ivar identity: Of what was recorded: the same wherever it lies and whatever was said of it.
    :ivar state: Of the recording and of what was said of it since.
    :ivar bytes: Size of its files.
    :ivar fault: Why it cannot even be found, '' where it can.
    """

    path: Path
    identity: str = ''
    state: str = ''
    bytes: int = 0
    fault: str = ''


def find_bags(paths: Iterable[Path]) -> tuple[Bag, ...]:
    """
    Return the bags at ``paths`` in the order given; of a folder of bags all, by name.

    What is hidden, as a recorder's trash is, is passed over. Each bag comes once.

    :raises BagError: one of ``paths`` holds none.
    """
    found: dict[Path, Bag] = {}
    for path in paths:
        places = list(bags_below(path)) if path.is_dir() else [path]
        if not places:
            raise BagError(f'{path}: no bag in it, expected .mcap or .db3 files')
        for place in places:
            found.setdefault(place.resolve(), _bag(place))
    return tuple(found.values())


def _bag(path: Path) -> Bag:
    """Return a bag with what it is known by; one that cannot be read says why."""
    try:
        place = find_bag(path)
        digest = hashlib.sha256()
        size = 0
        for file in place.files:
            count = file.stat().st_size
            size += count
            digest.update(f'{count};'.encode())
            with file.open('rb') as stream:
                digest.update(stream.read(PROBED_BYTES))
                stream.seek(max(0, count - PROBED_BYTES))
                digest.update(stream.read(PROBED_BYTES))
        identity = digest.hexdigest()
        if place.is_directory:
            for name in (METADATA_FILE, LABELS_FILE):
                file = path / name
                digest.update(file.read_bytes() if file.is_file() else b'-')
    except BagError as error:
        return Bag(path, fault=str(error))
    except OSError as error:
        return Bag(path, fault=f'{error.filename or path}: {error.strerror}')
    return Bag(path, identity, digest.hexdigest(), size)
