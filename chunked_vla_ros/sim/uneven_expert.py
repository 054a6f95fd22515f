"""
The scripted expert as somebody of drawn quality demonstrates: slower, off, slipping, wandering.

The expert inside lives in a time of its own, which passes as fast as the quality says, and sees
the arm where it would be had nothing gone wrong. Whatever happens is a function of seed, run and
time. Knows nothing about ROS or clocks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray, JointSample, NS_PER_S, Observation
from chunked_vla_ros.sim.expert import ScriptedExpert
from chunked_vla_ros.sim.quality_dial import MIXED, QualityTrack, VARYING

# Tells these draws from those of the noise dial with the same seed.
STREAM = 7
# Measured speed is not scaled up by more than this: it is all the wander's own in its middle.
SLOWEST_SEEN = 0.2
MOMENT_S = 0.01


class UnevenExpert:
    """
    A `Policy` around the scripted expert.

    :param kind: ``mixed``: a run is good or bad as a whole; ``varying``: it changes within it.
    :param seed: Of everything that is drawn; each run of a seed differs.
    :ivar track: How well the present run is made.
    """

    def __init__(self, expert: ScriptedExpert, robot: RobotSpec, kind: str, seed: int = 0) -> None:
        if kind not in (MIXED, VARYING):
            raise ValueError(f'quality is {kind!r}, expected {MIXED} or {VARYING}')
        assert robot.gripper is not None    # the expert needs it, too
        self._expert, self._kind, self._limits = expert, kind, robot.limits
        self._gripper = robot.gripper
        self._column = robot.joint_names.index(robot.gripper.joint)
        self._arm = robot.arm_columns
        self._spec = replace(expert.spec, policy_id=f'{expert.spec.policy_id}+{kind}')
        self.seed_noise(seed)

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
        self._seed, self._runs = seed, -1
        self.reset()

    def reset(self) -> None:
        """Begin another run, of another quality."""
        self._expert.reset()
        self._runs += 1
        self.track = QualityTrack(
            np.random.default_rng([self._seed, self._runs, STREAM]), self._kind, len(self._arm))
        self._begun_ns: int | None = None
        self._told_s = 0.0

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the slice of the motion that begins now; the note names what begins to go wrong.

        :raises PolicyError: as the expert does.
        """
        if self._begun_ns is None or observation.stamp_ns < self._begun_ns:
            self._begun_ns = observation.stamp_ns
        now_s = (observation.stamp_ns - self._begun_ns) / NS_PER_S
        times_s = now_s + self._spec.step_s * np.arange(self._spec.horizon, dtype=np.float64)
        own_s = self.track.own_time(times_s)
        plan = self._expert.plan_ahead(
            self._unaware(observation, now_s, float(own_s[0])), own_s - own_s[0])
        positions = plan.positions.copy()
        positions[:, self._arm] += self.track.offset(times_s)
        closed = positions[:, self._column] == self._gripper.closed
        positions[closed & self.track.slipping(times_s), self._column] = self._gripper.open
        note = self._news(now_s, bool(closed[0]))
        return ActionPlan(np.clip(positions, self._limits.lower, self._limits.upper),
                          plan.done, note or plan.note)

    def _unaware(self, observation: Observation, now_s: float, own_s: float) -> Observation:
        """Return what would be seen in the expert's own time had nothing gone wrong."""
        offsets = self.track.offset(now_s + np.array([0.0, MOMENT_S]))
        pace = max(float(self.track.pace(np.array([now_s]))[0]), SLOWEST_SEEN)
        joints, begun_ns = observation.joints, self._begun_ns or 0
        position, velocity = joints.position.copy(), joints.velocity.copy()
        position[self._arm] -= offsets[0]
        velocity[self._arm] = (velocity[self._arm] - (offsets[1] - offsets[0]) / MOMENT_S) / pace
        return replace(
            observation, stamp_ns=begun_ns + round(own_s * NS_PER_S),
            joints=JointSample(joints.stamp_ns, position, velocity))

    def _news(self, now_s: float, holding: bool) -> str:
        """Return what has begun to go wrong since it was told last."""
        since_s, self._told_s = self._told_s, now_s
        if holding and _began(self.track.slips.begins_s, since_s, now_s):
            return 'slip'
        return 'wander' if _began(self.track.wanders.begins_s, since_s, now_s) else ''


def _began(begins_s: FloatArray, since_s: float, now_s: float) -> bool:
    return bool(np.any((begins_s > since_s) & (begins_s <= now_s)))
