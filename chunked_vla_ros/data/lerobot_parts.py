"""
Take a LeRobot v3 dataset apart into its episodes, ours or anybody's; frames stay encoded.

Of files that several episodes share each episode keeps its own piece. Reads, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
import json
import math
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.dataset_columns import VIDEO
from chunked_vla_ros.data.dataset import cause, DatasetError, need
from chunked_vla_ros.data.episode_part import (
    damage,
    EpisodePart,
    table_batches,
    unreadable,
    VideoPlace,
)
from chunked_vla_ros.data.lerobot_info import INFO_FILE, LeRobotInfo, parse_info
from chunked_vla_ros.data.lerobot_writer import ENTRIES_AT_ONCE, TASKS_FILE

EPISODES_FOLDER = 'meta/episodes'
IMAGES_AT_ONCE = 16
# Counted or laid out anew by the writer.
COUNTED = ('codebase_version', 'total_episodes', 'total_frames', 'total_tasks', 'splits',
           'data_path', 'video_path', 'chunks_size')


class DatasetParts:
    """
    A LeRobot v3 dataset as episodes that can be put into another one.

    :ivar facts: What info.json says and the writer does not count.
    :ivar schema: Of ``meta/episodes``.
    :ivar episodes: How many there are, numbered from 0.
    :raises DatasetError: one line, there is no such dataset.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        file = root / INFO_FILE
        try:
            text = file.read_text(encoding='utf-8')
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f'{file}: cannot be read ({cause(error)}), expected a LeRobot '
                               'dataset v3') from error
        self._info: LeRobotInfo = parse_info(text, root)
        if not self._info.version.startswith('v3'):
            raise DatasetError(f'{file}: codebase_version is {self._info.version}, expected v3.0: '
                               "convert it with LeRobot's convert_dataset_v21_to_v30")
        content = json.loads(text)
        self.facts: dict[str, Any] = {
            key: value for key, value in content.items() if key not in COUNTED}
        self.features: dict[str, Any] = self.facts['features']
        _check_features(file, self.features)
        parquet = need('pyarrow.parquet')
        self._files = sorted((root / EPISODES_FOLDER).glob('*/*.parquet'))
        if not self._files:
            raise DatasetError(f'{root / EPISODES_FOLDER}: has no parquet file')
        self.schema = self._read(self._files[0], parquet.read_schema)
        self.episodes = sum(self._read(each, parquet.read_metadata).num_rows
                            for each in self._files)
        self.tasks = self._read_tasks()

    def __iter__(self) -> Iterator[EpisodePart]:
        """
        Yield the episodes in order.

        :raises DatasetError: one line, an entry that cannot be.
        """
        expected = 0
        for file in self._files:
            for entry in _entries(file):
                if entry.get('episode_index') != expected:
                    raise DatasetError(f'{file}: episode {entry.get("episode_index")!r} stands '
                                       f'where {expected} is expected')
                yield self._part(file, entry)
                expected += 1

    def entries(self, column: str) -> set[Any]:
        """Return the values of a column of ``meta/episodes``; none where it has no such column."""
        return {entry.get(column) for file in self._files for entry in _entries(file)} - {None}

    def _part(self, file: Path, entry: dict[str, Any]) -> EpisodePart:
        index = entry['episode_index']
        try:
            table = self._info.file(self._info.data_path, **_numbers(entry, 'data'))
            videos = {}
            for name, feature in self.features.items():
                if feature['dtype'] != VIDEO:
                    continue
                at = f'videos/{name}'
                start, end = entry[f'{at}/from_timestamp'], entry[f'{at}/to_timestamp']
                if not (math.isfinite(start) and math.isfinite(end) and 0.0 <= start <= end):
                    raise ValueError(f'{name} from {start} to {end} s')
                video = self._info.file(
                    self._info.video_path, video_key=name, **_numbers(entry, at))
                videos[name] = VideoPlace(video, start, end)
            length = entry['length']
            if type(length) is not int or length < 1:
                raise ValueError(f'length {length!r}')
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f'{file}: episode {index}: {cause(error)}') from error
        for place in (table, *(place.file for place in videos.values())):
            if not place.is_file():
                raise DatasetError(f'{place}: is missing, fetch it again')
        return EpisodePart(f'{self.root.name} episode {index}', length, self.tasks, entry,
                           table_batches(table, IMAGES_AT_ONCE, index), videos)

    def _read_tasks(self) -> tuple[str, ...]:
        """Return the tasks by their number."""
        file = self.root / TASKS_FILE
        parquet = need('pyarrow.parquet')
        table = self._read(file, partial(parquet.read_table, page_checksum_verification=True))
        texts = [name for name in table.column_names if name != 'task_index']
        if 'task_index' not in table.column_names or len(texts) != 1:
            raise DatasetError(f'{file}: has columns {", ".join(table.column_names)}, expected '
                               'task_index and the task')
        found = dict(zip(table['task_index'].to_pylist(), table[texts[0]].to_pylist(),
                         strict=True))
        if sorted(found) != list(range(len(found))):
            raise DatasetError(f'{file}: task_index is not 0 to {len(found) - 1}')
        return tuple(str(found[index]) for index in range(len(found)))

    def _read(self, file: Path, read: Any) -> Any:
        try:
            return read(file)
        except damage() as error:
            raise unreadable(file, error) from error


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    """Yield what a table of ``meta/episodes`` says, episode by episode."""
    try:
        opened = need('pyarrow.parquet').ParquetFile(file, page_checksum_verification=True)
        for batch in opened.iter_batches(batch_size=ENTRIES_AT_ONCE):
            yield from batch.to_pylist()
    except damage() as error:
        raise unreadable(file, error) from error


def _check_features(file: Path, features: dict[str, Any]) -> None:
    for name, feature in features.items():
        shape, info = feature.get('shape'), feature.get('info')
        if not (isinstance(feature.get('dtype'), str) and isinstance(shape, list) and shape
                and all(type(size) is int and size > 0 for size in shape)
                and (info is None or isinstance(info, dict))):
            raise DatasetError(f'{file}: features.{name} is {str(feature)[:80]}, expected a dtype '
                               'and a shape of whole numbers above 0')


def _numbers(entry: dict[str, Any], what: str) -> dict[str, Any]:
    found = {key: entry[f'{what}/{key}'] for key in ('chunk_index', 'file_index')}
    if not all(type(number) is int and number >= 0 for number in found.values()):
        raise ValueError(f'{what} is in {found}')
    return found
