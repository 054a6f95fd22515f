"""What a conversion is asked to do, and how far it is; decides nothing and opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chunked_vla_ros.convert.bags import Bag
from chunked_vla_ros.convert.journal import BagResult
from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.data.video_writer import VideoEncoding

CONVERT, ASSEMBLE = 'convert', 'assemble'


class StoppedError(Exception):
    """The conversion was told to stop; what is done is kept."""


@dataclass(frozen=True)
class Conversion:
    """
    What shall be converted, and how.

    :ivar out: Folder of the dataset.
    :ivar robot: Name or file of the robot contract.
    :ivar encoding: Of videos; ``None``: images inside the tables.
    :ivar workers: Processes.
    :ivar append: ``out`` is a dataset that gets more episodes; else there must be nothing.
    :ivar skip_bad: Make the dataset without the bags that are refused; else make none.
    """

    bags: tuple[Bag, ...]
    out: Path
    robot: str
    rules: ConversionRules
    encoding: VideoEncoding | None
    workers: int
    append: bool = False
    skip_bad: bool = False
    software: str = ''


@dataclass
class Standing:
    """
    How far a conversion is.

    :ivar stage: `CONVERT`, then `ASSEMBLE`.
    :ivar share: Of the stage, 0 to 1.
    :ivar frames: That are done, of all bags and cameras.
    :ivar results: By number of the bag; one that is missing is not done.
    :ivar published: Whether the dataset is there.
    """

    stage: str = CONVERT
    share: float = 0.0
    frames: int = 0
    results: dict[int, BagResult] = field(default_factory=dict)
    published: bool = False

    @property
    def refused(self) -> int:
        """Return how many bags were refused."""
        return sum(bool(result.refused) for result in self.results.values())


Tell = Callable[[Standing], None]
Stop = Callable[[], bool]
