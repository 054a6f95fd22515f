"""
The vocabulary that every stage speaks; shapes are checked at construction, arrays are read-only.

Legend used in every docstring: H points of a chunk, J joints in the robot contract's order,
C cameras. Angles in [rad], lengths in [m], times in [s]; names that end in ``_ns`` are integer
nanoseconds on the node clock. Knows nothing about ROS, files or clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
import types

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]

NS_PER_S = 1_000_000_000


class ShapeError(ValueError):
    """An array does not have the shape its place asks for."""


def frozen_array(values: ArrayLike, shape: tuple[int | None, ...], name: str) -> FloatArray:
    """
    Return a read-only float64 copy of ``values``; ``None`` in ``shape`` admits any length.

    :raises ShapeError: naming the array, the expected and the found shape.
    """
    array = np.array(values, dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        raise ShapeError(f'{name} must have shape {shape}, got {array.shape}')
    array.setflags(write=False)
    return array


class DimKind(IntEnum):
    """How one dimension may be blended; the values are those of ActionChunk.msg."""

    CONTINUOUS = 0
    BINARY = 1
    WRAPPED = 2


@dataclass(frozen=True)
class JointSample:
    """
    Measured joints at one instant, in the contract's order.

    :ivar stamp_ns: Acquisition time in [ns].
    :ivar position: Shape (J,) in [rad].
    :ivar velocity: Shape (J,) in [rad/s].
    """

    stamp_ns: int
    position: FloatArray
    velocity: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, 'position', frozen_array(self.position, (None,), 'position'))
        object.__setattr__(
            self, 'velocity', frozen_array(self.velocity, self.position.shape, 'velocity'))


@dataclass(frozen=True)
class MotionState:
    """
    A point of a motion: what is commanded at one instant.

    :ivar position: Shape (J,) in [rad].
    :ivar velocity: Shape (J,) in [rad/s].
    :ivar acceleration: Shape (J,) in [rad/s^2].
    """

    position: FloatArray
    velocity: FloatArray
    acceleration: FloatArray

    @staticmethod
    def at_rest(position: FloatArray) -> MotionState:
        """Return the state that stands still at ``position``, shape (J,)."""
        return MotionState(position.copy(), np.zeros_like(position), np.zeros_like(position))


@dataclass(frozen=True)
class Pose:
    """A body in the robot's base frame: ``position`` (3,) in [m], ``quaternion`` (4,) w x y z."""

    position: FloatArray
    quaternion: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, 'position', frozen_array(self.position, (3,), 'position'))
        object.__setattr__(self, 'quaternion', frozen_array(self.quaternion, (4,), 'quaternion'))


@dataclass(frozen=True)
class CameraFrame:
    """One image: ``pixels`` (height, width, 3) uint8 in RGB, taken at ``stamp_ns``."""

    stamp_ns: int
    pixels: ImageArray

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ShapeError(
                f'pixels must be (height, width, 3) uint8, got {self.pixels.shape} '
                f'{self.pixels.dtype}')


@dataclass(frozen=True)
class Observation:
    """
    Everything a policy may look at, taken at one instant within the contract's tolerances.

    :ivar stamp_ns: Acquisition time of the newest joint sample in [ns]: "now" for the policy.
    :ivar joints: Newest joint sample.
    :ivar images: Newest frame of each camera the policy asked for, by camera name.
    :ivar instruction: What the operator wants, in words.
    :ivar scene: Poses of simulated bodies by name; empty on a real robot.
    :ivar committed: Targets that the arm will follow before an answer can come, shape (D, J):
        row k is due k steps of the policy after ``stamp_ns``. ``None``: none is known.
    """

    stamp_ns: int
    joints: JointSample
    images: Mapping[str, CameraFrame] = field(default_factory=lambda: types.MappingProxyType({}))
    instruction: str = ''
    scene: Mapping[str, Pose] = field(default_factory=lambda: types.MappingProxyType({}))
    committed: FloatArray | None = None


@dataclass(frozen=True)
class ActionChunk:
    """
    Joint position targets with due times, inferred from one observation.

    :ivar session_id: 32 hex digits; one run of one policy.
    :ivar chunk_id: Increases within a session.
    :ivar start_ns: Due time of a point with offset 0, in [ns].
    :ivar observation_ns: Acquisition time of the newest input used, in [ns].
    :ivar valid_for_ns: After ``start_ns + valid_for_ns`` the chunk is stale.
    :ivar joint_names: J names; any order, the executor permutes them.
    :ivar positions: Targets, shape (H, J) in [rad].
    :ivar offsets_ns: Due times after ``start_ns``, shape (H,) int64, strictly increasing.
    :ivar dim_kinds: How each joint may be blended, J entries, or empty for the contract's kinds.
    :ivar free_start: True if the first point may be far away in time and space: the way to it is
        planned within the limits. A policy's chunk begins where the arm is.
    """

    session_id: str
    chunk_id: int
    start_ns: int
    observation_ns: int
    valid_for_ns: int
    joint_names: tuple[str, ...]
    positions: FloatArray
    offsets_ns: NDArray[np.int64]
    dim_kinds: tuple[DimKind, ...] = ()
    policy_epoch: int = 0
    inference_latency_ns: int = 0
    frozen_prefix: int = 0
    free_start: bool = False
    task: str = ''
    policy_id: str = ''

    def __post_init__(self) -> None:
        object.__setattr__(
            self, 'positions',
            frozen_array(self.positions, (None, len(self.joint_names)), 'positions'))
        offsets = np.array(self.offsets_ns, dtype=np.int64)
        if offsets.shape != (self.horizon,):
            raise ShapeError(f'offsets_ns must have shape ({self.horizon},), got {offsets.shape}')
        if self.dim_kinds and len(self.dim_kinds) != len(self.joint_names):
            raise ShapeError(
                f'dim_kinds must have {len(self.joint_names)} entries, got {len(self.dim_kinds)}')
        offsets.setflags(write=False)
        object.__setattr__(self, 'offsets_ns', offsets)

    @property
    def horizon(self) -> int:
        """Return H, the number of points."""
        return int(self.positions.shape[0])
