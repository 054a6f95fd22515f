"""
Move a recorded demonstration onto a robot: columns, first pose, noise, speed.

A recording of the same robot, by the names of its joints, keeps its recorded poses; another's is
moved so that it begins at home.

Pure arithmetic on arrays; reading the recording is `data.demonstrations`. What was changed is part
of the answer, so that nobody takes the result for the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chunked_vla_ros.core.curves import CubicSpline
from chunked_vla_ros.core.robot_spec import JointSpec, JointUnit, RobotSpec
from chunked_vla_ros.core.types import FloatArray, frozen_array

# Share of the velocity, acceleration and jerk limits that a replay may use: the rest is for
# joining chunks and for the servo.
LIMIT_MARGIN = 0.8
# Gaussian: -3 dB at 6.6 Hz, below the 10 Hz that a 20 Hz chunk can carry; hands move below 3 Hz.
SMOOTHING_S = 0.02
GRID_S = 0.001
SLOWEST = 10.0
# A chunk's points fall between the samples at any phase; four of them show the extremes.
PHASES = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Demonstration:
    """
    A recorded or retargeted motion.

    :ivar times_s: Shape (N,) in [s], strictly increasing from 0.
    :ivar positions: Shape (N, J) in [rad].
    :ivar joint_names: J names.
    :ivar source: Where it was read from.
    """

    times_s: FloatArray
    positions: FloatArray
    joint_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, 'times_s', frozen_array(self.times_s, (None,), 'times_s'))
        shape = (len(self.times_s), len(self.joint_names))
        object.__setattr__(
            self, 'positions', frozen_array(self.positions, shape, 'positions'))
        if len(self.times_s) < 2:
            raise ValueError(f'a demonstration has {len(self.times_s)} rows, expected at least 2')
        if not (np.isfinite(self.times_s).all() and np.isfinite(self.positions).all()):
            raise ValueError('a demonstration has a value that is not finite')
        if self.times_s[0] != 0.0 or np.diff(self.times_s).min() <= 0.0:
            raise ValueError('the times of a demonstration do not increase strictly from 0')

    @property
    def duration_s(self) -> float:
        """Return its length in [s]."""
        return float(self.times_s[-1])

    def at(self, t_s: FloatArray) -> FloatArray:
        """Return positions at ``t_s`` (m,), linear between rows, held at the ends; (m, J)."""
        return np.stack(
            [np.interp(t_s, self.times_s, column) for column in self.positions.T], axis=1)


@dataclass(frozen=True)
class Retargeted:
    """
    A demonstration on the robot and what was done to it.

    :ivar motion: In the robot's joint order.
    :ivar recorded: The same without smoothing, on the same times: what to measure against.
    :ivar moved: Whether the poses were shifted to begin at home; if not, joints went by name and
        are where they were recorded.
    :ivar held: Joints that the recording lacks and that stay at home.
    :ivar time_scale: Robot time per recorded time, uniform; 1 = as recorded, 2 = half the speed.
    :ivar smoothing_s: Standard deviation of the Gaussian applied, 0 = none was needed.
    :ivar smoothing_deviation_rad: Largest change of a position by it, 0 if none was needed.
    :ivar smoothing_deviation_share: The same of the joints that count in shares of their range.
    """

    motion: Demonstration
    recorded: Demonstration
    time_scale: float
    smoothing_s: float
    smoothing_deviation_rad: float
    smoothing_deviation_share: float = 0.0
    moved: bool = True
    held: tuple[str, ...] = ()


def retarget(demonstration: Demonstration, robot: RobotSpec, *, step_s: float = 0.05,
             margin: float = LIMIT_MARGIN) -> Retargeted:
    """
    Return the demonstration as ``robot`` can follow it in chunks with points every ``step_s``.

    Where it has every arm joint by name or alias, columns go by name and stay as recorded. Else
    its first columns become the arm joints, moved so that the first row is the home pose. A
    gripper that was not recorded stays at home. The motion is smoothed only if its derivatives on
    the chunk grid exceed ``margin`` of the limits, and slowed uniformly only if they still do.

    :raises ValueError: too few columns, outside position limits, or too fast at any speed tried.
    """
    columns = _columns(demonstration, robot)
    recorded = (
        _moved_home(demonstration, robot) if columns is None
        else _by_name(demonstration, robot, columns))
    motion, smoothing_s = recorded, 0.0
    if demand(recorded, robot, 1.0, step_s, margin) > 1.0:
        motion, smoothing_s = _smoothed(recorded, columns is None), SMOOTHING_S
    scale = 1.0
    while (needed := demand(motion, robot, scale, step_s, margin)) > 1.0:
        # Noise does not become less by going slower, and needs a push to get on.
        scale *= max(needed, 1.005)
        if scale > SLOWEST:
            raise ValueError(
                f'{demonstration.source}: exceeds the limits of {robot.name} even '
                f'{SLOWEST:g} times slower')
    changes = np.abs(motion.positions - recorded.at(motion.times_s)).max(axis=0)
    share = np.array([joint.unit is JointUnit.FRACTION for joint in robot.joints])
    _check_positions(motion, robot)
    return Retargeted(
        _slowed(motion, scale), _slowed(recorded, scale), scale, smoothing_s,
        float(changes[~share].max(initial=0.0)), float(changes[share].max(initial=0.0)),
        moved=columns is None, held=_held(robot, columns))


def demand(motion: Demonstration, robot: RobotSpec, scale: float, step_s: float,
           margin: float) -> float:
    """
    Return by what factor ``motion``, slowed by ``scale``, must be slowed further; <= 1 fits.

    Derivatives are those of the cubic spline through points every ``step_s``, which is what the
    executor sees, as differences of a raw recording are mostly noise.
    """
    limits, worst = robot.limits, 0.0
    end_s = motion.duration_s * scale
    for phase in PHASES:
        t_s = np.arange(phase * step_s, end_s + step_s, step_s)
        if len(t_s) < 3:
            t_s = t_s[0] + step_s * np.arange(3)
        curve = CubicSpline(0, t_s - t_s[0], motion.at(t_s / scale))
        for values, limit, root in (
                (curve.velocities, limits.velocity, 1), (curve.accelerations,
                limits.acceleration, 2), (curve.jerks, limits.jerk, 3)):
            ratio = float((np.abs(values).max(axis=0) / (margin * limit)).max())
            worst = max(worst, ratio ** (1 / root))
    return worst


def _is_gripper(joint: JointSpec, robot: RobotSpec) -> bool:
    return robot.gripper is not None and joint.name == robot.gripper.joint


def _columns(demonstration: Demonstration, robot: RobotSpec) -> dict[int, int] | None:
    """Return the demonstration's column per joint, or ``None`` if it is of another robot."""
    place = {name: column for column, name in enumerate(demonstration.joint_names)}
    found: dict[int, int] = {}
    for index, joint in enumerate(robot.joints):
        known = [place[name] for name in (joint.name, *joint.aliases) if name in place]
        if known:
            found[index] = known[0]
        elif not _is_gripper(joint, robot):
            return None
    return found


