"""
Encode one episode into a folder of its own: rows, videos, statistics; later put into a dataset.

The folder appears whole or not at all, so that encoding goes on where a kill stopped it. Knows one
episode, not the dataset that it will be in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
from pathlib import Path
import shutil
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.dataset_columns import CAMERA, columns_of, features_of, IMAGE, VIDEO
from chunked_vla_ros.core.dataset_episode import DatasetEpisode
from chunked_vla_ros.core.dataset_statistics import column_statistics, FrameStatistics
from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.data.dataset import DatasetError, need
from chunked_vla_ros.data.dataset_schema import rows_schema, TABLE_OPTIONS
from chunked_vla_ros.data.durable_file import replace_file, sync_file, sync_folder
from chunked_vla_ros.data.episode_part import EpisodePart, table_batches, VideoPlace
from chunked_vla_ros.data.video_writer import video_facts, VideoEncoding, write_video

ROWS, ENTRY, UNFINISHED = 'rows.parquet', 'entry.json', '.new'
# Frames that wait in memory to be written to the table together.
IMAGES_AT_ONCE = 16
# Fast, and as lossless as the others: 9 saves a tenth in size and takes ten times as long.
PNG_LEVEL = 1

Tell = Callable[[int], None]


def dataset_features(episode: DatasetEpisode,
                     encoding: VideoEncoding | None) -> dict[str, dict[str, Any]]:
    """Return the features of a dataset of such episodes; without ``encoding`` as images."""
    features = features_of(episode, IMAGE if encoding is None else VIDEO)
    if encoding is not None:
        for camera, shape in episode.frame_shapes.items():
            features[f'{CAMERA}{camera}']['info'] = video_facts(
                shape, episode.fps, encoding.codec)
    return features


def stage_episode(folder: Path, episode: DatasetEpisode, encoding: VideoEncoding | None,
                  tell: Tell, bag_id: str = '') -> None:
    """
    Encode ``episode`` into ``folder``, which appears when all of it is on the disk.

    :param encoding: Of its cameras; ``None``: images inside the table, without loss.
    :param tell: Is told after every few frames how many more are done.
    :raises DatasetError: frames that do not fit what the episode says.
    :raises OSError: it cannot be written.
    """
    fresh = folder.with_name(folder.name + UNFINISHED)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _fill(fresh, episode, encoding, tell, bag_id)
        fresh.rename(folder)
    except BaseException:    # a full disk needs the room
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def staged_part(folder: Path) -> tuple[EpisodePart, dict[str, Any]]:
    """
    Return what was staged in ``folder``, and the features and rate of its dataset.

    :raises DatasetError: one line, the folder is not what this module made.
    """
    file = folder / ENTRY
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        tasks, length, fps = tuple(content['tasks']), content['length'], content['fps']
        features, entry = content['features'], content['entry']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'{file}: cannot be read ({error}), remove the folder') from error
    videos = {name: VideoPlace(folder / f'{name}.mp4', 0.0, length / fps)
              for name, feature in features.items() if feature['dtype'] == VIDEO}
    part = EpisodePart(entry['source'], length, tasks, {**entry, 'tasks': list(tasks)},
                       table_batches(folder / ROWS, IMAGES_AT_ONCE), videos)
    return part, {'features': features, 'fps': fps}


def _fill(fresh: Path, episode: DatasetEpisode, encoding: VideoEncoding | None, tell: Tell,
          bag_id: str) -> None:
    columns, tasks = columns_of(episode)
    entry = {f'stats/{name}/{key}': value for name, values in columns.items()
             for key, value in column_statistics(values).items()}
    if encoding is None:
        entry |= _write_with_images(fresh, episode, columns, tell)
    else:
        _write_rows(fresh, episode, columns)
        for camera in episode.frame_shapes:
            entry |= _write_camera(fresh, episode, camera, encoding, tell)
    entry |= {'source': episode.source, 'bag_id': bag_id, 'outcome': episode.outcome.value,
              'action_source': episode.action_source.name.lower(),
              'verdict': episode.facts.get('verdict', ''),
              'facts': json.dumps(dict(episode.facts), sort_keys=True)}
    replace_file(fresh / ENTRY, json.dumps({
        'length': len(episode.times_ns), 'fps': episode.fps, 'tasks': list(tasks),
        'features': dataset_features(episode, encoding), 'entry': entry}))
    sync_folder(fresh)


def _write_rows(folder: Path, episode: DatasetEpisode,
                columns: dict[str, NDArray[Any]]) -> None:
    parquet = need('pyarrow.parquet')
    table = need('pyarrow').table(
        _arrays(columns), schema=rows_schema(features_of(episode, VIDEO)))
    parquet.write_table(table, folder / ROWS, **TABLE_OPTIONS)
    sync_file(folder / ROWS)


def _arrays(columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Return each column as pyarrow takes it: rows of several numbers as lists of a fixed size."""
    arrow = need('pyarrow')
    found = {}
    for name, values in columns.items():
        if values.ndim == 1 or values.shape[1] == 1:
            found[name] = arrow.array(values.ravel())
        else:
            found[name] = arrow.FixedSizeListArray.from_arrays(
                arrow.array(values.ravel()), values.shape[1])
    return found


