"""Pictures: the right size, the right way up, showing what is there."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')

from chunked_vla_ros.sim.cameras import CameraError, CameraRig
from chunked_vla_ros.sim.looks import LOOKS


@pytest.fixture(scope='module')
def rig(_world, robot):
    try:
        rig = CameraRig(_world.model, robot.cameras)
    except CameraError as error:
        pytest.skip(str(error))
    yield rig
    rig.close()


def coloured(pixels, name):
    """Return row and column, as shares of the picture, of the pixels of an object's hue."""
    colour = np.array(LOOKS[name].colour[:3])
    # By direction in colour space, as light and shade change the length only.
    unit = pixels / np.maximum(np.linalg.norm(pixels, axis=2, keepdims=True), 1.0)
    rows, columns = np.nonzero(unit @ (colour / np.linalg.norm(colour)) > 0.97)
    assert len(rows) > 10, f'{name} is not in the picture'
    return rows.mean() / pixels.shape[0], columns.mean() / pixels.shape[1]


def test_pictures_have_the_size_of_the_contract(rig, world, robot):
    pictures = rig.render(world.configuration())
    assert set(pictures) == {'front', 'wrist'}
    for camera in robot.cameras:
        assert pictures[camera.name].shape == (camera.height, camera.width, 3)
        assert pictures[camera.name].dtype == np.uint8


def test_the_front_camera_looks_at_the_robot_so_its_left_is_on_the_right(rig, world):
    front = rig.render(world.configuration())['front']
    left, right = coloured(front, 'pad/left'), coloured(front, 'pad/right')
    assert left[1] > 0.6
    assert right[1] < 0.4
    assert left[0] > 0.6        # the table is in the lower half: the picture is the right way up


def test_a_cube_moves_in_the_picture_as_on_the_table(rig, world):
    world._data.joint('cube/red').qpos[:2] = (0.45, -0.10)
    before = coloured(rig.render(world.configuration())['front'], 'cube/red')
    world._data.joint('cube/red').qpos[:2] = (0.45, 0.10)
    after = coloured(rig.render(world.configuration())['front'], 'cube/red')
    assert after[1] > before[1] + 0.1
    assert after[0] == pytest.approx(before[0], abs=0.02)


def test_the_focal_length_predicts_where_a_cube_is_seen(rig, world, robot):
    world._data.joint('cube/green').qpos[:2] = (0.45, 0.15)
    row, column = coloured(rig.render(world.configuration())['front'], 'cube/green')
    camera = world.model.camera('front').id
    view = world.model.cam_pos[camera], world._data.cam_xmat[camera].reshape(3, 3)
    x, y, z = view[1].T @ (np.array([0.45, 0.15, 0.02]) - view[0])
    focal = rig.focal_px('front') / robot.camera('front').width
    assert column == pytest.approx(0.5 + focal * x / -z, abs=0.01)
    assert row == pytest.approx(0.5 - focal * y / -z, abs=0.015)


def test_the_wrist_camera_sees_the_fingers(rig, world):
    open_view = rig.render(world.configuration())['wrist'].astype(int)
    command = world.joints().position.copy()
    command[-1] = 0.8
    world.command_position(command, world.time_ns)
    world.advance_to(world.time_ns + 600_000_000)
    closed_view = rig.render(world.configuration())['wrist'].astype(int)
    changed = np.abs(open_view - closed_view).max(axis=2) > 30
    assert changed[112:].mean() > 0.03
    assert changed[:56].mean() < 0.01


def test_the_picture_depends_on_the_configuration_alone(rig, world):
    configuration = world.configuration()
    first = rig.render(configuration)['front']
    world.advance_to(world.time_ns + 50_000_000)
    rig.render(world.configuration())
    assert np.array_equal(rig.render(configuration)['front'], first)


def test_a_camera_that_is_not_in_the_model_is_named(world, robot):
    camera = dataclasses.replace(robot.cameras[0], name='ceiling')
    with pytest.raises(CameraError, match='camera ceiling is not in the simulator'):
        CameraRig(world.model, [camera])
