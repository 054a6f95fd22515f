"""
An episode that a dataset shall have: where its rows and videos lie now, and what is said of it.

The one thing that writing, appending, deleting, splitting and merging have in common. Opens files
only when rows are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chunked_vla_ros.data.dataset import cause, DatasetError, need

Batches = Callable[[], Iterator[Any]]


@dataclass(frozen=True)
class VideoPlace:
    """
    Where one camera's frames of an episode are.

    :ivar from_s: Time of the first one in the file, in [s].
    :ivar to_s: Where the last one ends, in [s].
    """

    file: Path
    from_s: float
    to_s: float


@dataclass(frozen=True)
class EpisodePart:
    """
    An episode on its way into a dataset.

    :ivar source: As errors name it.
    :ivar length: N rows.
    :ivar tasks: By the ``task_index`` of its rows.
    :ivar entry: Columns of ``meta/episodes``; those that number and place are replaced.
    :ivar batches: Opens its rows: record batches, in order.
    :ivar videos: By feature.
    """

    source: str
    length: int
    tasks: tuple[str, ...]
    entry: Mapping[str, Any]
    batches: Batches
    videos: Mapping[str, VideoPlace]


def table_batches(file: Path, rows: int, episode: int | None = None) -> Batches:
    """
    Return what opens the rows in a parquet file, those of one episode where it is named.

    :param rows: At most so many in a batch where there are images in it.
    """
    def batches() -> Iterator[Any]:
        arrow = need('pyarrow')
        try:
            datasets = need('pyarrow.dataset')
            checked = datasets.ParquetFragmentScanOptions(page_checksum_verification=True)
            source = datasets.dataset(
                file, format=datasets.ParquetFileFormat(default_fragment_scan_options=checked))
            heavy = any(arrow.types.is_struct(field.type) for field in source.schema)
            wanted = None
            if episode is not None:
                wanted = need('pyarrow.compute').field('episode_index') == episode
            scanner = source.scanner(
                filter=wanted, batch_size=rows if heavy else 1 << 17, use_threads=False,
                batch_readahead=1, fragment_readahead=0)
            yield from (batch for batch in scanner.to_batches() if batch.num_rows)
        except damage() as error:
            raise unreadable(file, error) from error
    return batches


def damage() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises where a table cannot be read or is not what it claims to be."""
    return (OSError, need('pyarrow').ArrowException, UnicodeDecodeError, OverflowError)


def unreadable(file: Path, error: Exception) -> DatasetError:
    """Return the error about a damaged table."""
    return DatasetError(
        f'{file}: cannot be read as parquet ({cause(error)}), fetch it again')
