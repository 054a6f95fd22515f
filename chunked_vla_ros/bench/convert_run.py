"""
One run of the conversion benchmark: ours or the obvious way, in a process, with what it costs.

Memory is that of the process and all that it starts, together. Knows no table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import math
import os
from pathlib import Path
import shutil
import subprocess
import sys
import tempfile
import time

import av
import numpy as np
import pyarrow.parquet as pq

from chunked_vla_ros.bench.convert_bags import CAMERA, IMAGE_HZ, pictures, START_NS
from chunked_vla_ros.core.types import ImageArray, NS_PER_S

OURS, OURS_SLOW, PLAIN = 'ours', "ours, LeRobot's codec", 'the obvious way'
SIDES = (OURS, OURS_SLOW, PLAIN)
# LeRobot's own: libsvtav1 at g=2, crf=30, preset=12.
AV1 = ('libsvtav1', '12', '30')
PLAIN_PROGRAM = 'chunked_vla_ros.bench.convert_plain'
SAMPLE_S = 0.02
PSNR_EVERY = 10
PAGE = os.sysconf('SC_PAGE_SIZE')
TAIL_LINES = 3


class NoConversionError(RuntimeError):
    """A run could not be made; one line."""


@dataclass(frozen=True)
class ConvertRun:
    """
    What a conversion took.

    :ivar side: One of `SIDES`.
    :ivar frames: Images in the dataset.
    :ivar seconds: From the start of the process to its end.
    :ivar peak_bytes: The most memory of all its processes together, resident.
    :ivar bytes_per_frame: Of the videos.
    :ivar psnr_db: Of every tenth frame against the recorded one, mean; ``None``: not looked at.
    """

    side: str
    episodes: int
    frames: int
    seconds: float
    peak_bytes: int
    bytes_per_frame: float
    psnr_db: float | None

    @property
    def frames_per_s(self) -> float:
        """Return images per second."""
        return self.frames / self.seconds


def run_once(side: str, bags: Path, out: Path, *, psnr: bool) -> ConvertRun:
    """
    Convert the bags in a folder to ``out``, which is removed afterwards.

    :raises NoConversionError: it failed.
    """
    shutil.rmtree(out, ignore_errors=True)
    if side == PLAIN:
        arguments = [PLAIN_PROGRAM, str(bags), str(out), *AV1]
    else:
        arguments = ['chunked_vla_ros', 'convert', str(bags), '--out', str(out), '--robot',
                     str(bags.parent / 'robot.yaml'), *(
                         ('--codec', 'av1') if side == OURS_SLOW else ())]
    with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as log:
        began_s = time.perf_counter()
        process = subprocess.Popen([sys.executable, '-m', *arguments], stderr=log,
                                   stdout=subprocess.DEVNULL, env={**os.environ, 'SVT_LOG': '1'})
        try:
            peak = 0
            while process.poll() is None:
                peak = max(peak, sum(map(_resident, _family(process.pid))))
                time.sleep(SAMPLE_S)
            seconds = time.perf_counter() - began_s
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        said = log.read().strip().splitlines()
    if process.returncode:
        raise NoConversionError(f'{side}: ended with {process.returncode}: '
                                f'{" | ".join(said[-TAIL_LINES:])}')
    videos = sorted(out.rglob('*.mp4'))
    frames = sum(pq.read_metadata(file).num_rows for file in _tables(out))
    found = ConvertRun(
        side, len(videos), frames, seconds, peak,
        sum(video.stat().st_size for video in videos) / frames,
        mean_psnr(out, videos) if psnr else None)
    shutil.rmtree(out)
    return found


def mean_psnr(out: Path, videos: list[Path]) -> float:
    """
    Return how near the videos are to what was recorded, in [dB].

    Ours say by their stamps which image a row shows; the obvious way shows all from the first on.
    """
    found: list[float] = []
    for number, (video, table) in enumerate(zip(videos, _tables(out), strict=True)):
        rows = pq.read_table(table)
        column = f'source_stamp_ns.{CAMERA}'
        shown = list(range(rows.num_rows))
        if column in rows.column_names:
            shown = [round((stamp - START_NS) * IMAGE_HZ / NS_PER_S)
                     for stamp in rows[column].to_pylist()]
        found += _psnr(video, number, shown)
    return float(np.mean(found))


def _psnr(video: Path, seed: int, shown: list[int]) -> Iterator[float]:
    with av.open(str(video)) as container:
        width, height = container.streams.video[0].width, container.streams.video[0].height
        recorded = enumerate(pictures(seed, max(shown) + 1, width, height))
        at, picture = next(recorded)
        for row, frame in enumerate(container.decode(video=0)):
            while at < shown[row]:
                at, picture = next(recorded)
            if row % PSNR_EVERY == 0:
                yield _decibel(picture, frame.to_ndarray(format='rgb24'))


def _decibel(wanted: ImageArray, found: ImageArray) -> float:
    error = float(np.mean((wanted.astype(np.float64) - found) ** 2))
    return 10.0 * math.log10(255.0**2 / max(error, 1e-9))


def _tables(out: Path) -> list[Path]:
    folder = out / 'data' if (out / 'data').is_dir() else out
    return sorted(folder.rglob('*.parquet'))


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started."""
    yield pid
    try:
        tasks = list(Path(f'/proc/{pid}/task').iterdir())
        children = [int(child) for task in tasks
                    for child in (task / 'children').read_text().split()]
    except OSError:    # it has ended
        return
    for child in children:
        yield from _family(child)


def _resident(pid: int) -> int:
    try:
        return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * PAGE
    except OSError:
        return 0
