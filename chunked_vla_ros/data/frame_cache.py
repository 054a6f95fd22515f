"""
Decoded frames of a dataset, once, in plain files that trainings map into memory.

A file has its name only when it is whole, and its folder's name is made of the names, sizes and
times of the dataset's files: another content is another folder. Processes that need the same file
wait for the one that writes it. The folder may be deleted at any time. Knows no format of data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
import fcntl
import hashlib
import os
from pathlib import Path
import shutil

import numpy as np

from chunked_vla_ros.core.disk_guard import size_text
from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.data.dataset import cause, DatasetError
from chunked_vla_ros.data.durable_file import sync_folder

# Another number where frames are made otherwise: what was cached before is made again.
LAYOUT = 1
UNFINISHED, LOCK = '.partial', '.lock'
RESERVE_BYTES = 256 << 20
LONGEST_NAME = 60


@dataclass(frozen=True)
class CacheFile:
    """
    A file of frames, one after another without a header.

    :ivar name: Of the file, '.rgb' excluded.
    :ivar shape: (rows, h, w, 3) uint8.
    :ivar frames: Called to decode them, one for each row.
    """

    name: str
    shape: tuple[int, int, int, int]
    frames: Callable[[], Iterable[ImageArray]]

    @property
    def size(self) -> int:
        """Return its bytes."""
        return int(np.prod(self.shape))


def default_cache() -> Path:
    """Return the user's folder of decoded frames."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'chunked_vla_ros' / 'frames'


def cache_folder(cache: Path, dataset: Path, parts: Sequence[str] = ('*',)) -> Path:
    """
    Return where the frames of the dataset as it is now belong.

    :param parts: Patterns of what in its folder is its own: a training may write beside it.
    :raises DatasetError: one of its files cannot be looked at.
    """
    files = [dataset] if dataset.is_file() else sorted({
        file for part in parts for path in dataset.glob(part) for file in _below(path)})
    try:
        stats = [(file.relative_to(dataset.parent), file.stat()) for file in files]
    except OSError as error:
        raise DatasetError(f'{error.filename}: cannot be read ({cause(error)})') from error
    text = '\n'.join([str(LAYOUT), *(
        f'{Path(*name.parts[1:])} {stat.st_size} {stat.st_mtime_ns}' for name, stat in stats)])
    key = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:20]
    return cache / f'{dataset.resolve().name[:LONGEST_NAME]}-{key}'


def _below(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, or the file itself; links are followed, each folder once."""
    if not path.is_dir():
        yield path
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        yield from (Path(folder, name) for name in names)


def fill(folder: Path, files: Sequence[CacheFile], more: int = 0,
         on_frame: Callable[[], None] | None = None) -> list[ImageArray]:
    """
    Return the files' frames, mapped into memory; write first what is not there.

    :param more: Bytes that will be needed beside these files, as far as space is looked at.
    :raises DatasetError: the disk is too small or fails, or the frames cannot be decoded; nothing
        that could be taken for a whole file stays.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if missing(folder, files):
            with _locked(folder):
                for leftover in folder.glob(f'*{UNFINISHED}'):    # of a process that was killed
                    leftover.unlink()
                lacking = missing(folder, files)
                if lacking:
                    _check_space(folder, sum(file.size for file in lacking) + more)
                for file in lacking:
                    _write(folder, file, on_frame or (lambda: None))
        return [_mapped(_path(folder, file), file.shape) for file in files]
    except OSError as error:
        raise DatasetError(
            f'{error.filename or folder}: decoded frames cannot be kept ({cause(error)}): free '
            'space, name another folder with --cache, or take --no-cache') from error


def missing(folder: Path, files: Sequence[CacheFile]) -> list[CacheFile]:
    """Return those of ``files`` that are not there, or not whole."""
    return [file for file in files if _size(_path(folder, file)) != file.size]


def _path(folder: Path, file: CacheFile) -> Path:
    return folder / f'{file.name}.rgb'


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _mapped(path: Path, shape: tuple[int, int, int, int]) -> ImageArray:
    if not shape[0]:
        return np.zeros(shape, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, 'r', shape=shape))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process writes here; a lock dies with its process."""
    with (folder / LOCK).open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE_BYTES:
        others = sum(max(0, _size(file)) for file in folder.parent.glob('*/*.rgb')
                     if file.parent != folder)
        removable = (f' ({folder.parent} has {size_text(others)} of other datasets, which may be '
                     'removed)' if others else '')
        raise DatasetError(
            f'{folder}: decoded frames need {size_text(needed)} and {size_text(RESERVE_BYTES)} '
            f'are kept free, {size_text(free)} are free: free space{removable}, name another '
            'folder with --cache, or take --no-cache')


def _write(folder: Path, file: CacheFile, on_frame: Callable[[], None]) -> None:
    """Write a file under another name, and give it its own when all is on the disk."""
    final = _path(folder, file)
    partial = final.with_name(final.name + UNFINISHED)
    try:
        with partial.open('wb') as out:
            rows = 0
            for frame in file.frames():
                assert frame.shape == file.shape[1:]
                out.write(np.ascontiguousarray(frame).data)
                rows += 1
                on_frame()
            assert rows == file.shape[0]
            out.flush()
            os.fsync(out.fileno())
        partial.replace(final)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(folder)
