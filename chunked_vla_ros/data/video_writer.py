"""
Write frames as a video in which every frame is found at once: MP4 by PyAV, one picture per row.

Every second picture stands alone by default, as LeRobot has it, so that a training step that asks
for one frame decodes two at most. Knows frames and files, not datasets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.types import ImageArray
from chunked_vla_ros.data.dataset import cause, DatasetError, need
from chunked_vla_ros.data.durable_file import sync_file
from chunked_vla_ros.data.kept_scheduling import kept_scheduling

PIXELS = 'yuv420p'
# MP4 counts in whole ticks: rates such as 29.97 Hz are ratios of numbers below this.
LARGEST_RATE_PART = 60_000


@dataclass(frozen=True)
class Codec:
    """
    An encoder, and what is asked of it where the user says nothing.

    :ivar encoder: FFmpeg's name of it.
    :ivar presets: From fast to slow.
    :ivar crf: Quality: smaller is better and larger in bytes; 0 to ``worst_crf``.
    :ivar smallest: Rows and columns that a frame must have.
    """

    encoder: str
    presets: tuple[str, ...]
    preset: str
    crf: int
    worst_crf: int
    smallest: int = 2


X26X_PRESETS = ('ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow')
# What each costs and how good it is: docs/dataset.md.
CODECS = {
    'h264': Codec('libx264', X26X_PRESETS, 'superfast', 20, 51),
    # x265 writes past the memory of smaller frames.
    'hevc': Codec('libx265', X26X_PRESETS, 'ultrafast', 24, 51, 64),
    'av1': Codec('libsvtav1', tuple(str(number) for number in range(13, -1, -1)), '12', 30, 63,
                 4),
}


@dataclass(frozen=True)
class VideoEncoding:
    """
    How frames become a video.

    :ivar codec: A key of `CODECS`.
    :ivar preset: One of the codec's presets, '' for its default.
    :ivar crf: Quality, ``None`` for the codec's default.
    :ivar keyframe_every: Frames from one picture that stands alone to the next.
    :ivar threads: Of the encoder; 0: as many as it likes. Results may differ between numbers.
    """

    codec: str = 'h264'
    preset: str = ''
    crf: int | None = None
    keyframe_every: int = 2
    threads: int = 1

    def __post_init__(self) -> None:
        codec = CODECS.get(self.codec)
        if codec is None:
            raise DatasetError(f'codec is {self.codec!r}, expected one of {", ".join(CODECS)}')
        if self.preset and self.preset not in codec.presets:
            raise DatasetError(f'preset is {self.preset!r}, expected one of '
                               f'{", ".join(codec.presets)} for {self.codec}')
        if self.crf is not None and not 0 <= self.crf <= codec.worst_crf:
            raise DatasetError(
                f'crf is {self.crf}, expected 0 to {codec.worst_crf} for {self.codec}')
        if not 1 <= self.keyframe_every <= 1000:
            raise DatasetError(f'keyframe_every is {self.keyframe_every}, expected 1 to 1000')

    @property
    def options(self) -> dict[str, str]:
        """Return what FFmpeg's encoder is told."""
        codec = CODECS[self.codec]
        crf = codec.crf if self.crf is None else self.crf
        options = {'preset': self.preset or codec.preset, 'crf': str(crf),
                   'g': str(self.keyframe_every)}
        if self.codec == 'hevc':
            options['x265-params'] = ':'.join((
                'log-level=none', f'keyint={self.keyframe_every}', 'min-keyint=1', 'bframes=0',
                f'pools={self.threads or "+"}', 'frame-threads=1'))
        elif self.codec == 'av1':
            options['svtav1-params'] = f'lp={self.threads}'
        else:
            options['bf'] = '0'
        return options


def video_rate(fps: float) -> Fraction:
    """Return the rate as a video says it, exact for whole numbers."""
    return Fraction(fps).limit_denominator(LARGEST_RATE_PART)


def video_facts(shape: tuple[int, int, int], fps: float, codec: str) -> dict[str, Any]:
    """Return what info.json of LeRobot says about a video of frames of ``shape``."""
    height, width, channels = shape
    return {'video.height': height, 'video.width': width, 'video.codec': codec,
            'video.pix_fmt': PIXELS, 'video.is_depth_map': False,
            'video.fps': int(fps) if fps == int(fps) else fps,
            'video.channels': channels, 'has_audio': False}


def write_video(path: Path, frames: Iterable[ImageArray], shape: tuple[int, int, int],
                fps: float, encoding: VideoEncoding) -> int:
    """
    Write ``frames`` to a new MP4 file; return how many there were. The file is on the disk then.

    :param frames: RGB, each (H, W, 3) as ``shape`` says; frame k is shown at k / ``fps`` [s].
    :raises DatasetError: a frame of another shape, a size that video cannot have, no encoder.
    :raises OSError: the file cannot be written; what there is of it is worthless.
    """
    av = need('av')
    height, width, _ = shape
    if height % 2 or width % 2:
        raise DatasetError(f'{path.name}: frames of {width}x{height}, expected even numbers for '
                           'video; resize in the robot contract, or use --images')
    smallest = CODECS[encoding.codec].smallest
    if min(height, width) < smallest:
        raise DatasetError(f'{path.name}: frames of {width}x{height}, {encoding.codec} needs '
                           f'{smallest} or more each way; use another --codec, or --images')
    count = 0
    try:
        with av.open(str(path), 'w', format='mp4') as container:
            stream = _stream(container, shape, fps, encoding)
            reformatter = av.video.reformatter.VideoReformatter()
            for pixels in frames:
                if pixels.shape != shape:
                    raise DatasetError(f'{path.name}: frame {count} is {pixels.shape}, '
                                       f'expected {shape} as the others')
                frame = reformatter.reformat(
                    av.VideoFrame.from_ndarray(pixels, format='rgb24'), format=PIXELS)
                frame.pts, frame.time_base = count, 1 / video_rate(fps)
                container.mux(stream.encode(frame))
                count += 1
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.errno and error.errno > 0:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise DatasetError(f'{path.name}: {encoding.codec} cannot encode frame {count} '
                           f'({cause(error)})') from error
    sync_file(path)
    return count


def _stream(container: Any, shape: tuple[int, int, int], fps: float,
            encoding: VideoEncoding) -> Any:
    av = need('av')
    encoder = CODECS[encoding.codec].encoder
    if encoder not in av.codecs_available:
        raise DatasetError(f'{encoding.codec}: PyAV has no encoder {encoder} here, use another '
                           f'--codec of {", ".join(CODECS)}')
    stream = container.add_stream(encoder, rate=video_rate(fps), options=encoding.options)
    stream.height, stream.width, _ = shape
    stream.pix_fmt = PIXELS
    stream.codec_context.gop_size = encoding.keyframe_every
    stream.codec_context.thread_count = encoding.threads
    if encoding.codec == 'hevc':
        stream.codec_context.codec_tag = 'hvc1'
    with kept_scheduling():
        stream.codec_context.open(strict=False)
    return stream
