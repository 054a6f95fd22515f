"""
Move a recorded demonstration onto another robot: columns, first pose, noise, speed.

Pure arithmetic on arrays; reading the recording is `data.demonstrations`. What was changed is part
of the answer, so that nobody takes the result for the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chunked_vla_ros.core.curves import CubicSpline
from chunked_vla_ros.core.robot_spec import RobotSpec
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

    :ivar motion: In the robot's joint order, first row at the home pose.
    :ivar recorded: The same without smoothing, on the same times: what to measure against.
    :ivar time_scale: Robot time per recorded time, uniform; 1 = as recorded, 2 = half the speed.
    :ivar smoothing_s: Standard deviation of the Gaussian applied, 0 = none was needed.
    :ivar smoothing_deviation_rad: Largest change of a position by it, 0 if none was needed.
    """

    motion: Demonstration
    recorded: Demonstration
    time_scale: float
    smoothing_s: float
    smoothing_deviation_rad: float


def retarget(demonstration: Demonstration, robot: RobotSpec, *, step_s: float = 0.05,
             margin: float = LIMIT_MARGIN) -> Retargeted:
    """
    Return the demonstration as ``robot`` can follow it in chunks with points every ``step_s``.

    Its first columns become the robot's arm joints, moved so that the first row is the home pose;
    the gripper stays at home. It is smoothed only if its derivatives on the chunk grid exceed
    ``margin`` of the limits, and slowed uniformly only if they still do after that.

    :raises ValueError: too few columns, outside position limits, or too fast at any speed tried.
    """
    recorded = _on_robot(demonstration, robot)
    motion, smoothing_s = recorded, 0.0
    if demand(recorded, robot, 1.0, step_s, margin) > 1.0:
        motion, smoothing_s = _smoothed(recorded, robot), SMOOTHING_S
    scale = 1.0
    while (needed := demand(motion, robot, scale, step_s, margin)) > 1.0:
        # Noise does not become less by going slower, and needs a push to get on.
        scale *= max(needed, 1.005)
        if scale > SLOWEST:
            raise ValueError(
                f'{demonstration.source}: exceeds the limits of {robot.name} even '
                f'{SLOWEST:g} times slower')
    deviation = np.abs(motion.positions - recorded.at(motion.times_s)).max()
    _check_positions(motion, robot)
    return Retargeted(
        _slowed(motion, scale), _slowed(recorded, scale), scale, smoothing_s, float(deviation))


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


def _on_robot(demonstration: Demonstration, robot: RobotSpec) -> Demonstration:
    arm = [index for index, joint in enumerate(robot.joints)
           if robot.gripper is None or joint.name != robot.gripper.joint]
    found = len(demonstration.joint_names)
    if found < len(arm):
        raise ValueError(
            f'{demonstration.source}: has {found} joints, {robot.name} needs {len(arm)}')
    positions = np.tile(robot.home, (len(demonstration.times_s), 1))
    rows = demonstration.positions[:, :len(arm)]
    positions[:, arm] += rows - rows[0]
    return replace(demonstration, positions=positions, joint_names=robot.joint_names)


def _smoothed(motion: Demonstration, robot: RobotSpec) -> Demonstration:
    """Return ``motion`` on a uniform grid, filtered by a Gaussian with its ends held."""
    t_s = np.append(np.arange(0.0, motion.duration_s, GRID_S), motion.duration_s)
    reach = round(4 * SMOOTHING_S / GRID_S)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * GRID_S / SMOOTHING_S) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(motion.at(t_s), ((reach, reach), (0, 0)), mode='edge')
    rows = np.stack([np.convolve(column, kernel, 'valid') for column in padded.T], axis=1)
    return replace(motion, times_s=t_s, positions=rows - rows[0] + robot.home)


def _slowed(motion: Demonstration, scale: float) -> Demonstration:
    return replace(motion, times_s=motion.times_s * scale)


def _check_positions(motion: Demonstration, robot: RobotSpec) -> None:
    low, high = motion.positions.min(axis=0), motion.positions.max(axis=0)
    for index, joint in enumerate(robot.joints):
        if low[index] < joint.lower or high[index] > joint.upper:
            raise ValueError(
                f'{motion.source}: moves {joint.name} from {low[index]:.3f} to '
                f'{high[index]:.3f} rad, limits {joint.lower:g} to {joint.upper:g} rad')
