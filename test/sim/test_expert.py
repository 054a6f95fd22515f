"""The expert at work in the world, and what it does when things go wrong."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')

from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.core.types import DimKind, JointSample
from chunked_vla_ros.sim.expert import ScriptedExpert
from chunked_vla_ros.sim.tasks import TASKS

PHASES = ['reach', 'descend', 'close', 'lift', 'carry', 'lower', 'open', 'leave', 'home']


def finished(driver):
    return driver.done


@pytest.mark.parametrize('seed', range(6))
def test_it_puts_the_cube_on_the_pad_from_random_starts(drive, seed):
    driver = drive(seed).run_until(finished, limit_s=9.0)
    assert driver.world.success
    assert driver.world.servo.setpoint(driver.world.time_ns).position == pytest.approx(
        driver.commands[-1])


@pytest.mark.parametrize(('seed', 'task'), list(enumerate(TASKS)))
def test_it_does_what_it_is_told_from_unseen_starts(drive, seed, task):
    driver = drive(seed, 'unseen', task).run_until(finished, limit_s=9.0)
    assert driver.world.success
    assert driver.world.start.task.name == task


def test_it_works_phase_by_phase_and_goes_home(drive, robot):
    driver = drive(1, 'fixed', 'red_left').run_until(finished)
    assert [note for note in PHASES if note in driver.notes] == driver.notes
    assert driver.world.joints().position[:6] == pytest.approx(robot.home[:6], abs=0.005)


def test_its_chunks_keep_the_limits_of_the_contract_with_room(drive, robot):
    driver = drive(3).run_until(finished)
    arm = np.array(driver.commands)[::10, :6]        # every 50 ms: the points of the chunks
    for order, limit in ((1, robot.limits.velocity), (2, robot.limits.acceleration)):
        peak = np.abs(np.diff(arm, order, axis=0)).max(axis=0) / 0.05**order
        assert np.all(peak <= 0.85 * limit[:6])


def test_a_plan_begins_where_the_arm_is(world, expert, observe):
    expert.reset()
    plan = expert.plan(observe(world))
    assert plan.positions.shape == (16, 7)
    assert plan.positions[0] == pytest.approx(world.joints().position, abs=1e-9)


def test_a_later_slice_continues_the_same_motion(world, expert, observe):
    expert.reset()
    now = observe(world)
    first = expert.plan(now).positions
    later = dataclasses.replace(now, stamp_ns=now.stamp_ns + 200_000_000)
    assert expert.plan(later).positions[:12] == pytest.approx(first[4:], abs=1e-9)


def test_the_gripper_column_has_two_values_only(drive, robot):
    driver = drive(2).run_until(finished)
    assert {command[-1] for command in driver.commands} == {
        robot.gripper.open, robot.gripper.closed}
    assert robot.joints[-1].kind is DimKind.BINARY


def test_an_arm_that_was_stopped_gets_a_motion_from_where_it_is(world, expert, observe):
    expert.reset()
    now = observe(world)
    expert.plan(now)
    # A second later the arm should be far along, and still is at home.
    stuck = dataclasses.replace(now, stamp_ns=now.stamp_ns + 1_000_000_000)
    assert expert.plan(stuck).positions[0] == pytest.approx(world.joints().position, abs=1e-9)


def test_an_arm_that_is_moved_while_planning_is_stopped_softly(world, expert, observe):
    expert.reset()
    now = observe(world)
    velocity = np.zeros(7)
    velocity[1] = 0.5
    moving = dataclasses.replace(
        now, joints=JointSample(now.stamp_ns, now.joints.position, velocity))
    plan = expert.plan(moving)
    assert plan.note == 'stop'
    assert plan.positions[1, 1] - plan.positions[0, 1] == pytest.approx(0.5 * 0.05, rel=0.15)


def test_a_cube_that_is_pushed_away_is_followed(drive):
    driver = drive(4, 'fixed', 'red_right').run_until(lambda d: 'reach' in d.notes)
    driver.world._data.joint('cube/red').qpos[:2] = (0.48, 0.02)
    driver.run_until(finished)
    assert driver.world.success


def test_a_cube_lost_on_the_way_is_fetched_again(drive):
    driver = drive(5, 'fixed', 'red_left').run_until(lambda d: d.notes[-1:] == ['carry'])
    lost = driver.world._data.joint('cube/red')
    lost.qpos[:3], lost.qvel[:] = (0.40, 0.0, 0.021), 0.0
    driver.run_until(finished)
    assert driver.notes.count('close') == 2
    assert driver.world.success


def test_a_cube_already_in_the_fingers_is_carried_on(drive, expert):
    driver = drive(6, 'fixed', 'blue_left').run_until(lambda d: d.notes[-1:] == ['carry'])
    expert.reset()      # as when the inference process was started anew
    driver.notes.clear()
    driver.run_until(finished)
    assert 'close' not in driver.notes
    assert driver.world.success


def test_a_cube_already_on_its_pad_leaves_only_the_way_home(drive):
    driver = drive(7, 'fixed', 'green_left').run_until(finished)
    driver.expert.reset()
    driver.notes.clear()
    driver.run_until(lambda d: d.notes and d.done)
    assert driver.notes == ['home']


def test_a_new_instruction_is_a_new_motion(world, expert, observe):
    expert.reset()
    now = observe(world)
    red = expert.plan(now).positions
    blue = expert.plan(dataclasses.replace(
        now, instruction='put the blue cube on the left pad')).positions
    assert np.abs(red[-1] - blue[-1]).max() > 0.02


@pytest.mark.parametrize(('change', 'reason'), [
    ({'instruction': 'make tea'}, 'cannot act on'),
    ({'scene': {}}, 'the scene has no cube/red, only nothing')])
def test_what_it_cannot_act_on_is_said_in_one_line(world, expert, observe, change, reason):
    expert.reset()
    with pytest.raises(PolicyError, match=reason) as error:
        expert.plan(dataclasses.replace(observe(world), **change))
    assert '\n' not in str(error.value)


def test_a_cube_out_of_reach_is_said_in_one_line(world, expert, observe):
    expert.reset()
    now = observe(world)
    far = dataclasses.replace(now.scene['cube/red'], position=np.array([1.4, 0.0, 0.02]))
    with pytest.raises(PolicyError, match='out of reach'):
        expert.plan(dataclasses.replace(now, scene={**now.scene, 'cube/red': far}))


def test_a_robot_without_gripper_is_refused(robot):
    with pytest.raises(ValueError, match='no gripper'):
        ScriptedExpert(dataclasses.replace(robot, gripper=None))
