"""
Watch the measured joints: are they fresh, at rest, and where they were commanded to be?

Knows the commanded poses of the last half second, so that a measurement is compared with the
command of its own instant. Decides nothing: the executor acts on the answers.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import DimKind, FloatArray, JointSample

HISTORY_NS = 500_000_000
REST_RADPS = 0.05
# How far outside its range a joint may be measured (sensor noise at an end stop) to be armed.
START_SLACK_RAD = 0.02


class PoseError(ValueError):
    """The arm cannot be armed where it is; the message is one line."""


class PoseMonitor:
    """Compare measured with commanded joints; times are node time in [ns]."""

    def __init__(self, robot: RobotSpec, timeout_s: float, tolerance_rad: float,
                 tolerated_s: float) -> None:
        self._names, self._limits = robot.joint_names, robot.limits
        # A gripper that holds something never reaches its target: only the others must track.
        self._tracked = np.array([kind is not DimKind.BINARY for kind in robot.dim_kinds])
        self._timeout_ns = round(timeout_s * 1e9)
        self._tolerance_rad, self._tolerated_ns = tolerance_rad, round(tolerated_s * 1e9)
        self._commands: deque[tuple[int, FloatArray]] = deque()
        self._astray_since_ns: int | None = None
        self.sample: JointSample | None = None

    def observe(self, sample: JointSample) -> None:
        """Take a newer sample; an older or repeated stamp is ignored (frozen driver)."""
        if self.sample is None or sample.stamp_ns > self.sample.stamp_ns:
            self.sample = sample

    def commanded(self, now_ns: int, position: FloatArray) -> None:
        """Remember what was commanded at ``now_ns``."""
        self._commands.append((now_ns, position))
        while self._commands[0][0] < now_ns - HISTORY_NS:
            self._commands.popleft()

    def forget(self) -> None:
        """Drop the history: the commanded pose is about to be set anew."""
        self._commands.clear()
        self._astray_since_ns = None

    def clock_was_set(self) -> None:
        """Drop everything that was dated on the clock before it was set."""
        self.forget()
        self.sample = None

    def silence(self, now_ns: int) -> str:
        """Return why the measured pose is unknown at ``now_ns``, or the empty string."""
        if self.sample is None:
            return 'waiting for joint_states'
        age_ns = now_ns - self.sample.stamp_ns
        if age_ns > self._timeout_ns:
            return f'joint_states is {age_ns * 1e-9:.2f} s old'
        return ''

    def start_pose(self) -> FloatArray:
        """
        Return the measured pose, inside the limits, from which motion may begin; shape (J,).

        :raises PoseError: nothing was measured, or a joint is outside its range.
        """
        if self.sample is None:
            raise PoseError('waiting for joint_states')
        lower, upper = self._limits.lower, self._limits.upper
        inside = np.clip(self.sample.position, lower, upper)
        outside = np.abs(self.sample.position - inside)
        joint = int(outside.argmax())
        if outside[joint] > START_SLACK_RAD:
            raise PoseError(
                f'{self._names[joint]} is measured at {self.sample.position[joint]:.3f} rad, '
                f'outside {lower[joint]:.3f} to {upper[joint]:.3f}')
        return inside

    def moving(self) -> bool:
        """Return whether a joint that must track is measured in motion."""
        return self.sample is not None and bool(
            (np.abs(self.sample.velocity[self._tracked]) > REST_RADPS).any())

    def astray(self, now_ns: int) -> str:
        """Return which joint has been away from its command for too long, or ''."""
        if self.sample is None or not self._commands:
            return ''
        distance = np.abs(self.sample.position - self._command_at(self.sample.stamp_ns))
        distance = np.where(self._tracked, distance, 0.0)
        joint = int(distance.argmax())
        if distance[joint] <= self._tolerance_rad:
            self._astray_since_ns = None
            return ''
        self._astray_since_ns = self._astray_since_ns or now_ns
        if now_ns - self._astray_since_ns < self._tolerated_ns:
            return ''
        return (f'{self._names[joint]} is {distance[joint]:.3f} rad from its command, '
                f'tolerance {self._tolerance_rad:.3f}')

    def _command_at(self, stamp_ns: int) -> FloatArray:
        for at_ns, position in reversed(self._commands):
            if at_ns <= stamp_ns:
                return position
        return self._commands[0][1]
