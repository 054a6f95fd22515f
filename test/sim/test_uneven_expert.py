"""The expert as somebody of drawn quality: seeded, begun where the arm is, still at its task."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='no simulator in this environment')

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec
from chunked_vla_ros.core.types import JointSample, Observation
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.sim.quality_dial import MIXED, VARYING
from chunked_vla_ros.sim.uneven_expert import UnevenExpert

ROBOT = load_robot('ur5e_sim')
STEP_S, SECOND = 0.05, 10**9
KINDS = pytest.mark.parametrize('kind', [MIXED, VARYING])


class TurningExpert:
    """An expert that turns the first joint by 0.1 rad per second of its own time, hand closed."""

    def __init__(self) -> None:
        self.spec = PolicySpec('expert', ROBOT.joint_names, ROBOT.dim_kinds, STEP_S, 16)
        self.shown: list[Observation] = []

    def reset(self) -> None:
        self.shown.clear()

    def plan_ahead(self, observation: Observation, ahead_s: np.ndarray) -> ActionPlan:
        self.shown.append(observation)
        rows = np.tile(ROBOT.home, (len(ahead_s), 1))
        rows[:, 0] += 0.1 * (observation.stamp_ns / SECOND - 5.0 + ahead_s)
        rows[:, 6] = 0.8
        return ActionPlan(rows, note='carry')


def uneven(kind: str = MIXED, seed: int = 0) -> UnevenExpert:
    expert: Any = TurningExpert()
    return UnevenExpert(expert, ROBOT, kind, seed)


def drive(policy: UnevenExpert, duration_s: float = 30.0) -> tuple[np.ndarray, list[str]]:
    """Let an arm follow exactly, plan every 0.4 s; return positions every 50 ms, and notes."""
    rows, notes, position = [], [], ROBOT.home
    for tick in range(round(duration_s / 0.4)):
        stamp_ns = 5 * SECOND + tick * 400_000_000
        plan = policy.plan(Observation(
            stamp_ns, JointSample(stamp_ns, position, np.zeros_like(position))))
        notes.append(plan.note)
        rows.append(plan.positions[:8])
        position = plan.positions[8]
    return np.concatenate(rows), notes


@KINDS
def test_a_run_begins_where_the_arm_is_and_each_plan_goes_on_from_the_last(kind: str) -> None:
    rows, _ = drive(uneven(kind))
    assert np.allclose(rows[0, :6], ROBOT.home[:6], atol=1e-6)
    # Nowhere a jump: 50 ms at less than 1 rad/s.
    assert np.abs(np.diff(rows[:, :6], axis=0)).max() < 0.05


@KINDS
def test_seed_and_run_say_what_happens(kind: str) -> None:
    policy = uneven(kind)
    first, _ = drive(policy)
    policy.reset()
    second, _ = drive(policy)
    policy.seed_noise(0)
    again, _ = drive(policy)
    other, _ = drive(uneven(kind, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_expert_does_not_notice_what_is_wrong() -> None:
    policy = uneven()
    drive(policy)
    seen: Any = policy._expert
    for one in seen.shown:
        expected = ROBOT.home[0] + 0.1 * (one.stamp_ns / SECOND - 5.0)
        # It sees the arm where it has sent it, by its own time.
        assert one.joints.position[0] == pytest.approx(expected, abs=1e-6)


def test_the_gripper_slips_open_for_a_moment_only() -> None:
    rows, notes = drive(uneven(), 120.0)
    opened = rows[:, 6] == 0.0
    assert set(rows[:, 6]) == {0.0, 0.8}
    assert 0.01 < opened.mean() < 0.15
    assert {'slip', 'wander', 'carry'} == set(notes)
    begins = np.count_nonzero(np.diff(opened.astype(int)) == 1)
    assert opened.sum() / begins <= 9, 'longer than 0.45 s'


def test_its_name_tells_the_kind() -> None:
    assert uneven(VARYING).spec == replace(TurningExpert().spec, policy_id='expert+varying')
    with pytest.raises(ValueError, match="quality is 'bad', expected mixed or varying"):
        uneven('bad')


@pytest.mark.parametrize('kind', [MIXED, VARYING])
def test_it_still_does_its_task(kind: str, world: Any, expert: Any, drive: Any) -> None:
    driver = drive(1)
    driver.expert = UnevenExpert(expert, ROBOT, kind, seed=2)
    driver.run_until(lambda it: it.world.success, limit_s=30.0)
    assert world.success
