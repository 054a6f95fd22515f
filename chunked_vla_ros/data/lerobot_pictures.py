"""
Pictures of LeRobot datasets whose cameras have the type ``image``: PNG or JPEG in the tables.

A cell holds the bytes, or the path of a file below the dataset. Read a few rows at a time, never
an episode at once. Knows no layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import cause, DatasetError, need, RgbArray
from chunked_vla_ros.data.lerobot_info import LeRobotInfo
from chunked_vla_ros.data.picture import decode_picture

ROWS_AT_ONCE = 16
LARGEST_PICTURE = 256 << 20


def picture_frames(info: LeRobotInfo, file: Path, key: str, episode: int,
                   times_s: FloatArray) -> Iterator[tuple[float, RgbArray]]:
    """
    Yield one frame per row: (time in [s], (H, W, 3) RGB).

    :param times_s: The rows' times, (N,).
    :raises DatasetError: a picture is missing or broken, or the table has fewer than N.
    """
    done = 0
    for cell in _cells(file, key, episode):
        if done == len(times_s):
            break
        try:
            yield float(times_s[done]), decode_picture(_content(info, cell))
        except InputRejected as error:
            raise DatasetError(
                f'{file}: {key} of episode {episode}, row {done}: {error}, fetch it '
                'again') from error
        done += 1
    if done < len(times_s):
        raise DatasetError(
            f'{file}: has {done} pictures of {key}, expected {len(times_s)} as there are rows')


def _cells(file: Path, key: str, episode: int) -> Iterator[Any]:
    """Yield a camera's cells of one episode, in the order of the rows."""
    parquet, arrow = need('pyarrow.parquet'), need('pyarrow')
    try:
        with parquet.ParquetFile(file) as table:
            if key not in table.schema_arrow.names:
                raise DatasetError(f'{file}: has no column {key}, expected one as in info.json')
            groups = [number for number in range(table.metadata.num_row_groups)
                      if _may_hold(table.metadata.row_group(number), episode)]
            for batch in table.iter_batches(
                    ROWS_AT_ONCE, row_groups=groups, columns=[key, 'episode_index']):
                chosen = batch.column('episode_index').to_numpy(zero_copy_only=False) == episode
                cells = batch.column(key)
                for row in chosen.nonzero()[0].tolist():
                    yield cells[row].as_py()
    except (OSError, KeyError, UnicodeDecodeError, arrow.ArrowException) as error:
        raise DatasetError(
            f'{file}: cannot be read as parquet ({cause(error)}), fetch it again') from error


def _may_hold(group: Any, episode: int) -> bool:
    """Return whether a row group may hold rows of ``episode``, as far as its statistics say."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == 'episode_index' and column.is_stats_set:
            found = column.statistics
            return not found.has_min_max or bool(found.min <= episode <= found.max)
    return True


def _content(info: LeRobotInfo, cell: Any) -> bytes:
    """
    Return the bytes of one picture.

    :raises InputRejected: there are none.
    """
    content = cell.get('bytes') if isinstance(cell, dict) else cell
    if isinstance(content, bytes) and content:
        return content
    name = cell.get('path') if isinstance(cell, dict) else None
    if not isinstance(name, str) or not name or '\0' in name:
        raise InputRejected('neither bytes nor the path of a picture')
    path = Path(name)
    if path.is_absolute() or '..' in path.parts:
        raise InputRejected(f'path {name[:80]!r} leads out of the dataset')
    try:
        if (info.root / path).stat().st_size > LARGEST_PICTURE:
            raise InputRejected(f'{name[:80]} is larger than {LARGEST_PICTURE} bytes')
        return (info.root / path).read_bytes()
    except OSError as error:
        raise InputRejected(f'{name[:80]}: {cause(error)}') from error
