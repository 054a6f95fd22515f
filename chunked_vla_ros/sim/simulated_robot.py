"""
What sim_node needs of a robot, with physics or without, and which of the two a contract gets.

Imports no physics engine until a robot with physics is made: a contract without a model runs
where the `sim` extra is absent. Knows nothing about ROS.
"""

from __future__ import annotations

from typing import Protocol

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray, JointSample, Pose
from chunked_vla_ros.sim.kinematic_robot import KinematicRobot
from chunked_vla_ros.sim.model_names import JOINTS
from chunked_vla_ros.sim.reference import TrajectoryCommand
from chunked_vla_ros.sim.servo import Servo
from chunked_vla_ros.sim.tasks import draw_start

AUTO, MUJOCO, KINEMATIC = MODELS = ('auto', 'mujoco', 'kinematic')


class SimulatedRobot(Protocol):
    """
    A robot in simulated time: `sim.world.World` or `sim.kinematic_robot.KinematicRobot`.

    :ivar servo: Takes and refuses commands.
    :ivar step_ns: Its time is a multiple of this, in [ns].
    """

    servo: Servo
    step_ns: int

    @property
    def time_ns(self) -> int:
        """Return the simulated time in [ns]; resets do not turn it back."""

    @property
    def task_name(self) -> str:
        """Return the short name of the episode's task."""

    @property
    def instruction(self) -> str:
        """Return the episode's task in words."""

    def reset(self, seed: int, position_set: str = '', task: str = '',
              keep_arm: bool = False) -> object:
        """Begin an episode; raises `sim.tasks.TaskError` where there is no such task."""

    def take_success(self) -> bool:
        """Return True once per episode, when its task has been achieved."""

    def command_position(self, position: FloatArray, arrived_ns: int) -> None:
        """Command joint positions (J,) that arrived at ``arrived_ns``, about now."""

    def command_trajectory(self, command: TrajectoryCommand, arrived_ns: int) -> None:
        """Command a trajectory that arrived at ``arrived_ns``, about now."""

    def advance_to(self, time_ns: int) -> None:
        """Let time run up to the last whole step that ends by ``time_ns``."""

    def joints(self) -> JointSample:
        """Return the measured joints."""

    def scene(self) -> dict[str, Pose]:
        """Return the pose of every object by name."""

    def configuration(self) -> FloatArray:
        """Return a copy of all positions that a picture would depend on."""


def chosen_model(model: str, robot: RobotSpec) -> str:
    """Return 'mujoco' or 'kinematic'; 'auto' takes MuJoCo where its model has every joint."""
    if model != AUTO:
        return model
    return MUJOCO if set(robot.joint_names) <= set(JOINTS) else KINEMATIC


def make_robot(model: str, robot: RobotSpec, seed: int, position_set: str, task: str,
               ) -> SimulatedRobot:
    """
    Return ``robot`` at the start of its first episode.

    :param model: One of `MODELS`.
    :raises TaskError: naming the position sets or tasks there are, before a model is built.
    :raises ValueError: if MuJoCo is not installed or its model lacks a joint of the contract.
    """
    made: SimulatedRobot
    if chosen_model(model, robot) == KINEMATIC:
        made = KinematicRobot(robot)
    else:
        draw_start(seed, position_set, task)
        try:
            from chunked_vla_ros.sim.world import World
        except ImportError as error:
            raise ValueError(
                f"{robot.name} is simulated by MuJoCo: {error}; install the extra 'sim', or "
                'choose model:=kinematic for its joints alone') from error
        made = World(robot)
    made.reset(seed, position_set, task)
    return made
