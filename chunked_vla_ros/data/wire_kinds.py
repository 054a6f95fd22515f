"""
What the messages of a dataset say, as plain values: one class for each type that is read.

`data.wire_values` makes them of bytes. Knows no bytes, bags or robots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chunked_vla_ros.core.types import FloatArray


@dataclass(frozen=True, slots=True)
class JointStateValue:
    """A sensor_msgs/JointState; arrays are as long as the message has them, perhaps empty."""

    TYPE: ClassVar[str] = 'sensor_msgs/msg/JointState'
    stamp_ns: int
    names: tuple[str, ...]
    position: FloatArray
    velocity: FloatArray
    effort: FloatArray


@dataclass(frozen=True, slots=True)
class PointValue:
    """A trajectory_msgs/JointTrajectoryPoint; ``offset_ns`` is its time_from_start."""

    positions: FloatArray
    velocities: FloatArray
    accelerations: FloatArray
    offset_ns: int


@dataclass(frozen=True, slots=True)
class TrajectoryValue:
    """A trajectory_msgs/JointTrajectory."""

    TYPE: ClassVar[str] = 'trajectory_msgs/msg/JointTrajectory'
    stamp_ns: int
    joint_names: tuple[str, ...]
    points: tuple[PointValue, ...]


@dataclass(frozen=True, slots=True)
class FloatsValue:
    """A std_msgs/Float64MultiArray; its layout is not looked at."""

    TYPE: ClassVar[str] = 'std_msgs/msg/Float64MultiArray'
    data: FloatArray


@dataclass(frozen=True, slots=True)
class TextValue:
    """A std_msgs/String."""

    TYPE: ClassVar[str] = 'std_msgs/msg/String'
    data: str


@dataclass(frozen=True, slots=True)
class ImageValue:
    """A sensor_msgs/Image; ``data`` is a view of the message's own bytes."""

    TYPE: ClassVar[str] = 'sensor_msgs/msg/Image'
    stamp_ns: int
    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class CompressedImageValue:
    """A sensor_msgs/CompressedImage; ``data`` is a view of the message's own bytes."""

    TYPE: ClassVar[str] = 'sensor_msgs/msg/CompressedImage'
    stamp_ns: int
    format: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class ExecutorStateValue:
    """Our ExecutorState, as far as datasets want it; ``session_id`` is 32 hex digits."""

    TYPE: ClassVar[str] = 'chunked_vla_ros/msg/ExecutorState'
    stamp_ns: int
    mode: int
    control_source: int
    session_id: str
    chunk_id: int
    chunk_position: float
    joint_names: tuple[str, ...]
    command: PointValue
    limit_flags: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class EpisodeEventValue:
    """Our EpisodeEvent."""

    TYPE: ClassVar[str] = 'chunked_vla_ros/msg/EpisodeEvent'
    stamp_ns: int
    episode_id: str
    type: int
    value: float
    text: str
    source: str


@dataclass(frozen=True, slots=True)
class DiagnosticValue:
    """A diagnostic_msgs/DiagnosticStatus, such as `policy_info`."""

    TYPE: ClassVar[str] = 'diagnostic_msgs/msg/DiagnosticStatus'
    level: int
    name: str
    message: str
    hardware_id: str
    values: tuple[tuple[str, str], ...]
