"""
Compose the MuJoCo model: UR5e, Robotiq 2F-85, a table with cubes and pads, two cameras.

Robot descriptions come from the ogbench wheel and are read where they lie. Knows nothing about
ROS, time or control; every name that the rest of the simulator looks up in the model is here.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import fast_simplification
import mujoco
import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.sim.looks import LOOKS
from chunked_vla_ros.sim.model_names import GRIPPER_PREFIX
from chunked_vla_ros.sim.tasks import CUBE_HALF_SIZE_M, CUBES, PADS

TIMESTEP_S = 0.002
PINCH_SITE = f'{GRIPPER_PREFIX}pinch'
ROBOT_ROOT = 'base'

CUBE_DENSITY = 1240.0
# A software renderer is bound by vertices: a fifth of the faces costs a third of the time, and
# small parts, which lose their shape first, are left as they are.
KEPT_FACES = 0.2
SMALLEST_REDUCED_MESH = 1000
# The default of 7 is faster and throws vertices up to 8 cm out; with 2 they stay within 1 mm.
AGGRESSIVENESS = 2


def build_model() -> mujoco.MjModel:
    """
    Return the compiled model.

    :raises FileNotFoundError: if the ogbench wheel is not installed.
    """
    scene = _robot()
    scene.option.timestep = TIMESTEP_S
    _add_surroundings(scene)
    _add_objects(scene)
    _reduce_meshes(scene)
    return scene.compile()


def build_robot_model() -> mujoco.MjModel:
    """
    Return the robot alone, as it is described: enough for kinematics and quicker to build.

    :raises FileNotFoundError: if the ogbench wheel is not installed.
    """
    return _robot().compile()


def _descriptions() -> Path:
    spec = find_spec('ogbench')
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            'the simulator needs the robot models of the ogbench wheel: pip install ogbench')
    return Path(spec.origin).parent / 'manipspace' / 'descriptions'


def _robot() -> mujoco.MjSpec:
    folder = _descriptions()
    arm = mujoco.MjSpec.from_file(str(folder / 'universal_robots_ur5e' / 'ur5e.xml'))
    gripper = mujoco.MjSpec.from_file(str(folder / 'robotiq_2f85' / '2f85.xml'))
    for key in list(arm.keys):      # they name the arm's joints only and would not fit
        arm.delete(key)
    for light in list(arm.lights):
        arm.delete(light)
    # What the gripper's contacts ask for; attaching keeps the parent's options.
    arm.option.cone = gripper.option.cone
    arm.option.impratio = gripper.option.impratio
    arm.attach(gripper, prefix=GRIPPER_PREFIX, site=arm.site('attachment_site'))
    arm.body(f'{GRIPPER_PREFIX}base_mount').add_camera(
        name='wrist', pos=(0.0, 0.07, 0.0), quat=(0.0, 0.0, 1.0, 0.0), fovy=75.0)
    return arm


def _add_surroundings(scene: mujoco.MjSpec) -> None:
    scene.visual.headlight.ambient = (0.35, 0.35, 0.35)
    scene.visual.headlight.diffuse = (0.4, 0.4, 0.4)
    scene.visual.headlight.specular = (0.0, 0.0, 0.0)
    scene.visual.map.znear = 0.02
    scene.visual.map.zfar = 10.0
    scene.stat.extent = 1.0
    # Shadows and multisampling are nine tenths of a frame on a CPU.
    scene.visual.quality.offsamples = 0
    scene.visual.quality.shadowsize = 0
    scene.worldbody.add_light(
        name='ceiling', pos=(0.3, 0.0, 2.0), dir=(0.0, 0.2, -1.0), diffuse=(0.5, 0.5, 0.5),
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=False)
    scene.add_texture(
        name='table', type=mujoco.mjtTexture.mjTEXTURE_2D, width=256, height=256,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER, rgb1=(0.52, 0.53, 0.55),
        rgb2=(0.60, 0.61, 0.63))
    table = scene.add_material(name='table', texrepeat=(8, 8), texuniform=True)
    table.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = 'table'
    scene.add_texture(
        name='sky', type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=64, height=384,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, rgb1=(0.78, 0.82, 0.86),
        rgb2=(0.40, 0.44, 0.50))
    scene.worldbody.add_geom(
        name='table', type=mujoco.mjtGeom.mjGEOM_PLANE, size=(1.5, 1.5, 0.01), material='table')
    scene.worldbody.add_camera(
        name='front', pos=(1.28, 0.0, 0.66), fovy=48.0,
        xyaxes=(0.0, 1.0, 0.0, -0.42, 0.0, 0.9075))


def _add_objects(scene: mujoco.MjSpec) -> None:
    for name, (x, y) in PADS.items():
        look = LOOKS[f'pad/{name}']
        pad = scene.worldbody.add_body(name=f'pad/{name}', pos=(x, y, look.half_size_m[2]))
        pad.add_geom(        # to be seen, not touched
            type=mujoco.mjtGeom.mjGEOM_BOX, contype=0, conaffinity=0, rgba=look.colour,
            size=look.half_size_m)
    for name in CUBES:
        look = LOOKS[f'cube/{name}']
        cube = scene.worldbody.add_body(name=f'cube/{name}', pos=(0.0, 0.0, CUBE_HALF_SIZE_M))
        cube.add_freejoint(name=f'cube/{name}')
        cube.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=look.half_size_m, rgba=look.colour,
            density=CUBE_DENSITY, solref=(0.004, 1.0))


def _reduce_meshes(scene: mujoco.MjSpec) -> None:
    """Replace large meshes by simpler ones; masses are stated in the files and do not change."""
    model = scene.copy().compile()
    for mesh in scene.meshes:
        faces = int(model.mesh(mesh.name).facenum[0])
        if faces < SMALLEST_REDUCED_MESH:
            continue
        vertices, triangles = _original_mesh(model, mesh.name)
        vertices, triangles = fast_simplification.simplify(
            vertices, triangles, target_reduction=1.0 - KEPT_FACES,
            agg=AGGRESSIVENESS)
        mesh.file, mesh.scale = '', (1.0, 1.0, 1.0)
        mesh.uservert = vertices.astype(np.float32).ravel()
        mesh.userface = triangles.astype(np.int32).ravel()


def _original_mesh(
        model: mujoco.MjModel, name: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return vertices (V, 3) in [m] and triangles (F, 3); compiling had centred the vertices."""
    index = model.mesh(name).id
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.mesh_quat[index])
    start, count = model.mesh_vertadr[index], model.mesh_vertnum[index]
    vertices = model.mesh_vert[start:start + count] @ rotation.reshape(3, 3).T
    start, count = model.mesh_faceadr[index], model.mesh_facenum[index]
    triangles = model.mesh_face[start:start + count]
    # Files with normals repeat a vertex per face; left apart, the simpler mesh falls to pieces.
    vertices, welded = np.unique(
        np.round(vertices + model.mesh_pos[index], 6), axis=0, return_inverse=True)
    return vertices.astype(np.float32), welded.ravel()[triangles].astype(np.int32)
