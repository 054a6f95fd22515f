"""
Delete, split and merge the episodes of LeRobot v3 datasets, into new folders or in their place.

What is there already changes at one stroke or not at all. Frames are never encoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
import shutil
from typing import Any

from chunked_vla_ros.core.dataset_columns import IMAGE, VIDEO
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.dataset_schema import entry_schema, united
from chunked_vla_ros.data.episode_part import EpisodePart
from chunked_vla_ros.data.folder_exchange import exchange, publish
from chunked_vla_ros.data.lerobot_parts import DatasetParts
from chunked_vla_ros.data.lerobot_writer import DatasetBuilder

UNFINISHED = '.edit'
# What makes two datasets one: the rest of a feature is description.
FEATURE_KEYS = ('dtype', 'shape', 'names')

Tell = Callable[[int], None]


def delete_episodes(root: Path, gone: Collection[int], out: Path | None, tell: Tell) -> int:
    """
    Write the dataset without some episodes to ``out``, or in its place; return how many are left.

    :raises DatasetError: one line: no such dataset or episode, or none would be left.
    :raises OSError: it cannot be written; nothing has changed.
    """
    dataset = DatasetParts(root)
    _require(dataset, gone)
    with _replacing(root, out) as fresh:
        kept = (part for index, part in enumerate(dataset) if index not in gone)
        return _build(fresh, [dataset], kept, tell, link=out is None)


def split_episodes(root: Path, parts: Mapping[str, Sequence[int]], out: Path | None,
                   tell: Tell) -> dict[str, int]:
    """
    Write a dataset for each of ``parts`` into a new folder ``out``, or in place of the dataset.

    :param parts: Name of a dataset to the episodes that it shall have.
    :return: How many episodes each has.
    :raises DatasetError: one line: no such dataset or episode, or a part without any.
    :raises OSError: it cannot be written; nothing has changed.
    """
    dataset = DatasetParts(root)
    for name, wanted in parts.items():
        _require(dataset, wanted)
        if Path(name).name != name or not wanted:
            raise DatasetError(f'part {name!r} has {len(wanted)} episodes, expected a plain name '
                               'and one or more')
    with _replacing(root, out) as fresh:
        counts = {}
        for name, wanted in parts.items():
            chosen = set(wanted)
            kept = (part for index, part in enumerate(dataset) if index in chosen)
            counts[name] = _build(fresh / name, [dataset], kept, tell, link=out is None)
        return counts


def merge_datasets(roots: Sequence[Path], out: Path | None, tell: Tell) -> int:
    """
    Write the episodes of several datasets to ``out``, or in place of the first; return how many.

    :raises DatasetError: one line: no such dataset, or two that do not fit together.
    :raises OSError: it cannot be written; nothing has changed.
    """
    datasets = [DatasetParts(root) for root in roots]
    for other in datasets[1:]:
        require_same(datasets[0], other.facts, str(other.root))
    with _replacing(roots[0], out) as fresh:
        return _build(fresh, datasets, chain.from_iterable(datasets), tell, link=out is None)


def require_same(dataset: DatasetParts, facts: Mapping[str, Any], source: str) -> None:
    """
    Check that episodes of ``source`` can be in ``dataset``.

    :raises DatasetError: one line that names the first difference.
    """
    for key in ('fps', 'robot_type'):
        if dataset.facts.get(key) != facts.get(key):
            raise DatasetError(f'{source}: {key} is {facts.get(key)!r}, expected '
                               f'{dataset.facts.get(key)!r} as {dataset.root} has')
    difference = feature_difference(dataset.features, facts['features'])
    if difference:
        raise DatasetError(f'{source}: {difference} as {dataset.root} has')


def feature_difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return what the first difference between two datasets' features is, '' for none."""
    for name in (*wanted, *found):
        if name not in found:
            return f'has no {name}, expected one'
        if name not in wanted:
            return f'has {name}, expected none'
        for key in FEATURE_KEYS:
            if key == 'names' and wanted[name].get('dtype') in (IMAGE, VIDEO):
                continue    # of height, width and channels
            if wanted[name].get(key) != found[name].get(key):
                return f'{name} has {key} {found[name].get(key)}, expected {wanted[name].get(key)}'
        codecs = [(feature[name].get('info') or {}).get('video.codec')
                  for feature in (found, wanted)]
        if codecs[0] != codecs[1]:
            return f'{name} is encoded as {codecs[0]}, expected {codecs[1]}'
    return ''


def _build(folder: Path, datasets: list[DatasetParts], parts: Iterable[EpisodePart], tell: Tell,
           *, link: bool) -> int:
    first = datasets[0]
    schema = united([*(dataset.schema for dataset in datasets), entry_schema(first.features)])
    builder = DatasetBuilder(folder, first.facts, schema, link=link)
    for part in parts:
        builder.add(part)
        tell(1)
    builder.finish()
    return builder.episodes


def _require(dataset: DatasetParts, wanted: Collection[int]) -> None:
    for index in wanted:
        if not 0 <= index < dataset.episodes:
            raise DatasetError(f'{dataset.root}: has no episode {index}, expected 0 to '
                               f'{dataset.episodes - 1}')


@contextmanager
def _replacing(root: Path, out: Path | None) -> Iterator[Path]:
    """Give a folder to write to; what is in it gets its place when the block ends well."""
    target = (out or root).resolve()
    if out is not None and (out.exists() or out.is_symlink()):
        raise DatasetError(f'{out}: exists already, name a new folder or use --in-place')
    fresh = target.with_name(target.name + UNFINISHED)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh / 'dataset'
        if out is None:
            exchange(fresh / 'dataset', target)
        else:
            publish(fresh / 'dataset', target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