def _write_camera(folder: Path, episode: DatasetEpisode, camera: str, encoding: VideoEncoding,
                  tell: Tell) -> dict[str, Any]:
    """Encode one camera's video; return its statistics as columns of an entry."""
    count, statistics = len(episode.times_ns), FrameStatistics(len(episode.times_ns))

    def seen() -> Iterator[ImageArray]:
        for row, frame in enumerate(_frames(episode, camera)):
            statistics.see(frame)
            if row % IMAGES_AT_ONCE == IMAGES_AT_ONCE - 1:
                tell(IMAGES_AT_ONCE)
            yield frame
        tell(count % IMAGES_AT_ONCE)

    key = f'{CAMERA}{camera}'
    write_video(folder / f'{key}.mp4', seen(), episode.frame_shapes[camera], episode.fps, encoding)
    return {f'stats/{key}/{name}': value for name, value in statistics.result().items()}


def _frames(episode: DatasetEpisode, camera: str) -> Iterator[ImageArray]:
    """
    Yield a camera's frames, one for each row.

    :raises DatasetError: there are fewer or more, or one has another shape.
    """
    count, row = len(episode.times_ns), 0
    shape = episode.frame_shapes[camera]
    for frame in episode.open_frames(camera):
        if frame.shape != shape or frame.dtype != np.uint8:
            raise DatasetError(f'{episode.source}: frame {row} of {camera} is {frame.dtype} '
                               f'{frame.shape}, expected uint8 {shape}')
        row += 1
        if row > count:
            break
        yield frame
    if row != count:
        raise DatasetError(f'{episode.source}: camera {camera} has '
                           f'{"more" if row > count else row} frames, expected {count}')


def _write_with_images(folder: Path, episode: DatasetEpisode, columns: dict[str, NDArray[Any]],
                       tell: Tell) -> dict[str, Any]:
    """Write rows with their frames as PNG inside; return the frames' statistics."""
    arrow, parquet = need('pyarrow'), need('pyarrow.parquet')
    cameras = sorted(episode.frame_shapes)
    count = len(episode.times_ns)
    statistics = {camera: FrameStatistics(count) for camera in cameras}
    frames = {camera: _frames(episode, camera) for camera in cameras}
    schema = rows_schema(features_of(episode, IMAGE))
    with parquet.ParquetWriter(folder / ROWS, schema, **TABLE_OPTIONS) as writer:
        for start in range(0, count, IMAGES_AT_ONCE):
            rows = range(start, min(start + IMAGES_AT_ONCE, count))
            arrays = _arrays({name: values[start:rows.stop] for name, values in columns.items()})
            for camera in cameras:
                arrays[f'{CAMERA}{camera}'] = [
                    _png(next(frames[camera]), row, statistics[camera]) for row in rows]
            writer.write_table(arrow.table(arrays, schema=schema))
            tell(len(rows) * len(cameras))
    for camera in cameras:    # asks whether there are more
        next(frames[camera], None)
    sync_file(folder / ROWS)
    return {f'stats/{CAMERA}{camera}/{name}': value for camera in cameras
            for name, value in statistics[camera].result().items()}


def _png(frame: ImageArray, row: int, statistics: FrameStatistics) -> dict[str, Any]:
    statistics.see(frame)
    _, payload = cv2.imencode('.png', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
                              (cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL))
    return {'bytes': payload.tobytes(), 'path': f'frame-{row:06d}.png'}
