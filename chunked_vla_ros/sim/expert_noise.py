"""
Make the scripted expert's demonstrations less perfect: a dial for noise, and one for disturbances.

Noise is a smooth, seeded offset of the joint targets that the expert does not know of. A
disturbance pushes the arm aside while it is in free space; the expert notices and recovers by its
own rules. Whatever happens is a function of seed, run and time. Knows nothing about ROS or clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from chunked_vla_ros.core.policy import ActionPlan, Policy, PolicySpec
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray, JointSample, NS_PER_S, Observation

# Standard deviation of the offset of a joint target at full dial.
FULL_NOISE_RAD = 0.05
WAVES = 6
SLOWEST_HZ, FASTEST_HZ = 0.1, 0.5
# The offset grows from zero, so that a run begins where the arm is.
FADE_IN_S = 1.0
PUSH_S = 0.8
SMALLEST_PUSH_RAD, LARGEST_PUSH_RAD = 0.2, 0.35
# Joints moved by a push: the first and the last turn the tool sideways, never into the table.
PUSHED = (0, -1)
# An arm that lags behind a push is no farther from its plan than this.
ELSEWHERE_RAD = 0.15
FREE_PHASES = frozenset({'reach', 'carry', 'home'})


@dataclass(frozen=True)
class NoiseDial:
    """
    How imperfect demonstrations are.

    :ivar noise: 0 to 1; 1 is a standard deviation of 0.05 rad at every joint.
    :ivar pushes_per_minute: Mean number of disturbances per minute in free space.
    :ivar seed: Of everything that is drawn.
    """

    noise: float = 0.0
    pushes_per_minute: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise <= 1.0:
            raise ValueError(f'noise is {self.noise}, expected 0 to 1')
        if not 0.0 <= self.pushes_per_minute <= 60.0:
            raise ValueError(
                f'pushes_per_minute is {self.pushes_per_minute}, expected 0 to 60')

    @property
    def is_zero(self) -> bool:
        """Return whether nothing is changed."""
        return self.noise == 0.0 and self.pushes_per_minute == 0.0


class SmoothNoise:
    """A sum of slow sines with drawn phases: smooth, bounded, and known at any time."""

    def __init__(self, generator: np.random.Generator, joints: int, deviation_rad: float,
                 band_hz: tuple[float, float] = (SLOWEST_HZ, FASTEST_HZ)) -> None:
        self._omega = 2 * np.pi * generator.uniform(*band_hz, (WAVES, joints))
        self._phase = generator.uniform(0.0, 2 * np.pi, (WAVES, joints))
        self._amplitude = deviation_rad * np.sqrt(2 / WAVES)

    def at(self, times_s: FloatArray) -> FloatArray:
        """Return the offsets at ``times_s`` (N,), shape (N, joints) in [rad]; zero up to 0 s."""
        waves = np.sin(self._omega * times_s[:, None, None] + self._phase).sum(axis=1)
        rows: FloatArray = self._amplitude * minimum_jerk(times_s / FADE_IN_S)[:, None] * waves
        return rows


@dataclass(frozen=True)
class _Push:
    """A disturbance: begun ``begin_s`` into the run, moving the arm by ``offset`` (joints,)."""

    begin_s: float
    offset: FloatArray

    def at(self, times_s: FloatArray) -> FloatArray:
        return minimum_jerk((times_s - self.begin_s) / PUSH_S)[:, None] * self.offset


@runtime_checkable
class Seeded(Protocol):
    """A policy that draws: what it does depends on a seed."""

    def seed_noise(self, seed: int) -> None:
        """Begin anew with the runs of ``seed``."""


class NoisyExpert:
    """A `Policy` around the expert: the same plans, made imperfect by ``dial``."""

    def __init__(self, expert: Policy, robot: RobotSpec, dial: NoiseDial) -> None:
        self._expert, self._dial, self._limits = expert, dial, robot.limits
        self._arm = robot.arm_columns
        self._spec = replace(
            expert.spec, policy_id=f'{expert.spec.policy_id}+noise{dial.noise:g}'
            f'+pushes{dial.pushes_per_minute:g}')
        self._runs = 0
        self._begun_ns: int | None = None
        self._push: _Push | None = None
        self._sent: tuple[int, FloatArray] | None = None    # newest plan, and when it begins
        self._begin()

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is and needs."""
        return self._spec

    @property
    def has_noise(self) -> bool:
        """Return whether anything is drawn."""
        return True

    def seed_noise(self, seed: int) -> None:
        """Begin anew with the runs of ``seed``."""
        if isinstance(self._expert, Seeded):
            self._expert.seed_noise(seed)
        self._dial, self._runs = replace(self._dial, seed=seed), 0
        self._begin()

    def reset(self) -> None:
        """Begin another run: other noise, from the same seed."""
        self._expert.reset()
        self._runs += 1
        self._begin()

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the expert's plan with what disturbs it; the note names a push when it begins.

        :raises PolicyError: as the expert does.
        """
        if self._begun_ns is None or observation.stamp_ns < self._begun_ns:
            self._begun_ns = observation.stamp_ns
        now_s = (observation.stamp_ns - self._begun_ns) / NS_PER_S
        if self._push is not None and (now_s >= self._push.begin_s + PUSH_S
                                       or self._is_elsewhere(observation)):
            # From now on the expert sees where the arm is, and recovers. It may be somewhere else
            # than it was pushed to: held, or moved by a person.
            self._push = None
        plan = self._expert.plan(self._unaware(observation, now_s))
        note = self._maybe_push(plan, now_s) or plan.note
        times_s = now_s + self._spec.step_s * np.arange(len(plan.positions), dtype=np.float64)
        positions = plan.positions.copy()
        positions[:, self._arm] += self._offset(times_s)
        positions = np.clip(positions, self._limits.lower, self._limits.upper)
        self._sent = (observation.stamp_ns, positions)
        return ActionPlan(positions, plan.done, note)

    def _begin(self) -> None:
        self._generator = np.random.default_rng([self._dial.seed, self._runs])
        self._noise = SmoothNoise(
            self._generator, len(self._arm), self._dial.noise * FULL_NOISE_RAD)
        self._begun_ns = self._push = self._sent = None
        self._next_push_s = self._draw_pause_s()

    def _draw_pause_s(self) -> float:
        rate = self._dial.pushes_per_minute / 60.0
        return float(self._generator.exponential(1.0 / rate)) if rate else np.inf

    def _offset(self, times_s: FloatArray) -> FloatArray:
        rows = self._noise.at(times_s)
        return rows if self._push is None else rows + self._push.at(times_s)

    def _is_elsewhere(self, observation: Observation) -> bool:
        """Return whether the arm is not where the plan before would have it."""
        if self._sent is None:
            return False
        sent_ns, rows = self._sent
        step = round((observation.stamp_ns - sent_ns) / NS_PER_S / self._spec.step_s)
        due = rows[min(max(step, 0), len(rows) - 1)]
        away = np.abs(due - observation.joints.position)[self._arm]
        return bool(away.max() > ELSEWHERE_RAD)

    def _unaware(self, observation: Observation, now_s: float) -> Observation:
        """Return what the expert would see had it not been disturbed."""
        joints = observation.joints
        position = joints.position.copy()
        position[self._arm] -= self._offset(np.array([now_s]))[0]
        return replace(observation, joints=JointSample(
            joints.stamp_ns, position, joints.velocity))

    def _maybe_push(self, plan: ActionPlan, now_s: float) -> str:
        """Begin a push if one is due and the arm is in free space; return what to note."""
        if self._push is not None or now_s < self._next_push_s or plan.note not in FREE_PHASES:
            return ''
        joint = self._arm[PUSHED[int(self._generator.integers(len(PUSHED)))]]
        size = float(self._generator.uniform(SMALLEST_PUSH_RAD, LARGEST_PUSH_RAD))
        size *= float(self._generator.choice([-1.0, 1.0]))
        offset = np.where(self._arm == joint, size, 0.0)
        self._push = _Push(now_s, offset)
        self._next_push_s = now_s + PUSH_S + self._draw_pause_s()
        return f'disturbance: {self._spec.joint_names[joint]} pushed by {size:+.2f} rad'


def minimum_jerk(share: FloatArray) -> FloatArray:
    """Return the minimum-jerk step from 0 to 1 over 0 to 1."""
    s = np.clip(share, 0.0, 1.0)
    step: FloatArray = s**3 * (10 + s * (6 * s - 15))
    return step
