"""
The scripted pick-and-place expert: one more policy, which knows where everything is.

It plans a whole motion from joint states, scene and instruction, and hands it out slice by slice
as time goes by. It plans anew when the task changes, the cube is not where it should be, or the
arm is not where it was sent. Knows nothing about ROS, clocks or the world's physics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.policy import ActionPlan, PolicyError, PolicySpec
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray, NS_PER_S, Observation, Pose
from chunked_vla_ros.sim.kinematics import ArmKinematics, UnreachableError, wrap
from chunked_vla_ros.sim.motion import Motion, MotionBuilder
from chunked_vla_ros.sim.scene import build_robot_model
from chunked_vla_ros.sim.tasks import (
    CUBE_HALF_SIZE_M,
    PAD_HALF_SIZE_M,
    parse_instruction,
    Task,
    TaskError,
)

STEP_S = 0.05
HORIZON = 16
# Shares of the contract's velocity, acceleration and jerk: what is left is for whoever executes
# the motion between its points.
LIMIT_SHARES = (0.7, 0.8, 0.6)
TRAVEL_HEIGHT_M = 0.14
GRASP_HEIGHT_M = CUBE_HALF_SIZE_M
RELEASE_HEIGHT_M = CUBE_HALF_SIZE_M + 0.003
CLOSE_S = 0.6
OPEN_S = 0.45
# Plan anew when the arm is this far from the plan, or the cube from where it was to be taken.
ARM_DEVIATION_RAD = 0.12
CUBE_DEVIATION_M = 0.015
# Held: the fingers are closed by more than this share of their way, the cube is between them.
HOLDING_SHARE = 0.3
HELD_WITHIN_M = 0.03
CARRIED_HEIGHT_M = 0.05
PLACED_MARGIN_M = 0.015
MOVING_RADPS = 0.02
UNTOUCHED_PHASES = frozenset({'stop', 'raise', 'reach'})
CARRIED_PHASES = frozenset({'carry'})


@dataclass(frozen=True)
class _Plan:
    """A motion under way: what it is for, when it began, and where the cube was then."""

    task: Task
    begin_ns: int
    motion: Motion
    cube: FloatArray


class ScriptedExpert:
    """A `Policy` that reads the simulator's state."""

    def __init__(self, robot: RobotSpec) -> None:
        if robot.gripper is None:
            raise ValueError(f'{robot.name} has no gripper, which the scripted expert needs')
        self._gripper = robot.gripper
        self._column = robot.joint_names.index(robot.gripper.joint)
        self._arm = robot.arm_columns
        self._home = robot.home[self._arm]
        limits = robot.limits
        self._limits = tuple(
            share * limit[self._arm] for share, limit in zip(
                LIMIT_SHARES, (limits.velocity, limits.acceleration, limits.jerk), strict=True))
        self._kinematics = ArmKinematics(
            build_robot_model(), [robot.joint_names[i] for i in self._arm])
        self._plan: _Plan | None = None
        self._spec = PolicySpec(
            policy_id='expert', joint_names=robot.joint_names, dim_kinds=robot.dim_kinds,
            step_s=STEP_S, horizon=HORIZON, needs_instruction=True, needs_scene=True)

    @property
    def spec(self) -> PolicySpec:
        """Return what the policy is and needs."""
        return self._spec

    def reset(self) -> None:
        """Forget the motion under way."""
        self._plan = None

    def plan(self, observation: Observation) -> ActionPlan:
        """
        Return the slice of the motion that begins at the observation's stamp.

        :raises PolicyError: instruction not understood, object not in the scene or out of reach.
        """
        return self.plan_ahead(observation, STEP_S * np.arange(HORIZON, dtype=np.float64))

    def plan_ahead(self, observation: Observation, ahead_s: FloatArray) -> ActionPlan:
        """
        Return where the motion is so long after the observation's stamp, shape (H,) in [s].

        Somebody for whom time passes slower plans by this: the stamps are of that time, too.

        :raises PolicyError: as `plan`.
        """
        try:
            task = parse_instruction(observation.instruction)
            scene = _TaskScene.of(observation, task)
            if self._plan is None or self._is_outdated(self._plan, observation, task, scene):
                self._plan = self._begin(observation, task, scene)
        except (TaskError, UnreachableError) as error:
            raise PolicyError(str(error)) from error
        elapsed_s = (observation.stamp_ns - self._plan.begin_ns) / NS_PER_S
        rows = self._plan.motion.at(elapsed_s + ahead_s, stepped=-1)
        positions = np.empty_like(rows)
        positions[:, self._arm], positions[:, self._column] = rows[:, :-1], rows[:, -1]
        done = elapsed_s >= self._plan.motion.duration_s and scene.is_placed
        return ActionPlan(positions, done, self._plan.motion.phase(elapsed_s))

    def _is_outdated(self, plan: _Plan, observation: Observation, task: Task,
                     scene: _TaskScene) -> bool:
        elapsed_s = (observation.stamp_ns - plan.begin_ns) / NS_PER_S
        if task != plan.task or elapsed_s < 0.0:
            return True
        planned = plan.motion.at(np.array([elapsed_s]), stepped=-1)[0, :-1]
        if np.abs(planned - observation.joints.position[self._arm]).max() > ARM_DEVIATION_RAD:
            return True
        phase = plan.motion.phase(elapsed_s)
        if phase in UNTOUCHED_PHASES:
            return bool(np.linalg.norm(scene.cube.position - plan.cube) > CUBE_DEVIATION_M)
        if phase in CARRIED_PHASES:
            return bool(scene.cube.position[2] < CARRIED_HEIGHT_M)
        return elapsed_s >= plan.motion.duration_s and not scene.is_placed

    def _begin(self, observation: Observation, task: Task, scene: _TaskScene) -> _Plan:
        """Plan the rest of the task from the state that is."""
        joints = observation.joints
        arm, velocity = joints.position[self._arm], joints.velocity[self._arm]
        held = self._is_held(joints.position, scene.cube)
        gripper = self._gripper.closed if held else self._gripper.open
        builder = MotionBuilder(arm, gripper, self._limits)
        if np.abs(velocity).max() > MOVING_RADPS:
            builder.stop(velocity)
        self._raise(builder)
        if not (held or scene.is_placed):
            self._pick(builder, scene.cube)
        if not scene.is_placed:
            self._place(builder, scene.pad)
        builder.move('home', self._home)
        return _Plan(task, observation.stamp_ns, builder.build(), scene.cube.position)

    def _is_held(self, position: FloatArray, cube: Pose) -> bool:
        tool, _ = self._kinematics.tool(position[self._arm])
        closing = ((position[self._column] - self._gripper.open)
                   / (self._gripper.closed - self._gripper.open))
        return bool(closing > HOLDING_SHARE and cube.position[2] > CARRIED_HEIGHT_M
                    and np.linalg.norm(tool - cube.position) < HELD_WITHIN_M)

    def _raise(self, builder: MotionBuilder) -> None:
        """From down between the objects, go straight up first."""
        tool, yaw = self._kinematics.tool(builder.end)
        if tool[2] < TRAVEL_HEIGHT_M - 0.02:
            self._vertical(builder, 'raise', tool, yaw, TRAVEL_HEIGHT_M)

    def _pick(self, builder: MotionBuilder, cube: Pose) -> None:
        above = np.append(cube.position[:2], TRAVEL_HEIGHT_M)
        yaw = _nearest_face(cube)
        builder.move('reach', self._kinematics.solve(above, yaw, self._home))
        self._vertical(builder, 'descend', above, yaw, GRASP_HEIGHT_M)
        builder.wait('close', CLOSE_S, self._gripper.closed)
        self._vertical(builder, 'lift', above, yaw, TRAVEL_HEIGHT_M)

    def _place(self, builder: MotionBuilder, pad: Pose) -> None:
        above = np.append(pad.position[:2], TRAVEL_HEIGHT_M)
        builder.move('carry', self._kinematics.solve(above, 0.0, self._home))
        self._vertical(builder, 'lower', above, 0.0, RELEASE_HEIGHT_M)
        builder.wait('open', OPEN_S, self._gripper.open)
        self._vertical(builder, 'leave', above, 0.0, TRAVEL_HEIGHT_M)

    def _vertical(self, builder: MotionBuilder, phase: str, place: FloatArray, yaw: float,
                  height_m: float) -> None:
        """Move the tool straight up or down over ``place``: a quartic through five solutions."""
        start_m = float(self._kinematics.tool(builder.end)[0][2])
        shares = np.linspace(0.0, 1.0, 5)
        knots = [builder.end]
        for share in shares[1:]:
            target = np.append(place[:2], start_m + share * (height_m - start_m))
            knots.append(self._kinematics.solve(target, yaw, knots[-1]))
        coefficients = np.linalg.solve(np.vander(shares), np.array(knots))
        builder.follow(phase, lambda s: np.vander(s, len(shares)) @ coefficients)


@dataclass(frozen=True)
class _TaskScene:
    """The two objects of a task."""

    cube: Pose
    pad: Pose

    @staticmethod
    def of(observation: Observation, task: Task) -> _TaskScene:
        names = (f'cube/{task.cube}', f'pad/{task.pad}')
        missing = [name for name in names if name not in observation.scene]
        if missing:
            raise TaskError(f'the scene has no {missing[0]}, only '
                            f'{", ".join(sorted(observation.scene)) or "nothing"}')
        return _TaskScene(*(observation.scene[name] for name in names))

    @property
    def is_placed(self) -> bool:
        """Return whether the cube lies well inside the pad."""
        offset = np.abs(self.cube.position - self.pad.position)
        return bool(np.all(offset[:2] <= PAD_HALF_SIZE_M - PLACED_MARGIN_M)
                    and offset[2] <= 1.5 * CUBE_HALF_SIZE_M)


def _nearest_face(cube: Pose) -> float:
    """Return the yaw within 45 degrees of 0 at which the fingers meet two faces of the cube."""
    w, x, y, z = cube.quaternion
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return wrap(4 * yaw) / 4
