"""Options of ``chunked-vla bag info``, ``verify`` and ``recover``; knows no bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro.conf

BagPath = Annotated[Path, tyro.conf.Positional]
PATH = 'bag directory, or one .mcap or .db3 file'
JSON = 'print the result as JSON'


@dataclass(frozen=True)
class BagInfoOptions:
    """Show what is in a bag: facts, topics, rates, gaps, losses and a time line."""

    path: BagPath = field(metadata={'doc': PATH})
    json: bool = field(default=False, metadata={'doc': JSON})


@dataclass(frozen=True)
class BagVerifyOptions:
    """Check every CRC, index, number and metadata.yaml; exit code 0 if the bag is whole."""

    path: BagPath = field(metadata={'doc': PATH})
    json: bool = field(default=False, metadata={'doc': JSON})


@dataclass(frozen=True)
class BagRecoverOptions:
    """Write everything that is whole in a damaged MCAP bag to a new bag."""

    path: BagPath = field(metadata={'doc': PATH})
    out: Path | None = field(default=None, metadata={
        'doc': 'directory of the new bag, default: PATH with _recovered after it'})
    json: bool = field(default=False, metadata={'doc': JSON})