def _held(robot: RobotSpec, columns: dict[int, int] | None) -> tuple[str, ...]:
    return tuple(
        joint.name for index, joint in enumerate(robot.joints)
        if _is_gripper(joint, robot) and (columns is None or index not in columns))


def _by_name(demonstration: Demonstration, robot: RobotSpec, columns: dict[int, int],
             ) -> Demonstration:
    positions = np.tile(robot.home, (len(demonstration.times_s), 1))
    for index, column in columns.items():
        positions[:, index] = demonstration.positions[:, column]
    return replace(demonstration, positions=positions, joint_names=robot.joint_names)


def _moved_home(demonstration: Demonstration, robot: RobotSpec) -> Demonstration:
    arm = [index for index, joint in enumerate(robot.joints) if not _is_gripper(joint, robot)]
    found = len(demonstration.joint_names)
    if found < len(arm):
        raise ValueError(
            f'{demonstration.source}: has {found} joints, {robot.name} needs {len(arm)}')
    positions = np.tile(robot.home, (len(demonstration.times_s), 1))
    rows = demonstration.positions[:, :len(arm)]
    positions[:, arm] += rows - rows[0]
    return replace(demonstration, positions=positions, joint_names=robot.joint_names)


def _smoothed(motion: Demonstration, keep_first: bool) -> Demonstration:
    """Return ``motion`` on a uniform grid, filtered by a Gaussian with its ends held."""
    t_s = np.append(np.arange(0.0, motion.duration_s, GRID_S), motion.duration_s)
    reach = round(4 * SMOOTHING_S / GRID_S)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * GRID_S / SMOOTHING_S) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(motion.at(t_s), ((reach, reach), (0, 0)), mode='edge')
    rows = np.stack([np.convolve(column, kernel, 'valid') for column in padded.T], axis=1)
    if keep_first:      # home is where the arm is; a recorded pose may be at a position limit
        rows += motion.positions[0] - rows[0]
    low, high = motion.positions.min(axis=0), motion.positions.max(axis=0)
    return replace(
        motion, times_s=t_s, positions=rows if keep_first else np.clip(rows, low, high))


def _slowed(motion: Demonstration, scale: float) -> Demonstration:
    return replace(motion, times_s=motion.times_s * scale)


def _check_positions(motion: Demonstration, robot: RobotSpec) -> None:
    low, high = motion.positions.min(axis=0), motion.positions.max(axis=0)
    for index, joint in enumerate(robot.joints):
        unit = 'of its range' if joint.unit is JointUnit.FRACTION else joint.unit.value
        if low[index] < joint.lower or high[index] > joint.upper:
            raise ValueError(
                f'{motion.source}: moves {joint.name} from {low[index]:.3f} to '
                f'{high[index]:.3f} {unit}, limits {joint.lower:g} to {joint.upper:g} {unit}')
