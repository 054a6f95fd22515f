"""
Decode a part of a video file frame by frame, with PyAV, never more than one frame in memory.

Knows files, not datasets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.data.dataset import cause, DatasetError, need, RgbArray

# Decoding so many frames on is cheaper than looking for a key frame anew.
SEEK_OVER_FRAMES = 8


def video_frames(file: Path, from_s: float, times_s: FloatArray,
                 fps: float) -> Iterator[tuple[float, RgbArray]]:
    """
    Yield one frame per row: (time in [s] after ``from_s``, (H, W, 3) RGB).

    :param times_s: The rows' times (N,); a frame within half a frame of its row takes its time.
    :raises DatasetError: the file is missing, broken, or has fewer frames than there are rows.
    """
    av = need('av')
    if not file.is_file():
        raise DatasetError(f'{file}: is missing, fetch it again')
    half_s, done = 0.5 / fps, 0
    try:
        with av.open(str(file), metadata_errors='replace') as container:
            if not container.streams.video:
                raise DatasetError(f'{file}: has no video stream, fetch it again')
            stream = container.streams.video[0]
            stream.thread_type = 'AUTO'
            if from_s > 0.0:
                container.seek(int(from_s / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                at_s = (frame.time or 0.0) - from_s
                if at_s < -half_s:
                    continue
                if done == len(times_s):
                    break
                row_s = float(times_s[done])
                yield (row_s if abs(at_s - row_s) <= half_s else at_s,
                       frame.to_ndarray(format='rgb24'))
                done += 1
    except (av.error.FFmpegError, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DatasetError(
            f'{file}: frame {done} cannot be decoded ({cause(error)}), fetch it again') from error
    if done < len(times_s):
        raise DatasetError(
            f'{file}: has {done} frames from {from_s:g} s on, expected {len(times_s)} as in the '
            'table, fetch it again')


def single_frames(file: Path, from_s: float, times_s: FloatArray,
                  fps: float) -> Iterator[tuple[float, RgbArray]]:
    """
    Yield the frame of each of some rows, as `video_frames` does, without those between.

    :param times_s: The rows' times after ``from_s``, ascending; a time may stand twice.
    :raises DatasetError: the file is missing or broken, or ends before a row.
    """
    av = need('av')
    if not file.is_file():
        raise DatasetError(f'{file}: is missing, fetch it again')
    half_s, wanted_s = 0.5 / fps, from_s
    try:
        with av.open(str(file), metadata_errors='replace') as container:
            if not container.streams.video:
                raise DatasetError(f'{file}: has no video stream, fetch it again')
            stream = container.streams.video[0]
            frame, coming = None, iter(())
            for row_s in times_s.tolist():
                wanted_s = from_s + row_s
                if frame is None or wanted_s - (frame.time or 0.0) > SEEK_OVER_FRAMES / fps:
                    container.seek(int(wanted_s / stream.time_base), stream=stream)
                    frame, coming = None, container.decode(stream)
                while frame is None or (frame.time or 0.0) < wanted_s - half_s:
                    frame = next(coming)
                at_s = (frame.time or 0.0) - from_s
                yield (row_s if abs(at_s - row_s) <= half_s else at_s,
                       frame.to_ndarray(format='rgb24'))
    except StopIteration:
        pass
    except (av.error.FFmpegError, OSError, UnicodeDecodeError, OverflowError) as error:
        raise DatasetError(
            f'{file}: the frame at {wanted_s:g} s cannot be decoded ({cause(error)}), fetch it '
            'again') from error
    else:
        return
    raise DatasetError(f'{file}: ends before {wanted_s:g} s, expected a frame there as in the '
                       'table, fetch it again')
