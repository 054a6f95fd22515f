"""Options of ``chunked-vla convert``: the rules of a conversion, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, fields
import os
from pathlib import Path
from typing import Annotated

import tyro.conf

from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.data.video_writer import CODECS, VideoEncoding

PRESETS = '; '.join(f'{name}: {codec.preset}' for name, codec in CODECS.items())
QUALITIES = '; '.join(f'{name}: {codec.crf}' for name, codec in CODECS.items())


@dataclass(frozen=True)
class ConvertOptions(ConversionRules):
    """Turn bags into a LeRobot dataset; what a kill leaves behind is gone on from."""

    bags: Annotated[tuple[Path, ...], tyro.conf.Positional] = parameter(
        (), 'bag directories, .mcap or .db3 files, or folders of bags')
    robot: str = parameter('', 'robot contract: a name such as ur5e_sim, or a file')
    out: str = parameter('', 'folder of the dataset, new unless --append')
    append: bool = parameter(False, 'add to the dataset in --out; bags that it has are left out')
    skip_bad: bool = parameter(
        False, 'make the dataset without the bags that are refused; else none is made')
    images: bool = parameter(
        False, 'PNG images inside the tables, without loss, in place of video')
    codec: str = parameter('h264', 'of the video', choices=tuple(CODECS))
    preset: str = parameter('', f'of the codec, faster or smaller; left out: {PRESETS}')
    crf: int | None = parameter(
        None, f'quality, 0 is best; left out: {QUALITIES}', minimum=0, maximum=63)
    keyframe_every: int = parameter(
        2, 'frames from one that stands alone to the next: how long a training step decodes',
        minimum=1, maximum=1000)
    workers: int = parameter(
        0, 'processes; 0: one for each core', minimum=0, maximum=256)
    progress: str = parameter(
        'bar', 'how far it is: a bar in the terminal, or JSON lines for a program',
        choices=('bar', 'json'))
    json: str = parameter('', 'write what became of each bag to this file')

    @property
    def rules(self) -> ConversionRules:
        """Return what decides which rows an episode has."""
        return ConversionRules(**{
            spec.name: getattr(self, spec.name) for spec in fields(ConversionRules)})

    def processes(self, bags: int) -> int:
        """Return how many workers there shall be for so many bags."""
        return max(1, min(self.workers or _cores(), bags))

    def encoding(self, bags: int) -> VideoEncoding | None:
        """
        Return how frames become a video, None for images.

        :raises DatasetError: one line: the codec has no such preset or quality.
        """
        if self.images:
            return None
        # One thread each where every core has a worker.
        threads = max(1, _cores() // self.processes(bags))
        return VideoEncoding(self.codec, self.preset, self.crf, self.keyframe_every, threads)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
