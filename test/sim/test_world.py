"""The world in process: starts, time, tracking, success."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')

from chunked_vla_ros.sim.reference import TrajectoryCommand
from chunked_vla_ros.sim.tasks import PADS, TaskError
from chunked_vla_ros.sim.world import World

MS = 1_000_000
ARM = range(6)
AMPLITUDE_RAD, FREQUENCY_HZ = 0.3, 0.4


def put(world, name, x, y, z=0.02):
    """Put a cube somewhere, at rest."""
    world._data.joint(f'cube/{name}').qpos[:] = (x, y, z, 1.0, 0.0, 0.0, 0.0)
    world._data.joint(f'cube/{name}').qvel[:] = 0.0


def state(world):
    return world.configuration().tolist()


# --- starts ---------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_start_whatever_happened_before(world, robot):
    world.reset(5, 'random', 'blue_left')
    before = state(world)
    world.reset(6)
    world.command_position(robot.home + 0.02, world.time_ns)
    world.advance_to(world.time_ns + 300 * MS)
    world.reset(5, 'random', 'blue_left')
    assert state(world) == before


def test_the_same_commands_give_the_same_motion(world, robot):
    def play():
        world.reset(3)
        begin_ns = world.time_ns
        for k in range(40):
            world.command_position(robot.home + 0.001 * k, world.time_ns)
            world.advance_to(begin_ns + (k + 1) * 5 * MS)
        return state(world)
    assert play() == play()


def test_a_reset_puts_the_arm_home_at_rest_and_time_goes_on(world, robot):
    world.advance_to(world.time_ns + 100 * MS)
    before_ns = world.time_ns
    world.reset(1)
    assert world.joints().position.tolist() == robot.home.tolist()
    assert not world.joints().velocity.any()
    assert world.time_ns == before_ns


def test_keep_arm_moves_the_cubes_only(world, robot):
    world.command_position(robot.home + 0.03, world.time_ns)
    world.advance_to(world.time_ns + 500 * MS)
    arm, cubes = world.joints().position, world.scene()['cube/red'].position
    world.reset(9, 'random', keep_arm=True)
    assert world.joints().position.tolist() == arm.tolist()
    assert world.scene()['cube/red'].position[:2] != pytest.approx(cubes[:2], abs=1e-3)


def test_a_refused_reset_changes_nothing(world):
    before = state(world)
    with pytest.raises(TaskError):
        world.reset(1, 'nowhere')
    assert state(world) == before


def test_the_scene_names_every_object_where_it_is(world):
    scene = world.scene()
    assert sorted(scene) == ['cube/blue', 'cube/green', 'cube/red', 'pad/left', 'pad/right']
    assert scene['cube/red'].position == pytest.approx([0.42, 0.0, 0.02], abs=1e-3)
    assert scene['pad/left'].position[1] > 0 > scene['pad/right'].position[1]


def test_a_contract_with_a_joint_that_the_model_lacks_is_refused_by_name(robot):
    joints = (dataclasses.replace(robot.joints[0], name='elbow_2_joint'), *robot.joints[1:])
    with pytest.raises(ValueError, match='no joint elbow_2_joint'):
        World(dataclasses.replace(robot, joints=joints))


# --- servo ----------------------------------------------------------------------------------


def test_the_arm_holds_its_pose_without_any_command(world, robot):
    world.advance_to(world.time_ns + 1000 * MS)
    assert world.joints().position[ARM] == pytest.approx(robot.home[ARM], abs=5e-4)


def test_a_command_from_afar_does_not_move_the_arm_after_a_reset(world, robot):
    world.command_position(robot.home, world.time_ns)
    world.reset(0)
    refused = world.servo.refused
    world.command_position(robot.home + 0.3, world.time_ns)
    world.advance_to(world.time_ns + 200 * MS)
    assert world.servo.refused == refused + 1
    assert world.joints().position[ARM] == pytest.approx(robot.home[ARM], abs=1e-3)


def sine(robot, joint, time_s):
    """Return a motion of one joint that swells over 2 s, and its velocity, (J,) each."""
    ramp = min(time_s / 2.0, 1.0)
    swell, growth = ramp**2 * (3 - 2 * ramp), 6 * ramp * (1 - ramp) / 2.0
    omega = 2 * np.pi * FREQUENCY_HZ
    position, velocity = robot.home.copy(), np.zeros(len(robot.home))
    position[joint] += AMPLITUDE_RAD * swell * np.sin(omega * time_s)
    velocity[joint] = AMPLITUDE_RAD * (
        swell * omega * np.cos(omega * time_s) + growth * np.sin(omega * time_s))
    return position, velocity


@pytest.mark.parametrize('jitter_ms', [0.0, 1.0])
@pytest.mark.parametrize('joint', ARM)
def test_bare_positions_at_200_hz_are_tracked_within_two_milliradians(
        world, robot, joint, jitter_ms):
    rng = np.random.default_rng(joint)
    begin_ns, worst = world.time_ns, 0.0
    for k in range(900):
        due_ns = begin_ns + k * 5 * MS
        arrived_ns = max(begin_ns, due_ns + round(rng.uniform(-1, 1) * jitter_ms * MS))
        world.advance_to(arrived_ns)
        world.command_position(sine(robot, joint, k * 0.005)[0], arrived_ns)
        wanted = sine(robot, joint, (world.time_ns - begin_ns) / 1e9)[0]
        worst = max(worst, np.abs(world.joints().position - wanted)[ARM].max())
    assert worst < 0.002


@pytest.mark.parametrize('joint', ARM)
def test_trajectories_are_tracked_within_two_milliradians(world, robot, joint):
    begin_ns, worst = world.time_ns, 0.0
    offsets_s = np.array([0.02, 0.07, 0.12])
    for k in range(90):
        now_s = k * 0.05
        points = [sine(robot, joint, now_s + offset_s) for offset_s in offsets_s]
        world.command_trajectory(TrajectoryCommand(
            world.time_ns, np.round(offsets_s * 1e9).astype(np.int64),
            *(np.array(rows) for rows in zip(*points, strict=True))), world.time_ns)
        for _ in range(5):
            world.advance_to(world.time_ns + 10 * MS)
            wanted = sine(robot, joint, (world.time_ns - begin_ns) / 1e9)[0]
            worst = max(worst, np.abs(world.joints().position - wanted)[ARM].max())
    assert worst < 0.002


def test_the_gripper_closes_and_opens(world, robot):
    for target, reached in ((0.8, 0.75), (0.0, 0.05)):
        command = robot.home.copy()
        command[-1] = target
        world.command_position(command, world.time_ns)
        world.advance_to(world.time_ns + 800 * MS)
        finger = world.joints().position[-1]
        assert finger > reached if target else finger < reached


# --- success --------------------------------------------------------------------------------


def test_the_cube_at_rest_on_its_pad_is_success_once(world):
    put(world, 'red', *PADS['left'])
    world.advance_to(world.time_ns + 500 * MS)
    assert world.success
    assert world.take_success()
    assert not world.take_success()
    world.reset(0, 'fixed', 'red_left')
    assert not world.success


@pytest.mark.parametrize(('name', 'x', 'y'), [
    ('green', *PADS['left']), ('red', *PADS['right']), ('red', 0.43, 0.27 + 0.045)],
    ids=['another cube', 'another pad', 'on the edge'])
def test_anything_else_on_a_pad_is_no_success(world, name, x, y):
    put(world, name, x, y)
    world.advance_to(world.time_ns + 500 * MS)
    assert not world.success


def test_a_cube_that_lies_for_less_than_the_rest_time_is_no_success_yet(world):
    put(world, 'red', *PADS['left'])
    world.advance_to(world.time_ns + 180 * MS)
    assert not world.success


def test_a_cube_above_the_pad_is_no_success_until_it_has_come_down(world):
    put(world, 'red', *PADS['left'], z=0.25)        # falls for 0.21 s
    world.advance_to(world.time_ns + 300 * MS)
    assert not world.success
    world.advance_to(world.time_ns + 1500 * MS)
    assert world.success
