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
# Two computers' clocks differ a little; a stamp farther ahead than this is wrong.
FUTURE_NS = 100_000_000
SPEED_BASE_NS = 30_000_000
STILL_RAD = 0.05


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
        self._earlier: JointSample | None = None    # 30 to 60 ms before the newest ...
        self._base: JointSample | None = None       # ... and the one that will be that next
        self._ahead_s = 0.0
        self._held: tuple[FloatArray, FloatArray] | None = None    # commanded, measured
        self._judged: JointSample | None = None     # against the command of its instant
        self.sample: JointSample | None = None

    def observe(self, sample: JointSample, node_ns: int) -> None:
        """
        Take a newer sample; an older or repeated stamp is ignored (frozen driver).

        One stamped in the future is no measurement: it would look fresh long after the last one.
        """
        ahead_ns = sample.stamp_ns - node_ns
        self._ahead_s = ahead_ns * 1e-9 if ahead_ns > FUTURE_NS else 0.0
        if self._ahead_s or (self.sample and sample.stamp_ns <= self.sample.stamp_ns):
            return
        self.sample = sample
        if self._base is None or sample.stamp_ns - self._base.stamp_ns > 2 * SPEED_BASE_NS:
            self._earlier = self._base = sample
        elif sample.stamp_ns - self._base.stamp_ns >= SPEED_BASE_NS:
            self._earlier, self._base = self._base, sample

    def commanded(self, now_ns: int, position: FloatArray) -> None:
        """Remember what was commanded at ``now_ns``."""
        self._commands.append((now_ns, position))
        # Not measured any more: what was held before says nothing about now.
        self._held = (position, self.sample.position) if self.sample is not None else None
        while self._commands[0][0] < now_ns - HISTORY_NS:
            self._commands.popleft()

    def forget(self) -> None:
        """Drop the history: the commanded pose is about to be set anew."""
        self._commands.clear()
        self._astray_since_ns = None

    def clock_was_set(self) -> None:
        """Drop everything that was dated on the clock before it was set."""
        self.forget()
        self.sample = self._earlier = self._base = None

    def silence(self, now_ns: int) -> str:
        """Return why the measured pose is unknown at ``now_ns``, or the empty string."""
        if self._ahead_s:
            return f'joint_states is stamped {self._ahead_s:.2f} s in the future'
        if self.sample is None:
            return 'waiting for joint_states'
        age_ns = now_ns - self.sample.stamp_ns
        if age_ns > self._timeout_ns:
            return f'joint_states is {age_ns * 1e-9:.2f} s old'
        return ''

    def take_start_pose(self) -> FloatArray:
        """
        Return the pose, inside the limits, from which motion may begin; shape (J,) in [rad].

        It is the measured one, and history begins anew. A gripper that has not moved since it was
        last commanded keeps its command: it may be holding something.

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
        if self._held is not None:
            commanded, measured = self._held
            still = np.abs(self.sample.position - measured) < STILL_RAD
            inside = np.where(~self._tracked & still, commanded, inside)
        self.forget()
        return inside

    def moving(self) -> bool:
        """Return whether a joint that must track is measured in motion."""
        if self.sample is None or self._earlier is None:
            return False
        # Some drivers report no velocity: what the positions say counts as well.
        passed_s = max((self.sample.stamp_ns - self._earlier.stamp_ns), SPEED_BASE_NS) * 1e-9
        travelled = np.abs(self.sample.position - self._earlier.position) / passed_s
        speed = np.maximum(np.abs(self.sample.velocity), travelled)[self._tracked]
        return bool((speed > REST_RADPS).any())

    def astray(self) -> str:
        """Return which joint has been away from its command for too long, or ''."""
        if self.sample is None or not self._commands:
            return ''
        if self._judged is self.sample:
            return ''
        self._judged = self.sample
        distance = np.abs(self.sample.position - self._command_at(self.sample.stamp_ns))
        distance = distance * self._tracked
        joint = int(distance.argmax())
        if distance[joint] <= self._tolerance_rad:
            self._astray_since_ns = None
            return ''
        # By the samples' own time: one that nobody has followed up says nothing of how long.
        stamp_ns = self.sample.stamp_ns
        self._astray_since_ns = self._astray_since_ns or stamp_ns
        if stamp_ns - self._astray_since_ns < self._tolerated_ns:
            return ''
        return (f'{self._names[joint]} is {distance[joint]:.3f} rad from its command, '
                f'tolerance {self._tolerance_rad:.3f}')

    def _command_at(self, stamp_ns: int) -> FloatArray:
        for at_ns, position in reversed(self._commands):
            if at_ns <= stamp_ns:
                return position
        return self._commands[0][1]
