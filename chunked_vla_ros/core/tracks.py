"""
What was recorded, stream by stream: the samples of joints, cameras and commands that can be used.

Arrays only; images are named by where they are. Knows no files and no rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.dataset_episode import StampArray
from chunked_vla_ros.core.sync import FOREVER_NS
from chunked_vla_ros.core.types import FloatArray


@dataclass(frozen=True)
class JointTrack:
    """The state: ``positions`` (M, J) at ``stamps_ns`` (M,), which are strictly increasing."""

    stamps_ns: StampArray
    positions: FloatArray


@dataclass(frozen=True)
class FrameTrack:
    """
    A camera's frames at ``stamps_ns``, shape (M,), strictly increasing.

    :ivar places: Which messages of the topic they are, shape (M,).
    :ivar digests: Equal where images are equal in every byte; () where nobody asks.
    """

    stamps_ns: StampArray
    places: StampArray
    digests: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class CommandTrack:
    """
    Joint targets: at ``stamps_ns``, shape (M,), strictly increasing, one or several points each.

    :ivar positions: All points, shape (P, J).
    :ivar offsets_ns: When each is due after its command's stamp, shape (P,), not decreasing.
    :ivar starts: First point of each command, shape (M + 1,); none: nothing is commanded from
        there on.
    :ivar oldest_ns: How long a command is in force in [ns].
    """

    stamps_ns: StampArray
    positions: FloatArray
    offsets_ns: StampArray
    starts: StampArray
    oldest_ns: int = FOREVER_NS

    def target(self, command: int, now_ns: int) -> FloatArray:
        """Return the point that the arm is on its way to, shape (J,): the next one due."""
        first, last = int(self.starts[command]), int(self.starts[command + 1]) - 1
        after_ns = now_ns - int(self.stamps_ns[command])
        due = first + int(np.searchsorted(self.offsets_ns[first:last], after_ns, 'left'))
        target: FloatArray = self.positions[due]
        return target


@dataclass(frozen=True)
class Recording:
    """What was recorded of the streams that rows are made of; no ``command``: none was."""

    state: JointTrack
    frames: Mapping[str, FrameTrack]
    command: CommandTrack | None
