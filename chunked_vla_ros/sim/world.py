"""
The simulated robot and its table, in process: start states, physics, measurements, success.

The same world runs under sim_node and inside training and evaluation, so it has no clock of its
own, no thread and no ROS: simulated time is an integer count of steps and never goes back.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray, JointSample, NS_PER_S, Pose
from chunked_vla_ros.sim.model_names import JOINTS
from chunked_vla_ros.sim.reference import TrajectoryCommand
from chunked_vla_ros.sim.scene import build_model, ROBOT_ROOT, TIMESTEP_S
from chunked_vla_ros.sim.servo import ActuatorGains, Servo
from chunked_vla_ros.sim.tasks import (
    CUBE_HALF_SIZE_M,
    CUBES,
    CubeStart,
    draw_start,
    PAD_HALF_SIZE_M,
    PADS,
    Start,
)

STEP_NS = round(TIMESTEP_S * NS_PER_S)
# As stiff as an industrial arm; the model comes with a tenth of it. [Nm/rad], [Nm s/rad]
ARM_STIFFNESS = {'shoulder': 20000.0, 'elbow': 20000.0, 'wrist': 5000.0}
ARM_DAMPING = {'shoulder': 1000.0, 'elbow': 1000.0, 'wrist': 100.0}
# Success: centre this far inside the pad, lying on the table, at rest and let go for this long.
PAD_MARGIN_M = 0.01
HEIGHT_TOLERANCE_M = 0.01
REST_SPEED_MPS = 0.02
REST_S = 0.2
CHECK_EVERY_STEPS = 10


class World:
    """
    One robot at its table.

    :ivar start: The start of the current episode.
    :ivar success: Whether the episode's task has been achieved since its start.
    :ivar step_ns: Its time is a multiple of this, in [ns].
    """

    step_ns = STEP_NS

    def __init__(self, robot: RobotSpec, model: mujoco.MjModel | None = None) -> None:
        """Put up the table at time 0; ``model`` of another world saves the second it takes."""
        self._robot = robot
        self.model = build_model() if model is None else model
        self._data = mujoco.MjData(self.model)
        joints, actuators = _places(self.model, robot)
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        self._actuators = np.array([actuator.id for actuator in actuators])
        self.servo = Servo(self._set_gains(), robot.limits.velocity, robot.command.rate_hz)
        self._cubes = {name: self.model.joint(f'cube/{name}') for name in CUBES}
        self._robot_bodies = self.model.body_rootid == self.model.body(ROBOT_ROOT).id
        self._steps = 0
        self.start = self.reset(0)

    def _set_gains(self) -> ActuatorGains:
        names = self._robot.joint_names
        is_arm = np.array([name.split('_')[0] in ARM_STIFFNESS for name in names])
        arm = self._actuators[is_arm]
        parts = [name.split('_')[0] for name, yes in zip(names, is_arm, strict=True) if yes]
        stiffness = np.array([ARM_STIFFNESS[part] for part in parts])
        self.model.actuator_gainprm[arm, 0] = stiffness
        self.model.actuator_biasprm[arm, 1] = -stiffness
        self.model.actuator_biasprm[arm, 2] = [-ARM_DAMPING[part] for part in parts]
        return ActuatorGains(
            gain=self.model.actuator_gainprm[self._actuators, 0].copy(),
            stiffness=-self.model.actuator_biasprm[self._actuators, 1],
            damping=-self.model.actuator_biasprm[self._actuators, 2],
            is_arm=is_arm)

    @property
    def time_ns(self) -> int:
        """Return the simulated time in [ns]; resets do not turn it back."""
        return self._steps * STEP_NS

    @property
    def task_name(self) -> str:
        """Return the short name of the episode's task."""
        return self.start.task.name

    @property
    def instruction(self) -> str:
        """Return the episode's task in words."""
        return self.start.task.instruction

    def reset(self, seed: int, position_set: str = '', task: str = '',
              keep_arm: bool = False) -> Start:
        """
        Begin an episode whose start the arguments alone determine.

        :raises TaskError: naming the position sets or tasks there are.
        """
        start = draw_start(seed, position_set, task)
        if not keep_arm:
            mujoco.mj_resetData(self.model, self._data)
            self._data.qpos[self._qpos] = self._robot.home
            self.servo.hold(self._robot.home)
        for name, place in zip(CUBES, start.cubes, strict=True):
            self._place(name, place)
        mujoco.mj_forward(self.model, self._data)
        self.start, self.success, self._rest_since = start, False, self._steps
        self._success_taken = False
        return start

    def take_success(self) -> bool:
        """Return True once per episode, when its task has been achieved."""
        news = self.success and not self._success_taken
        self._success_taken |= news
        return news

    def _place(self, name: str, place: CubeStart) -> None:
        joint = self._cubes[name]
        half = place.yaw / 2
        self._data.qpos[joint.qposadr[0]:][:7] = (
            place.x, place.y, CUBE_HALF_SIZE_M, np.cos(half), 0.0, 0.0, np.sin(half))
        self._data.qvel[joint.dofadr[0]:][:6] = 0.0

    def command_position(self, position: FloatArray, arrived_ns: int) -> None:
        """Command joint positions (J,) in [rad] that arrived at ``arrived_ns``, about now."""
        self.servo.command_position(position, self._data.qpos[self._qpos], arrived_ns)

    def command_trajectory(self, command: TrajectoryCommand, arrived_ns: int) -> None:
        """Command a trajectory that arrived at ``arrived_ns``, about now."""
        self.servo.command_trajectory(command, self._data.qpos[self._qpos], arrived_ns)

    def advance_to(self, time_ns: int) -> None:
        """Run physics up to the last whole step that ends by ``time_ns``."""
        while self.time_ns + STEP_NS <= time_ns:
            self._data.ctrl[self._actuators] = self.servo.input(
                self.time_ns, self._data.qfrc_bias[self._dofs])
            mujoco.mj_step(self.model, self._data)
            self._steps += 1
            if self._steps % CHECK_EVERY_STEPS == 0 and not self.success:
                self._check_success()

    def joints(self) -> JointSample:
        """Return the measured joints."""
        return JointSample(
            self.time_ns, self._data.qpos[self._qpos], self._data.qvel[self._dofs])

    def scene(self) -> dict[str, Pose]:
        """Return the pose of every cube and pad, by names such as ``cube/red``, ``pad/left``."""
        poses = {f'pad/{name}': Pose(np.array([x, y, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]))
                 for name, (x, y) in PADS.items()}
        for name, joint in self._cubes.items():
            pose = self._data.qpos[joint.qposadr[0]:][:7]
            poses[f'cube/{name}'] = Pose(pose[:3], pose[3:])
        return poses

    def configuration(self) -> FloatArray:
        """Return a copy of the model's generalised positions: all that a camera needs."""
        return np.array(self._data.qpos)

    def _check_success(self) -> None:
        if not (self._lies_on_pad() and self._is_let_go()):
            self._rest_since = self._steps
        elif (self._steps - self._rest_since) * TIMESTEP_S >= REST_S:
            self.success = True

    def _lies_on_pad(self) -> bool:
        joint = self._cubes[self.start.task.cube]
        position = self._data.qpos[joint.qposadr[0]:][:3]
        speed = self._data.qvel[joint.dofadr[0]:][:3]
        offset = np.abs(position[:2] - PADS[self.start.task.pad])
        return bool(
            np.all(offset <= PAD_HALF_SIZE_M - PAD_MARGIN_M)
            and abs(position[2] - CUBE_HALF_SIZE_M) <= HEIGHT_TOLERANCE_M
            and np.linalg.norm(speed) <= REST_SPEED_MPS)

    def _is_let_go(self) -> bool:
        """Whether no part of the robot touches the cube."""
        cube = self.model.body(f'cube/{self.start.task.cube}').id
        pairs = self.model.geom_bodyid[self._data.contact.geom]
        touching = pairs[np.any(pairs == cube, axis=1)]
        return not np.any(self._robot_bodies[touching])


def _places(model: mujoco.MjModel, robot: RobotSpec) -> tuple[list[Any], list[Any]]:
    """Return the model's joints and actuators in the contract's order."""
    unknown = [name for name in robot.joint_names if name not in JOINTS]
    if unknown:
        raise ValueError(f'{robot.name}: the simulator has no joint {unknown[0]}, it has '
                         f'{", ".join(JOINTS)}')
    names = [JOINTS[name] for name in robot.joint_names]
    return [model.joint(joint) for joint, _ in names], [model.actuator(a) for _, a in names]
