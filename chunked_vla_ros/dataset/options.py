"""Options of ``chunked-vla dataset info`` and ``check``; knows no dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro.conf

DatasetPath = Annotated[Path, tyro.conf.Positional]
PATH = 'directory of a LeRobot v2.0, v2.1 or v3 or RLDS dataset, or of Franka recordings'
JSON = 'print the result as JSON'


@dataclass(frozen=True)
class DatasetInfoOptions:
    """Show what is in a dataset: episodes, rates, joints with their ranges, cameras, tasks."""

    path: DatasetPath = field(metadata={'doc': PATH})
    json: bool = field(default=False, metadata={'doc': JSON})


@dataclass(frozen=True)
class DatasetCheckOptions:
    """Judge each episode and the whole: is it fit to train on? Exit code 1 if it is bad."""

    path: DatasetPath = field(metadata={'doc': PATH})
    robot: str = field(default='', metadata={
        'doc': 'robot contract whose limits and tolerances count, a name or a file'})
    html: Path | None = field(default=None, metadata={
        'doc': 'write a page with plots and pictures to this file'})
    json: bool = field(default=False, metadata={'doc': JSON})
    strict: bool = field(default=False, metadata={'doc': 'exit code 1 if it is suspect, too'})
    frames: Literal['all', 'none'] = field(default='all', metadata={
        'doc': 'look at every frame of every camera, or at none'})
