"""The composed model: what must be in it, and that simpler meshes are still the robot."""

import numpy as np
import pytest

mujoco = pytest.importorskip('mujoco')
pytest.importorskip('ogbench')

from chunked_vla_ros.sim import scene  # noqa: E402
from chunked_vla_ros.sim.looks import LOOKS  # noqa: E402
from chunked_vla_ros.sim.model_names import JOINTS  # noqa: E402


def test_every_joint_and_camera_of_the_contract_is_in_the_model(world, robot):
    joints = [world.model.joint(i).name for i in range(world.model.njnt)]
    assert all(JOINTS[name][0] in joints for name in robot.joint_names)
    cameras = {world.model.camera(i).name for i in range(world.model.ncam)}
    assert cameras == {camera.name for camera in robot.cameras}


def test_the_limits_of_the_contract_lie_within_the_model_s(world, robot):
    for joint in robot.joints:
        lower, upper = world.model.joint(JOINTS[joint.name][0]).range
        assert lower - 1e-4 <= joint.lower < joint.upper <= upper + 1e-4


def test_boxes_are_as_large_in_the_model_as_in_the_markers(world):
    for name, look in LOOKS.items():
        geom = world.model.body(name).geomadr[0]
        assert world.model.geom_size[geom] == pytest.approx(look.half_size_m)
        assert world.model.geom_rgba[geom] == pytest.approx(look.colour)


def test_reduced_meshes_keep_their_extent_and_lose_most_faces(world):
    original = scene.build_robot_model()
    assert world.model.nmeshface < 0.35 * original.nmeshface
    for index in range(original.nmesh):
        name = original.mesh(index).name
        full = scene._original_mesh(original, name)[0]
        reduced = scene._original_mesh(world.model, name)[0]
        assert np.ptp(reduced, axis=0) == pytest.approx(np.ptp(full, axis=0), abs=0.001)


def test_the_surface_of_a_large_link_has_no_holes(world):
    vertices, triangles = scene._original_mesh(world.model, 'upperarm_3')
    area = np.linalg.norm(np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]],
        vertices[triangles[:, 2]] - vertices[triangles[:, 0]]), axis=1).sum() / 2
    original = scene.build_robot_model()
    vertices, triangles = scene._original_mesh(original, 'upperarm_3')
    full = np.linalg.norm(np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]],
        vertices[triangles[:, 2]] - vertices[triangles[:, 0]]), axis=1).sum() / 2
    assert area == pytest.approx(full, rel=0.1)


def test_the_robot_weighs_what_its_descriptions_say(world):
    robot = np.flatnonzero(world.model.body_rootid == world.model.body(scene.ROBOT_ROOT).id)
    # UR5e 20.6 kg as in its description (4 + 3.7 + 8.393 + 2.275 + 3 wrists), gripper 0.9 kg.
    assert world.model.body_mass[robot].sum() == pytest.approx(22.1, abs=0.5)


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(scene, 'find_spec', lambda name: None)
    with pytest.raises(FileNotFoundError, match='pip install ogbench'):
        scene.build_model()
