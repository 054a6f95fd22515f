"""
Where a bag's files lie: from a directory or a single file to the storage files in their order.

Opens nothing that is not a regular file, follows no path out of the bag. Knows what metadata.yaml
lists, not what the storage files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
import re
import stat
from typing import Any, cast

import yaml

from chunked_vla_ros.data.bag_metadata import LARGEST_TEXT, METADATA_FILE, ROOT

STORAGE_BY_SUFFIX = {'.mcap': 'mcap', '.db3': 'sqlite3'}
PARTIAL = '.partial'
# The C loader reads the same, twenty times as fast; not every PyYAML has it.
LOADER = cast('type[yaml.SafeLoader]', getattr(yaml, 'CSafeLoader', yaml.SafeLoader))


class BagError(ValueError):
    """A bag cannot be used at all; the message is one line with file and remedy."""


@dataclass(frozen=True)
class BagPlace:
    """
    A bag as it lies on the disk.

    :ivar path: What the user named.
    :ivar files: Storage files in their order.
    :ivar storage: 'mcap' or 'sqlite3'.
    :ivar information: What metadata.yaml says, ``None`` where there is none or it is broken.
    :ivar flaws: What is wrong with the directory, one line each.
    """

    path: Path
    files: tuple[Path, ...]
    storage: str
    information: Mapping[str, Any] | None
    flaws: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        """Return whether the user named the bag's directory and not one of its files."""
        return self.files != (self.path,)

    @property
    def is_partial(self) -> bool:
        """Return whether the recording was never finished."""
        return self.is_directory and self.path.resolve().name.endswith(PARTIAL)


def find_bag(path: Path) -> BagPlace:
    """
    Return the bag at ``path``.

    :raises BagError: there is none.
    :raises OSError: the directory cannot be read.
    """
    if '\0' in str(path):
        raise BagError(f'{str(path)!r}: no such bag')
    mode = _mode(path)
    if mode is None:
        raise BagError(f'{path}: no such file or directory')
    if stat.S_ISDIR(mode):
        return _in_directory(path)
    if not stat.S_ISREG(mode):
        raise BagError(f'{path}: is not a file, expected a bag directory, .mcap or .db3')
    if path.name == METADATA_FILE:
        return _in_directory(path.parent)
    return BagPlace(path, (path,), storage_of(path), None)


def storage_of(path: Path) -> str:
    """
    Return the storage of a file by the end of its name, or by how it begins.

    :raises BagError: it is neither MCAP nor sqlite3.
    """
    if path.suffix in STORAGE_BY_SUFFIX:
        return STORAGE_BY_SUFFIX[path.suffix]
    with path.open('rb') as stream:
        start = stream.read(16)
    if start[1:5] == b'MCAP':
        return 'mcap'
    if start.startswith(b'SQLite format 3'):
        return 'sqlite3'
    if path.suffix == '.zstd':
        raise BagError(f'{path}: is compressed as a whole, unpack it first: zstd -d {path.name}')
    raise BagError(f'{path}: is no bag, expected a bag directory, .mcap or .db3')


def mapping(content: Any) -> Mapping[str, Any]:
    """Return ``content`` if it is a mapping, else an empty one."""
    return content if isinstance(content, dict) else {}


def sequence(content: Any) -> list[Any]:
    """Return ``content`` if it is a list, else an empty one."""
    return content if isinstance(content, list) else []


def _in_directory(directory: Path) -> BagPlace:
    information, flaws = _read_information(directory)
    listed = [name for name in sequence((information or {}).get('relative_file_paths'))
              if isinstance(name, str)]
    present = {entry.name for entry in directory.iterdir()
               if entry.suffix in STORAGE_BY_SUFFIX or entry.name in map(_base, listed)}
    regular = {name for name in present if stat.S_ISREG(_mode(directory / name) or 0)}
    files = [name for name in dict.fromkeys(map(_base, listed)) if name in regular]
    missing = [name for name in map(_base, listed) if name not in regular]
    if missing:
        flaws.append(f'{directory / METADATA_FILE}: lists {_some(missing)}, which is not there')
    extra = sorted((name for name in regular if name not in files), key=natural_order)
    if extra and information is not None:
        flaws.append(f'{directory}: {_some(extra)} is not listed in {METADATA_FILE}')
    files += extra
    if not files:
        raise BagError(_without_bag(directory, information is not None))
    kinds = {storage_of(directory / name) for name in files}
    if len(kinds) > 1:
        raise BagError(f'{directory}: holds .mcap and .db3, name one of the files')
    return BagPlace(directory, tuple(directory / name for name in files), kinds.pop(),
                    information, tuple(flaws))


def _read_information(directory: Path) -> tuple[Mapping[str, Any] | None, list[str]]:
    """Return what metadata.yaml says, if it says anything, and what is wrong with it."""
    path = directory / METADATA_FILE
    mode = _mode(path)
    remedy = f'write it anew with: ros2 bag reindex {directory}'
    if mode is None:
        return None, [f'{path}: is missing, {remedy}']
    if not stat.S_ISREG(mode) or path.stat().st_size > LARGEST_TEXT:
        return None, [f'{path}: is no text file of at most {LARGEST_TEXT} bytes, {remedy}']
    try:
        content = yaml.load(path.read_text(encoding='utf-8'), Loader=LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = ' '.join(str(error).split())[:120]
        return None, [f'{path}: is not YAML ({line}), {remedy}']
    information = mapping(mapping(content).get(ROOT))
    if not information:
        return None, [f'{path}: has no {ROOT}, {remedy}']
    return information, []


def _without_bag(directory: Path, has_metadata: bool) -> str:
    if has_metadata:
        return f'{directory}: {METADATA_FILE} is there, but none of the files that it lists'
    below = sorted(entry.parent.name for suffix in STORAGE_BY_SUFFIX
                   for entry in directory.glob(f'*/*{suffix}'))
    if below:
        bags = sorted(set(below))
        return (f'{directory}: is not a bag but holds {len(bags)}, name one of them: '
                f'{directory / bags[0]}')
    return f'{directory}: no bag in it, expected .mcap or .db3 files'


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _base(name: str) -> str:
    """Return the last part of a path: older bags wrote their directory before it."""
    return PurePosixPath(name).name


def _some(names: list[str]) -> str:
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that puts bag_2 before bag_10."""
    return tuple((int(part), '') if part.isdigit() and part.isascii() else (-1, part)
                 for part in re.split(r'(\d+)', name))
