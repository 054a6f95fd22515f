"""
Put episodes together to a LeRobot dataset, layout v3: numbered, counted, summed up, on the disk.

One table and one video per episode and camera, a thousand files per folder. Memory does not grow
with the episodes. Knows neither where they come from nor when the dataset is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
import errno
import json
import os
from pathlib import Path
import shutil
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.dataset_columns import EPISODE_INDEX, INDEX, TASK_INDEX, VIDEO
from chunked_vla_ros.core.dataset_statistics import (
    column_statistics,
    RunningStatistics,
    STATISTICS,
)
from chunked_vla_ros.data.dataset import cause, DatasetError, need
from chunked_vla_ros.data.dataset_schema import rows_schema, TABLE_OPTIONS, tasks_table
from chunked_vla_ros.data.durable_file import replace_file, sync_file, sync_folder
from chunked_vla_ros.data.episode_part import EpisodePart, VideoPlace
from chunked_vla_ros.data.lerobot_info import INFO_FILE

VERSION = 'v3.0'
FILES_PER_FOLDER = 1000
DATA_PATH = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
VIDEO_PATH = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
EPISODES_PATH = 'meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
TASKS_FILE, STATS_FILE = 'meta/tasks.parquet', 'meta/stats.json'
# Rows of meta/episodes that wait in memory, and how many are in one file.
ENTRIES_AT_ONCE, ENTRIES_PER_FILE = 100, 1000
# No two names for one file here: copy it.
NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


class DatasetBuilder:
    """
    A dataset that is being put together in ``root``, a new folder.

    :param facts: What info.json says beyond what is counted here: ``fps``, ``features``,
        ``robot_type`` and more.
    :param entries: Schema of ``meta/episodes``.
    :param link: Videos get a second name, which costs nothing, where this is possible; else they
        are copied.
    :raises OSError: from every method, where something cannot be written.
    """

    def __init__(self, root: Path, facts: Mapping[str, Any], entries: Any, *, link: bool) -> None:
        self._root, self._facts, self._schema, self._link = root, dict(facts), entries, link
        self._features: dict[str, Any] = self._facts['features']
        self._rows_schema = rows_schema(self._features)
        self._tasks: dict[str, int] = {}
        self._statistics = {name: RunningStatistics() for name in self._features}
        self._entries: list[dict[str, Any]] = []
        self._entry_writer: Any = None
        self._videos = {name: _Numbered() for name, feature in self._features.items()
                        if feature['dtype'] == VIDEO}
        self.episodes, self.rows = 0, 0
        (root / 'meta').mkdir(parents=True)

    def add(self, part: EpisodePart) -> None:
        """
        Append an episode.

        :raises DatasetError: its rows are not those of this dataset.
        """
        own = self._write_rows(part)
        entry = dict(part.entry)
        for name, values in own.items():
            for key, value in column_statistics(values).items():
                entry[f'stats/{name}/{key}'] = value
        for name, running in self._statistics.items():
            found = {key: entry.get(f'stats/{name}/{key}') for key in STATISTICS}
            if any(found[key] is None for key in ('min', 'max', 'mean', 'std', 'count')):
                raise DatasetError(
                    f'{part.source}: meta/episodes has no statistics of {name}: have LeRobot '
                    'compute them again')
            try:
                running.add(found)
            except (TypeError, ValueError, IndexError, ZeroDivisionError) as error:
                raise DatasetError(f'{part.source}: its statistics of {name} are not those of '
                                   f'the dataset ({cause(error)})') from error
        for name, place in part.videos.items():
            entry |= self._place_video(name, place)
        chunk, file = _place(self.episodes)
        at = _place(self.episodes // ENTRIES_PER_FILE)
        entry |= {
            'episode_index': self.episodes, 'length': part.length,
            'data/chunk_index': chunk, 'data/file_index': file,
            'dataset_from_index': self.rows, 'dataset_to_index': self.rows + part.length,
            'meta/episodes/chunk_index': at[0], 'meta/episodes/file_index': at[1]}
        self._entries.append(entry)
        self.episodes += 1
        self.rows += part.length
        full = self.episodes % ENTRIES_PER_FILE == 0
        if full or len(self._entries) == ENTRIES_AT_ONCE:
            self._write_entries(last=full)

    def finish(self, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        """
        Write what sums the episodes up; everything is on the disk then.

        :param more: What info.json says besides.
        :raises DatasetError: there are no episodes.
        """
        if not self.episodes:
            raise DatasetError('a dataset needs one episode or more, none is left')
        self._write_entries(last=True)
        file = self._root / TASKS_FILE
        need('pyarrow.parquet').write_table(
            tasks_table(list(self._tasks)), file, **TABLE_OPTIONS)
        sync_file(file)
        statistics = {name: each.result() for name, each in self._statistics.items()}
        replace_file(self._root / STATS_FILE, json.dumps(statistics, indent=4) + '\n')
        fps = self._facts['fps']
        # The settings of LeRobot's own writer, which goes on in a file of its own.
        info = {
            'codebase_version': VERSION, 'robot_type': None,
            'total_episodes': self.episodes, 'total_frames': self.rows,
            'total_tasks': len(self._tasks), 'chunks_size': FILES_PER_FOLDER,
            'data_files_size_in_mb': 100, 'video_files_size_in_mb': 200,
            **self._facts, **more, 'fps': int(fps) if fps == int(fps) else fps,
            'splits': {'train': f'0:{self.episodes}'}, 'data_path': DATA_PATH,
            'video_path': VIDEO_PATH if self._videos else None}
        replace_file(self._root / INFO_FILE, json.dumps(info, indent=4) + '\n')
        for folder, _, _ in os.walk(self._root):
            sync_folder(Path(folder))

    def _write_rows(self, part: EpisodePart) -> dict[str, NDArray[np.int64]]:
        """Write an episode's table; return the columns that number its rows."""
        arrow, parquet = need('pyarrow'), need('pyarrow.parquet')
        chunk, number = _place(self.episodes)
        file = self._root / DATA_PATH.format(chunk_index=chunk, file_index=number)
        file.parent.mkdir(parents=True, exist_ok=True)
        done, tasks = 0, []
        try:
            with parquet.ParquetWriter(file, self._rows_schema, **TABLE_OPTIONS) as writer:
                for batch in part.batches():
                    table = arrow.table(batch)
                    tasks.append(self._task_numbers(part, table[TASK_INDEX].to_numpy()))
                    new = {EPISODE_INDEX: np.full(table.num_rows, self.episodes),
                           INDEX: np.arange(table.num_rows) + self.rows + done,
                           TASK_INDEX: tasks[-1]}
                    for name, values in new.items():
                        place = table.schema.get_field_index(name)
                        table = table.set_column(place, name, arrow.array(values))
                    writer.write_table(
                        table.select(self._rows_schema.names).cast(self._rows_schema))
                    done += table.num_rows
        except DatasetError:
            raise
        except (arrow.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DatasetError(f'{part.source}: its rows are not those of the dataset '
                               f'({cause(error)})') from error
        if done != part.length:
            raise DatasetError(f'{part.source}: has {done} rows, expected {part.length}')
        sync_file(file)
        return {EPISODE_INDEX: np.full(done, self.episodes),
                INDEX: np.arange(done) + self.rows, TASK_INDEX: np.concatenate(tasks)}

    def _task_numbers(self, part: EpisodePart, local: NDArray[Any]) -> NDArray[np.int64]:
        """Return the dataset's numbers of the tasks that the rows name by the part's own."""
        used = sorted(set(local.tolist()))
        if used and not 0 <= used[0] <= used[-1] < len(part.tasks):
            raise DatasetError(f'{part.source}: task_index {used[0]} to {used[-1]}, expected 0 to '
                               f'{len(part.tasks) - 1} as in {TASKS_FILE}')
        number = {index: self._tasks.setdefault(part.tasks[index], len(self._tasks))
                  for index in used}
        return np.array([number[index] for index in local.tolist()], np.int64)

    def _place_video(self, name: str, place: VideoPlace) -> dict[str, Any]:
        """Bring an episode's video; return where it is, as ``meta/episodes`` says it."""
        numbered = self._videos[name]
        # Several episodes of one file stay so: it is brought once.
        if numbered.file != place.file:
            numbered.file, numbered.count = place.file, numbered.count + 1
            chunk, file = _place(numbered.count - 1)
            target = self._root / VIDEO_PATH.format(
                video_key=name, chunk_index=chunk, file_index=file)
            target.parent.mkdir(parents=True, exist_ok=True)
            bring(place.file, target, link=self._link)
        chunk, file = _place(numbered.count - 1)
        return {f'videos/{name}/chunk_index': chunk, f'videos/{name}/file_index': file,
                f'videos/{name}/from_timestamp': place.from_s,
                f'videos/{name}/to_timestamp': place.to_s}

    def _write_entries(self, *, last: bool) -> None:
        arrow, parquet = need('pyarrow'), need('pyarrow.parquet')
        if self._entries:
            at = self._entries[0]
            file = self._root / EPISODES_PATH.format(
                chunk_index=at['meta/episodes/chunk_index'],
                file_index=at['meta/episodes/file_index'])
            if self._entry_writer is None:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._entry_writer = parquet.ParquetWriter(
                    file, self._schema, store_schema=False, **TABLE_OPTIONS)
            try:
                table = arrow.Table.from_pylist(self._entries, schema=self._schema)
            except (arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DatasetError(f'{self._entries[0].get("source") or file}: meta/episodes '
                                   f'cannot hold its entry ({cause(error)})') from error
            self._entry_writer.write_table(table)
            self._entries.clear()
        if last and self._entry_writer is not None:
            self._entry_writer.close()
            sync_file(Path(self._entry_writer.where))
            self._entry_writer = None


class _Numbered:
    """How many videos of one camera there are, and which was the last to come."""

    def __init__(self) -> None:
        self.count, self.file = 0, Path()


def bring(source: Path, target: Path, *, link: bool) -> None:
    """
    Give a file a second name, or copy it; it is on the disk then.

    :raises OSError: neither can be done.
    """
    if link:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        else:
            return
    try:
        shutil.copyfile(source, target)
        sync_file(target)
    except OSError as error:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(error.filename or target)) from error


def _place(number: int) -> tuple[int, int]:
    """Return the folder and the place in it of a file."""
    return number // FILES_PER_FOLDER, number % FILES_PER_FOLDER
