"""The expert's dials: seeded, smooth, and recovered from."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='no simulator in this environment')

from chunked_vla_ros.core.policy import ActionPlan, PolicySpec
from chunked_vla_ros.core.types import JointSample, Observation
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.sim.expert_noise import (
    FREE_PHASES,
    FULL_NOISE_RAD,
    NoiseDial,
    NoisyExpert,
    PUSH_S,
    SmoothNoise,
)

ROBOT = load_robot('ur5e_sim')
STEP_S = 0.05
SECOND = 10**9


class StillExpert:
    """An expert that stays where it begins, and remembers what it was shown."""

    def __init__(self, phase: str = 'reach') -> None:
        self.spec = PolicySpec('expert', ROBOT.joint_names, ROBOT.dim_kinds, STEP_S, 16)
        self.phase, self.resets, self.shown = phase, 0, []

    def reset(self) -> None:
        self.resets += 1

    def plan(self, observation: Observation) -> ActionPlan:
        self.shown.append(observation.joints.position)
        return ActionPlan(np.tile(ROBOT.home, (16, 1)), note=self.phase)


def see(policy: Any, at_s: float, position: np.ndarray = ROBOT.home) -> ActionPlan:
    stamp_ns = 5 * SECOND + round(at_s * SECOND)
    return policy.plan(Observation(
        stamp_ns, JointSample(stamp_ns, position, np.zeros_like(position))))


def drive(policy: Any, duration_s: float = 30.0) -> tuple[np.ndarray, list[str]]:
    """Let an arm follow exactly, plan every 0.4 s; return positions every 50 ms, and notes."""
    rows, notes, position = [], [], ROBOT.home
    for tick in range(round(duration_s / 0.4)):
        plan = see(policy, 0.4 * tick, position)
        notes.append(plan.note)
        rows.append(plan.positions[:8])
        position = plan.positions[8]
    return np.concatenate(rows), notes


def test_at_zero_the_plans_are_the_experts() -> None:
    rows, notes = drive(NoisyExpert(StillExpert(), ROBOT, NoiseDial()), 4.0)
    assert np.array_equal(rows, np.tile(ROBOT.home, (80, 1)))
    assert set(notes) == {'reach'}


def test_noise_has_the_deviation_told_and_leaves_the_gripper_alone() -> None:
    rows, _ = drive(NoisyExpert(StillExpert(), ROBOT, NoiseDial(noise=0.4)), 120.0)
    away = rows - ROBOT.home
    assert away[40:, :6].std() == pytest.approx(0.4 * FULL_NOISE_RAD, rel=0.15)
    assert not away[:, 6].any()


def test_noise_begins_at_zero_and_is_smooth_from_plan_to_plan() -> None:
    rows, _ = drive(NoisyExpert(StillExpert(), ROBOT, NoiseDial(noise=1.0)))
    assert np.array_equal(rows[0], ROBOT.home)
    accelerations = np.diff(rows, n=2, axis=0) / STEP_S**2
    # A fifth of the arm's limit of 5 rad/s^2, at full dial.
    assert np.abs(accelerations).max() < 1.6


def test_the_expert_does_not_know_of_the_noise() -> None:
    expert = StillExpert()
    drive(NoisyExpert(expert, ROBOT, NoiseDial(noise=1.0)))
    assert np.abs(np.array(expert.shown) - ROBOT.home).max() < 1e-9


def test_the_seed_decides_and_every_run_differs() -> None:
    def motion(seed: int, resets: int) -> np.ndarray:
        policy = NoisyExpert(
            StillExpert(), ROBOT, NoiseDial(noise=0.5, pushes_per_minute=20.0, seed=seed))
        for _ in range(resets):
            policy.reset()
        return drive(policy)[0]
    assert np.array_equal(motion(1, 0), motion(1, 0))
    assert not np.array_equal(motion(1, 0), motion(2, 0))
    assert not np.array_equal(motion(1, 0), motion(1, 1))


def test_a_push_is_told_once_and_then_the_expert_sees_where_the_arm_is() -> None:
    expert = StillExpert()
    policy = NoisyExpert(expert, ROBOT, NoiseDial(pushes_per_minute=10.0, seed=3))
    _, notes = drive(policy)
    told = [note for note in notes if note.startswith('disturbance: ')]
    assert told
    tick = notes.index(told[0])
    joint = ROBOT.joint_names.index(told[0].split()[1])
    assert joint in (0, 5)
    # Unaware while it is pushed; 0.8 s later it finds itself elsewhere.
    assert np.abs(expert.shown[tick + 1] - ROBOT.home).max() < 1e-9
    moved = expert.shown[tick + 2][joint] - ROBOT.home[joint]
    assert 0.2 <= abs(moved) <= 0.35
    assert f'{moved:+.2f} rad' in told[0]


def test_an_arm_that_somebody_else_moves_is_seen_where_it_is() -> None:
    expert = StillExpert()
    policy = NoisyExpert(expert, ROBOT, NoiseDial(pushes_per_minute=60.0, seed=3))
    elsewhere = ROBOT.home + 0.5
    tick = 0
    while not see(policy, 0.4 * tick).note.startswith('disturbance'):
        tick += 1
    see(policy, 0.4 * (tick + 1), elsewhere)
    assert np.array_equal(expert.shown[-1], elsewhere)


def test_the_arm_is_pushed_only_in_free_space() -> None:
    policy = NoisyExpert(
        StillExpert('descend'), ROBOT, NoiseDial(pushes_per_minute=60.0, seed=3))
    assert set(drive(policy)[1]) == {'descend'}
    assert 'descend' not in FREE_PHASES


def test_a_push_is_slow_enough_for_the_arm() -> None:
    policy = NoisyExpert(StillExpert(), ROBOT, NoiseDial(pushes_per_minute=60.0, seed=3))
    for tick in range(10):
        plan = see(policy, 0.4 * tick)
        if plan.note.startswith('disturbance'):
            break
    accelerations = np.diff(plan.positions, n=2, axis=0) / STEP_S**2
    assert np.abs(accelerations).max() < 0.8 * ROBOT.limits.acceleration[0]
    assert np.abs(plan.positions[round(PUSH_S / STEP_S) - 1:] - ROBOT.home).max() <= 0.35


def test_targets_stay_inside_the_range() -> None:
    low = replace(ROBOT, joints=tuple(
        replace(joint, lower=joint.home, upper=joint.home + 1e-3) for joint in ROBOT.joints))
    rows, _ = drive(NoisyExpert(
        StillExpert(), low, NoiseDial(noise=1.0, pushes_per_minute=60.0)))
    assert (rows >= low.limits.lower).all()
    assert (rows <= low.limits.upper).all()


def test_the_dials_turns_are_in_its_name() -> None:
    policy = NoisyExpert(StillExpert(), ROBOT, NoiseDial(0.1, 2.0))
    assert policy.spec.policy_id == 'expert+noise0.1+pushes2'


@pytest.mark.parametrize(('field', 'value'), [
    ('noise', -0.1), ('noise', 1.1), ('noise', float('nan')), ('pushes_per_minute', 61.0)])
def test_a_dial_beyond_its_end_is_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f'{field} is {value}, expected 0 to'):
        NoiseDial(**{field: value})


def test_smooth_noise_is_the_same_however_it_is_asked() -> None:
    noise = SmoothNoise(np.random.default_rng(0), 2, 0.1)
    times_s = np.linspace(0, 5, 11)
    assert np.allclose(noise.at(times_s), [noise.at(np.array([t]))[0] for t in times_s])


def test_who_is_seeded_anew_does_what_that_seed_says() -> None:
    policy = NoisyExpert(StillExpert(), ROBOT, NoiseDial(noise=0.5, seed=1))
    first, _ = drive(policy, 4.0)
    policy.seed_noise(2)
    policy.reset()
    other, _ = drive(policy, 4.0)
    policy.seed_noise(1)
    again, _ = drive(policy, 4.0)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
