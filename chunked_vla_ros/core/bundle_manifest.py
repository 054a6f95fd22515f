"""
What a policy bundle says of itself, and whether it fits a robot.

``data.bundle_json`` reads it from ``manifest.json``; docs/policy_bundle.md describes every key.
Knows nothing about files, JSON, ONNX or ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chunked_vla_ros.core.executor_state import ExecutorConfig
from chunked_vla_ros.core.robot_spec import CameraSpec, RobotSpec
from chunked_vla_ros.core.types import DimKind

# Chunks that a graph may make at once, to answer with the best of them.
MOST_CANDIDATES = 256
MODEL_FILE = 'policy.onnx'
# What the executor takes unless it is told otherwise: a longer chunk would be refused every time.
LARGEST_HORIZON: int = ExecutorConfig.max_horizon
SHORTEST_STEP_S, LONGEST_STEP_S = 0.001, 1.0


class BundleError(ValueError):
    """A policy bundle cannot be used; the message is one line that names what and the remedy."""


@dataclass(frozen=True)
class BundleFile:
    """A file of the bundle: plain ``name``, hex ``sha256`` and ``size`` in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class BundleCamera:
    """A camera the policy sees: RGB images of (``height``, ``width``, 3) uint8."""

    name: str
    width: int
    height: int

    @staticmethod
    def of(camera: CameraSpec) -> BundleCamera:
        """Return what a policy sees of a robot's camera."""
        height, width, _ = camera.frame_shape
        return BundleCamera(camera.name, width, height)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Return the shape of its images: (height, width, 3)."""
        return self.height, self.width, 3


@dataclass(frozen=True)
class TokenizerSpec:
    """
    How the instruction becomes numbers.

    :ivar file: File of the bundle in the format of Hugging Face ``tokenizers``.
    :ivar max_length: Tokens that the model sees, L; what is longer is cut off.
    :ivar pad_id: Fills up what is shorter; masked out.
    """

    file: str
    max_length: int
    pad_id: int


@dataclass(frozen=True)
class Statistics:
    """Of the training data, J numbers each in the joints' units; normalisation is in the model."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]


@dataclass(frozen=True)
class BundleManifest:
    """
    A policy bundle's description. Actions are absolute joint targets.

    :ivar created: ISO 8601 time with zone.
    :ivar files: Every file but the manifest itself; `MODEL_FILE` is one of them.
    :ivar joint_names: J joints, the order of the model's state and actions.
    :ivar dim_kinds: How each of them may be blended.
    :ivar horizon: Points in a chunk, H.
    :ivar step_s: Spacing of the points in [s].
    :ivar replan_period_s: Time in [s] after which it is to be asked again; 0: it does not say.
    :ivar needs_instruction: Whether the policy must be told what to do.
    :ivar training: Where the policy comes from, in free words.
    """

    name: str
    created: str
    files: tuple[BundleFile, ...]
    joint_names: tuple[str, ...]
    dim_kinds: tuple[DimKind, ...]
    horizon: int
    step_s: float
    replan_period_s: float
    cameras: tuple[BundleCamera, ...]
    needs_instruction: bool
    tokenizer: TokenizerSpec | None
    state_statistics: Statistics
    action_statistics: Statistics
    training: Mapping[str, str]

    def check_robot(self, robot: RobotSpec) -> None:
        """
        Do nothing if the policy was made for ``robot``.

        :raises BundleError: one line that names the first difference.
        """
        self._check_joints(robot)
        self._check_cameras(robot)
        period_s = 1.0 / robot.command.rate_hz
        if self.step_s < period_s:
            raise self._unfit(robot, f'step_s is {self.step_s:g} s, shorter than the control '
                              f'period {period_s:g} s; export it with a longer step')

    def _check_joints(self, robot: RobotSpec) -> None:
        ours, theirs = self.joint_names, robot.joint_names
        remedy = 'train on data of this robot, or name the contract the policy was made for'
        for name in theirs:
            if name not in ours:
                raise self._unfit(robot, f'joint {name!r} is missing in the bundle; {remedy}')
        for name in ours:
            if name not in theirs:
                raise self._unfit(robot, f'joint {name!r} is not one of the robot; {remedy}')
        for index, (mine, wanted) in enumerate(zip(ours, theirs, strict=True)):
            if mine != wanted:
                raise self._unfit(robot, f'joint_names[{index}] is {mine!r}, the robot has '
                                  f'{wanted!r} there: another joint order; {remedy}')
        for name, kind, wanted_kind in zip(ours, self.dim_kinds, robot.dim_kinds, strict=True):
            if kind is not wanted_kind:
                raise self._unfit(robot, f'joint {name!r} is {kind.name.lower()}, the robot says '
                                  f'{wanted_kind.name.lower()}; {remedy}')

    def _check_cameras(self, robot: RobotSpec) -> None:
        known = {camera.name: camera for camera in robot.cameras}
        for camera in self.cameras:
            if camera.name not in known:
                raise self._unfit(
                    robot, f'it needs camera {camera.name!r}, the robot has '
                    f'{", ".join(known) or "none"}; add the camera to the contract')
            height, width, _ = known[camera.name].frame_shape
            if (camera.width, camera.height) != (width, height):
                raise self._unfit(
                    robot, f'camera {camera.name!r} is {camera.width}x{camera.height}, the robot '
                    f'shows {width}x{height}; set resize in the contract')

    def _unfit(self, robot: RobotSpec, difference: str) -> BundleError:
        return BundleError(f'bundle {self.name} does not fit robot {robot.name}: {difference}')
