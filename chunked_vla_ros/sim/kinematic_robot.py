"""
A robot's joints without physics, for contracts that no model is known for.

Each joint is where the command says at that instant, as far as its velocity and position limits
allow; there is no inertia, load, friction, lag or noise, no scene and no camera. Commands are
taken and refused by the same servo as the arm with physics. Knows nothing about ROS or MuJoCo.
"""

from __future__ import annotations

import numpy as np

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import DimKind, FloatArray, JointSample, NS_PER_S, Pose
from chunked_vla_ros.sim.reference import TrajectoryCommand
from chunked_vla_ros.sim.servo import ActuatorGains, Servo

# Half of the shortest period that controllers are served at.
STEP_NS = 1_000_000


class KinematicRobot:
    """
    The joints of ``robot``, at home to begin with.

    :ivar servo: Takes and refuses commands.
    :ivar step_ns: Its time is a multiple of this, in [ns].
    """

    step_ns = STEP_NS

    def __init__(self, robot: RobotSpec) -> None:
        self._limits, self._home = robot.limits, robot.home
        self._step = robot.limits.velocity * (STEP_NS / NS_PER_S)
        count = len(robot.joints)
        # With these gains the actuators' input is the position that they are to be at.
        gains = ActuatorGains(
            gain=np.ones(count), stiffness=np.ones(count), damping=np.zeros(count),
            is_arm=np.array([kind is not DimKind.BINARY for kind in robot.dim_kinds]))
        self.servo = Servo(gains, robot.limits.velocity, robot.command.rate_hz)
        self._no_force = np.zeros(count)
        self._steps = 0
        self._position = np.array(robot.home)
        self.reset(0)

    @property
    def time_ns(self) -> int:
        """Return the simulated time in [ns]; resets do not turn it back."""
        return self._steps * STEP_NS

    @property
    def task_name(self) -> str:
        """Return the episode's task, which is words only."""
        return self.instruction

    def reset(self, seed: int, position_set: str = '', task: str = '',
              keep_arm: bool = False) -> None:
        """Begin an episode at home; ``task`` becomes its instruction, nothing is drawn."""
        self.instruction = task
        if not keep_arm:
            self._position = np.array(self._home)
            self._velocity = np.zeros_like(self._position)
            self.servo.hold(self._home)

    def take_success(self) -> bool:
        """Return False: without a scene nothing can be achieved in it."""
        return False

    def command_position(self, position: FloatArray, arrived_ns: int) -> None:
        """Command joint positions (J,) that arrived at ``arrived_ns``, about now."""
        self.servo.command_position(position, self._position, arrived_ns)

    def command_trajectory(self, command: TrajectoryCommand, arrived_ns: int) -> None:
        """Command a trajectory that arrived at ``arrived_ns``, about now."""
        self.servo.command_trajectory(command, self._position, arrived_ns)

    def advance_to(self, time_ns: int) -> None:
        """Move up to the last whole step that ends by ``time_ns``."""
        limits = self._limits
        while self.time_ns + STEP_NS <= time_ns:
            self._steps += 1
            target = self.servo.input(self.time_ns, self._no_force)
            within = np.minimum(np.maximum(target, limits.lower), limits.upper)
            step = np.minimum(np.maximum(within - self._position, -self._step), self._step)
            self._position = self._position + step
            self._velocity = step * (NS_PER_S / STEP_NS)

    def joints(self) -> JointSample:
        """Return where the joints are and the speed of their last step."""
        return JointSample(self.time_ns, self._position, self._velocity)

    def scene(self) -> dict[str, Pose]:
        """Return no object: there is no scene."""
        return {}

    def configuration(self) -> FloatArray:
        """Return a copy of the joint positions, shape (J,)."""
        return np.array(self._position)
