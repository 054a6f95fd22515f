"""Options of ``chunked-vla train``: where data and results are; all else is configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro.conf

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.graph.option_bounds import check_bounds


@dataclass(frozen=True)
class TrainOptions:
    """
    Train a policy on datasets by imitation, or by offline RL from a checkpoint of imitation.

    Whatever ends it, the last checkpoint is whole.
    """

    config: Annotated[str, tyro.conf.Positional] = parameter(
        'compact', 'configuration: a name such as compact, or a YAML file')
    data: tuple[Path, ...] = parameter((), 'datasets to learn from')
    start: Annotated[str, tyro.conf.arg(name='from')] = parameter(
        '', 'imitation checkpoint, or the folder of its training, that offline RL begins at')
    out: str = parameter('', 'folder of the training: checkpoints, curves, report')
    resume: bool = parameter(
        False, 'go on from the newest checkpoint in --out; where there is none, begin')
    set: tuple[str, ...] = parameter(
        (), 'KEY=VALUE ...: in place of what the configuration says, such as policy.width=96')
    bundle: str = parameter(
        '', 'at the end write the policy to this new folder, as `chunked-vla export` does')
    cache: str = parameter('', "folder of decoded frames; left out: the user's cache")
    no_cache: bool = parameter(
        False, 'keep no decoded frames: each is decoded again at every use, which is slow')
    workers: int = parameter(
        1, 'threads that read ahead; 0: read in the training itself', minimum=0, maximum=64)
    progress: str = parameter(
        'bar', 'how far it is: a bar in the terminal, JSON lines for a program, or nothing',
        choices=('bar', 'json', 'none'))

    def __post_init__(self) -> None:
        check_bounds(self)
