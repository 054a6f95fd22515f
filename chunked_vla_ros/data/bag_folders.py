"""
Which bags lie in a folder, however deep: by name, without opening any.

Knows how a bag's folder looks from outside, not what is in its files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import os
from pathlib import Path

from chunked_vla_ros.data.bag_directory import natural_order, STORAGE_BY_SUFFIX
from chunked_vla_ros.data.bag_metadata import METADATA_FILE


def bags_below(folder: Path) -> Iterator[Path]:
    """Yield the bags at and below a folder; what is hidden is passed over."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural_order(entry.name))
    except OSError:
        return
    if any(Path(entry.name).suffix in STORAGE_BY_SUFFIX or entry.name == METADATA_FILE
           for entry in entries if entry.is_file()):
        yield folder
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith('.'):
            yield from bags_below(Path(entry.path))


def list_bags(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the absolute paths of the bags at ``paths``, each once; of a file, its own."""
    found = (place for path in map(Path, paths)
             for place in (bags_below(path) if path.is_dir() else [path]))
    return tuple(dict.fromkeys(str(place.resolve()) for place in found))
