"""
Read a bag of either storage for info and verify, with a progress bar where it takes a while.

Turns every way in which a bag cannot be read into one line and an exit code. Draws no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
import sys

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from chunked_vla_ros.bag.text import printable
from chunked_vla_ros.data.bag_directory import BagError, BagPlace, find_bag
from chunked_vla_ros.data.bag_scan import BagScan, FileScan, require_mcap, scan_mcap, Watcher
from chunked_vla_ros.data.episode_labels import (
    EpisodeLabelError,
    Label,
    LABELS_FILE,
    read_labels,
)
from chunked_vla_ros.data.sqlite_scan import scan_sqlite

UNREADABLE = 2
# Smaller bags are read before a bar could be seen.
WORTH_A_BAR = 64 << 20


def read_bag(place: BagPlace, watchers: Callable[[FileScan], Watcher] | None = None) -> BagScan:
    """
    Read every message of a bag.

    :param watchers: See `data.bag_scan`; only of MCAP files.
    :raises BagError: nothing in it can be read.
    :raises OSError: a file cannot be read.
    """
    with progress_bar(place.files, 'reading') as progress:
        if place.storage == 'sqlite3':
            return scan_sqlite(place.files, progress)
        bag = scan_mcap(place.files, watchers, progress)
    require_mcap(bag)
    return bag


def labels_of(place: BagPlace) -> tuple[list[Label], list[str]]:
    """Return what people said of an episode after the fact, and what is wrong with that."""
    if not place.is_directory or not (place.path / LABELS_FILE).is_file():
        return [], []
    try:
        return list(read_labels(place.path)), []
    except EpisodeLabelError as error:
        return [], [str(error)]


def answer(path: Path, work: Callable[[BagPlace], int]) -> int:
    """Return the exit code of ``work`` on the bag at ``path``; a mistake is one line and 2."""
    try:
        return work(find_bag(path))
    except BagError as error:
        text = str(error)
    except OSError as error:
        text = f'{error.filename or path}: {error.strerror or error}'
    print(f'error: {printable(text, 2000)}', file=sys.stderr)
    return UNREADABLE


@contextmanager
def progress_bar(files: tuple[Path, ...], what: str) -> Iterator[Callable[[int], None] | None]:
    """Give what is to be told of bytes read; ``None`` where no bar is worth it."""
    size = sum(path.stat().st_size for path in files)
    console = Console(stderr=True)
    if size < WORTH_A_BAR or not console.is_terminal:
        yield None
        return
    with Progress('{task.description}', BarColumn(), DownloadColumn(), TimeRemainingColumn(),
                  console=console, transient=True) as bar:
        task = bar.add_task(what, total=size)
        yield lambda count: bar.update(task, completed=count)
