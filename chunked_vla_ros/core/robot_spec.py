"""
What the rest of the package knows about one robot: the robot contract as frozen dataclasses.

``data.robot_contract`` reads it from YAML. Knows nothing about files or ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from chunked_vla_ros.core.types import DimKind, FloatArray, frozen_array


class TimeBase(Enum):
    """Which clock dates a stream's samples."""

    HEADER = 'header'      # header.stamp: acquisition time
    RECEIPT = 'receipt'    # when the message arrived; for drivers that do not stamp


class Resample(Enum):
    """How old a sample may be when it is used; never is it one from after the instant."""

    ASOF = 'asof'    # the newest, unless it is older than the stream's tolerance
    HOLD = 'hold'    # the newest, however old: for what is published only when it changes
    DROP = 'drop'    # in a dataset only one younger than a row lasts; live as ASOF


class JointUnit(Enum):
    """Unit of a joint's position; velocity, acceleration and jerk are per second of it."""

    RADIAN = 'rad'
    METRE = 'm'
    FRACTION = '1'         # of the full range, as some hands count: 0 to 1


class ImageTransport(Enum):
    """Which message a camera publishes."""

    RAW = 'raw'                  # sensor_msgs/Image
    COMPRESSED = 'compressed'    # sensor_msgs/CompressedImage, JPEG or PNG


class CommandKind(Enum):
    """What the robot's controller listens to."""

    POSITION_COMMAND = 'position_command'    # Float64MultiArray, forward_command_controller
    JOINT_TRAJECTORY = 'joint_trajectory'    # JointTrajectory, joint_trajectory_controller


@dataclass(frozen=True)
class JointSpec:
    """
    One joint: limits in SI units, each with its source named in the contract file.

    :ivar lower: Lowest commanded position in [rad].
    :ivar upper: Highest commanded position in [rad].
    :ivar velocity: Largest speed in [rad/s].
    :ivar acceleration: Largest acceleration in [rad/s^2].
    :ivar jerk: Largest jerk in [rad/s^3].
    :ivar home: Home position in [rad].
    :ivar unit: In place of [rad], for a joint that slides or counts in shares of its range.
    :ivar aliases: Names under which datasets know this joint.
    """

    name: str
    kind: DimKind
    lower: float
    upper: float
    velocity: float
    acceleration: float
    jerk: float
    home: float
    unit: JointUnit = JointUnit.RADIAN
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class GripperSpec:
    """A gripper that is one of the joints: positions that mean open and closed, in [rad]."""

    joint: str
    open: float
    closed: float


@dataclass(frozen=True)
class StreamSpec:
    """
    A topic from the robot: its rate, its clock and how old a sample may be when it is used.

    :ivar topic: Relative topic name.
    :ivar rate_hz: Expected rate in [Hz].
    :ivar tolerance_s: Largest age of a usable sample in [s].
    :ivar resample: What becomes of that age when observations are put together.
    """

    topic: str
    rate_hz: float
    time_base: TimeBase
    tolerance_s: float
    resample: Resample = Resample.ASOF


@dataclass(frozen=True)
class CameraSpec:
    """
    One camera: its stream, the image that it publishes, and the one that policies see.

    :ivar width: Columns of the published image.
    :ivar height: Rows of the published image.
    :ivar encoding: Of the published image, a name of sensor_msgs; for compressed ones 'rgb8'.
    :ivar transport: Which message carries it.
    :ivar resize: (width, height) that policies and datasets see, or ``None`` for the published.
    :ivar frozen_after_s: Images that stay equal in every byte this long in [s] are those of a
        camera that hangs; 0: not checked, as a simulator's images of a scene at rest are equal.
    """

    name: str
    stream: StreamSpec
    info_topic: str
    width: int
    height: int
    encoding: str
    transport: ImageTransport = ImageTransport.RAW
    resize: tuple[int, int] | None = None
    frozen_after_s: float = 0.0

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Return the shape of the RGB frames that policies see: (height, width, 3)."""
        width, height = self.resize or (self.width, self.height)
        return height, width, 3


@dataclass(frozen=True)
class CommandSpec:
    """Where commands go: the controller's kind and topic, and the rate it is served at."""

    kind: CommandKind
    topic: str
    rate_hz: float


@dataclass(frozen=True)
class JointLimits:
    """The joints' limits as arrays of shape (J,), the form in which motion code uses them."""

    lower: FloatArray
    upper: FloatArray
    velocity: FloatArray
    acceleration: FloatArray
    jerk: FloatArray

    def __post_init__(self) -> None:
        for name in ('lower', 'upper', 'velocity', 'acceleration', 'jerk'):
            value = frozen_array(getattr(self, name), (len(self.lower),), name)
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class RobotSpec:
    """A robot contract. Joint order here is the order of every (J,) array in the package."""

    name: str
    base_frame: str
    joints: tuple[JointSpec, ...]
    gripper: GripperSpec | None
    state: StreamSpec
    cameras: tuple[CameraSpec, ...]
    command: CommandSpec

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Return the J joint names in order."""
        return tuple(joint.name for joint in self.joints)

    @property
    def dim_kinds(self) -> tuple[DimKind, ...]:
        """Return how each of the J joints may be blended."""
        return tuple(joint.kind for joint in self.joints)

    @cached_property
    def home(self) -> FloatArray:
        """Return the home pose in [rad], shape (J,)."""
        return frozen_array([joint.home for joint in self.joints], (None,), 'home')

    @cached_property
    def limits(self) -> JointLimits:
        """Return the limits as arrays, shape (J,) each."""
        return JointLimits(**{
            name: np.array([getattr(joint, name) for joint in self.joints])
            for name in ('lower', 'upper', 'velocity', 'acceleration', 'jerk')})

    @cached_property
    def arm_columns(self) -> npt.NDArray[Any]:
        """Return which of the J joints are the arm's: all but the gripper."""
        gripper = None if self.gripper is None else self.gripper.joint
        return np.array([column for column, name in enumerate(self.joint_names)
                         if name != gripper], np.int64)

    def joint_called(self, name: str) -> str | None:
        """Return the joint that a dataset knows as ``name``, its own name or an alias."""
        for joint in self.joints:
            if name in (joint.name, *joint.aliases):
                return joint.name
        return None

    def camera(self, name: str) -> CameraSpec:
        """
        Return the camera called ``name``.

        :raises KeyError: naming the cameras that there are.
        """
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise KeyError(f'no camera {name!r}; {self.name} has {[c.name for c in self.cameras]}')
