"""
Put the episodes that are done together to a dataset, and give it its place at one stroke.

Takes seconds: frames are encoded by then. Done anew from the start after a kill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
import shutil
from typing import Any

from chunked_vla_ros.convert.journal import Journal
from chunked_vla_ros.convert.plan import ASSEMBLE, Conversion, Standing, Stop, StoppedError, Tell
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.dataset_schema import entry_schema, united
from chunked_vla_ros.data.episode_part import EpisodePart
from chunked_vla_ros.data.episode_stage import staged_part
from chunked_vla_ros.data.folder_exchange import exchange, publish
from chunked_vla_ros.data.lerobot_edit import feature_difference
from chunked_vla_ros.data.lerobot_parts import DatasetParts
from chunked_vla_ros.data.lerobot_writer import DatasetBuilder

SCHEMA = 1
OURS = 'chunked_vla'


def assemble(conversion: Conversion, journal: Journal, base: DatasetParts | None,
             facts: Mapping[str, Any], standing: Standing, tell: Tell, stop: Stop) -> None:
    """
    Make the dataset out of what is done; nothing is made of nothing.

    :param base: The dataset that gets more episodes, if any.
    :param facts: What info.json shall say of the conversion.
    :raises DatasetError: one line: what is done cannot be put together.
    :raises OSError: it cannot be written; what is done is kept.
    :raises StoppedError: it was stopped; what is done is kept.
    """
    folders = _folders(conversion, journal, standing)
    if not folders:
        return
    standing.stage, standing.share = ASSEMBLE, 0.0
    first = staged_part(folders[0])[1]
    about = {**first, 'robot_type': facts['robot']} if base is None else base.facts
    schemas = [entry_schema(about['features'])]
    if base is not None:
        schemas.insert(0, base.schema)
    shutil.rmtree(journal.dataset, ignore_errors=True)
    builder = DatasetBuilder(journal.dataset, about, united(schemas), link=True)
    sources: dict[str, None] = {}
    total = len(folders) + (base.episodes if base else 0)
    for part in _parts(base, folders, about['features']):
        builder.add(part)
        source = part.entry.get('action_source')
        sources |= {source: None} if source else {}
        standing.share = builder.episodes / total
        tell(standing)
        if stop():
            raise StoppedError
    about_us = {'schema': SCHEMA, 'action_source': ', '.join(sources), **facts}
    builder.finish({OURS: about_us})
    if base is None:
        publish(journal.dataset, conversion.out)
    else:
        exchange(journal.dataset, conversion.out.resolve())
    standing.published = True


def _folders(conversion: Conversion, journal: Journal, standing: Standing) -> list[Path]:
    return [journal.place(bag) / str(index) for number, bag in enumerate(conversion.bags)
            for index in range(standing.results[number].episodes)]


def _parts(base: DatasetParts | None, folders: list[Path],
           features: Mapping[str, Any]) -> Iterator[EpisodePart]:
    yield from base or ()
    for folder in folders:
        part, about = staged_part(folder)
        difference = feature_difference(features, about['features'])
        if difference:    # who converted it was told so; what is kept may be of another time
            raise DatasetError(f'{part.source}: {difference}')
        yield part
