"""
``chunked-vla dataset delete``, ``split`` and ``merge``: change which episodes a dataset has.

Reads the command line and says how it ended; the work is that of `data.lerobot_edit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
import sys
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
import tyro.conf

from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.lerobot_edit import (
    delete_episodes,
    merge_datasets,
    split_episodes,
    Tell,
)
from chunked_vla_ros.data.lerobot_parts import DatasetParts

FAILED = 2
OUT = 'new folder for the result'
IN_PLACE = 'change the dataset itself, at one stroke, in place of --out'

DatasetPath = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class DatasetDeleteOptions:
    """Leave episodes out of a LeRobot v3 dataset; the others are numbered anew."""

    path: DatasetPath = field(metadata={'doc': 'the dataset'})
    episodes: tuple[str, ...] = field(metadata={
        'doc': 'to leave out: numbers, and ranges such as 3:7 for 3, 4, 5, 6'})
    out: Path | None = field(default=None, metadata={'doc': OUT})
    in_place: bool = field(default=False, metadata={'doc': IN_PLACE})


@dataclass(frozen=True)
class DatasetSplitOptions:
    """Make several datasets of one, each in a folder of its name inside the result."""

    path: DatasetPath = field(metadata={'doc': 'the dataset'})
    parts: tuple[str, ...] = field(metadata={
        'doc': 'NAME=EPISODES: train=0:40 val=40:45,48, or shares in order: train=0.9 val=0.1'})
    out: Path | None = field(default=None, metadata={'doc': OUT})
    in_place: bool = field(default=False, metadata={'doc': IN_PLACE})


@dataclass(frozen=True)
class DatasetMergeOptions:
    """Make one dataset of several that have the same columns and rate."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = field(metadata={
        'doc': 'the datasets, in the order that their episodes shall have'})
    out: Path | None = field(default=None, metadata={'doc': OUT})
    in_place: bool = field(default=False, metadata={
        'doc': 'add the others to the first, at one stroke, in place of --out'})


def run_dataset_delete(options: DatasetDeleteOptions) -> int:
    """Delete episodes; return the exit code."""
    def work(tell: Tell) -> str:
        count = DatasetParts(options.path).episodes
        gone = set(chosen(','.join(options.episodes), count))
        left = delete_episodes(options.path, gone, _target(options), tell)
        return f'{options.out or options.path}: {left} of {count} episodes'
    return _run(work)


def run_dataset_split(options: DatasetSplitOptions) -> int:
    """Split a dataset; return the exit code."""
    def work(tell: Tell) -> str:
        count = DatasetParts(options.path).episodes
        counts = split_episodes(
            options.path, parts_of(options.parts, count), _target(options), tell)
        shown = ', '.join(f'{name}: {number}' for name, number in counts.items())
        return f'{options.out or options.path}: {shown} episodes'
    return _run(work)


def run_dataset_merge(options: DatasetMergeOptions) -> int:
    """Merge datasets; return the exit code."""
    def work(tell: Tell) -> str:
        if len(options.paths) < 2:
            raise DatasetError(f'{len(options.paths)} dataset to merge, expected two or more')
        count = merge_datasets(options.paths, _target(options), tell)
        return f'{options.out or options.paths[0]}: {count} episodes'
    return _run(work)


def chosen(text: str, count: int) -> tuple[int, ...]:
    """
    Return the episodes that ``text`` names: ``1,4,10:13``; open ranges reach to the ends.

    :raises DatasetError: one line: it names none, or one that there is not.
    """
    found: list[int] = []
    for piece in text.split(','):
        first, colon, last = piece.strip().partition(':')
        try:
            low = int(first) if first else 0
            high = (int(last) if last else count) if colon else low + 1
            if not first and not colon:
                raise ValueError
        except ValueError:
            raise DatasetError(
                f'episodes {piece!r}, expected numbers and ranges such as 1,4,10:13') from None
        if not 0 <= low < high <= count:
            raise DatasetError(f'episodes {piece!r}, expected some of 0 to {count - 1}')
        found += range(low, high)
    return tuple(found)


def parts_of(texts: Sequence[str], count: int) -> dict[str, tuple[int, ...]]:
    """
    Return the episodes of each part, ``NAME=EPISODES`` or ``NAME=SHARE``.

    :raises DatasetError: one line: it cannot be understood, or shares are more than the whole.
    """
    parts: dict[str, tuple[int, ...]] = {}
    begin = share = 0.0
    for text in texts:
        name, equal, wanted = text.partition('=')
        if not name or not equal or name in parts:
            raise DatasetError(f'part {text!r}, expected NAME=EPISODES with a name of its own')
        if '.' in wanted:
            try:
                share = float(wanted)
            except ValueError:
                share = -1.0
            end = begin + share
            if not 0.0 < share <= 1.0 or end > 1.0 + 1e-9:
                raise DatasetError(f'part {text!r}, expected shares above 0, together 1 at most')
            parts[name] = tuple(range(round(begin * count), round(end * count)))
            begin = end
        else:
            parts[name] = chosen(wanted, count)
    return parts


def _target(options: DatasetDeleteOptions | DatasetSplitOptions | DatasetMergeOptions,
            ) -> Path | None:
    if (options.out is None) != options.in_place:
        raise DatasetError('say either --out FOLDER or --in-place')
    return options.out


def _run(work: Callable[[Tell], str]) -> int:
    """Do the work with a count of episodes on the terminal; return the exit code."""
    console = Console(stderr=True, highlight=False)
    try:
        with Progress('{task.description}', BarColumn(), MofNCompleteColumn(),
                      TimeRemainingColumn(), console=console, transient=True,
                      disable=not console.is_terminal) as bar:
            task = bar.add_task('episodes', total=None)
            print(work(lambda count: bar.advance(task, count)))
    except DatasetError as error:
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return FAILED
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        print(f'error: {where}{error.strerror or error}; nothing has changed', file=sys.stderr)
        return FAILED
    return 0
