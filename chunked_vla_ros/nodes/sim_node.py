"""
The simulated robot as a ROS node that looks like a ros2_control robot, with cameras or without.

A plain node, not a lifecycle one, as a robot's driver is. It converts and publishes; the world,
its servo and its tasks are in ``sim``. MuJoCo is imported only for a robot that it simulates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import sys
import time
from typing import Any, TYPE_CHECKING
import uuid

from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CommandKind
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import conversions, qos, sensor_conversions
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher
from chunked_vla_ros.nodes.parameters import declare, ParameterError
from chunked_vla_ros.nodes.physics_loop import PhysicsLoop
from chunked_vla_ros.nodes.runtime import run
from chunked_vla_ros.nodes.sim_report import SimReport
from chunked_vla_ros.sim.looks import LOOKS
from chunked_vla_ros.sim.simulated_robot import (
    AUTO,
    chosen_model,
    make_robot,
    MODELS,
    MUJOCO,
    SimulatedRobot,
)
from chunked_vla_ros.sim.tasks import POSITION_SETS, TaskError, TASKS
from chunked_vla_ros.srv import ResetScene

if TYPE_CHECKING:
    from chunked_vla_ros.nodes.simulated_cameras import SimulatedCameras

SCENE_RATE_HZ = 20.0
RESET_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class SimParameters:
    """Parameters of sim_node."""

    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    model: str = parameter(
        AUTO, 'mujoco: physics, scene and cameras; kinematic: joints that follow their commands '
        'within the velocity limits, nothing else; auto: mujoco where its model has the joints',
        choices=MODELS)
    seed: int = parameter(
        0, 'seed of the first episode', minimum=0, maximum=2**32 - 1)
    position_set: str = parameter(
        'random', 'where the cubes of the first episode start', choices=POSITION_SETS)
    task: str = parameter(
        '', f'task of the first episode, one of {", ".join(TASKS)}; empty: drawn from the seed; '
        'model kinematic: any instruction')
    clock: str = parameter(
        'wall', 'wall: stamps from the node clock; sim: stamps in simulated time, and /clock',
        choices=('wall', 'sim'))


class SimNode(Node):
    """Serve a robot's topics from a simulated world."""

    def __init__(self) -> None:
        super().__init__('sim')
        self._settings = declare(self, SimParameters)
        self._sim_time = self._settings.clock == 'sim'
        if not self._sim_time and self.get_parameter('use_sim_time').value:
            raise ParameterError(
                'sim: use_sim_time needs clock:=sim, or nobody would publish /clock')
        self._robot = load_robot(self._settings.robot)
        model = chosen_model(self._settings.model, self._robot)
        world = make_robot(model, self._robot, self._settings.seed, self._settings.position_set,
                           self._settings.task)
        self._episodes = 0
        self._process_id = uuid.uuid4().hex[:8]
        self._connect()
        self._cameras = self._start_cameras(world) if model == MUJOCO else None
        self._schedule()
        self._physics = PhysicsLoop(world, self._period_ns, self._after_cycle)
        self._report = SimReport(self._physics, self._cameras, world.servo, model)
        self._diagnostics = DiagnosticsPublisher(self, self._robot.name, self._report.finding)
        self._announce(
            world.task_name, world.instruction, self._settings.seed, self._stamp_ns(world))
        self._physics.start()

    def _connect(self) -> None:
        robot = self._robot
        self._joint_pub = self.create_publisher(JointState, robot.state.topic, qos.SENSOR)
        self._scene_pub = self.create_publisher(MarkerArray, 'scene', qos.STATUS)
        self._instruction_pub = self.create_publisher(String, 'instruction', qos.LATCHED)
        self._event_pub = self.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        self._clock_pub = self.create_publisher(
            Clock, '/clock', qos.SENSOR) if self._sim_time else None
        # Both kinds are served; the contract names the topic of the one that it chose.
        topics = {kind: kind.value for kind in CommandKind} | {robot.command.kind:
                                                               robot.command.topic}
        self.create_subscription(
            Float64MultiArray, topics[CommandKind.POSITION_COMMAND], self._on_position_command,
            qos.COMMAND)
        self.create_subscription(
            JointTrajectory, topics[CommandKind.JOINT_TRAJECTORY], self._on_joint_trajectory,
            qos.COMMAND)
        self.create_service(ResetScene, '~/reset_scene', self._on_reset_scene)

    def _start_cameras(self, world: SimulatedRobot) -> SimulatedCameras:
        # Rendering needs MuJoCo, which a robot without a model must not.
        from chunked_vla_ros.nodes.simulated_cameras import SimulatedCameras
        return SimulatedCameras(self, self._robot, world)

    def _schedule(self) -> None:
        """Choose the cycle, and every how many cycles each stream is published at least."""
        rate_hz = (self._robot.command if self._sim_time else self._robot.state).rate_hz
        self._period_ns = round(NS_PER_S / rate_hz)
        camera_rate_hz = max(
            (camera.stream.rate_hz for camera in self._robot.cameras), default=SCENE_RATE_HZ)
        self._cycle = 0
        # Rounded down: no stream is slower than the contract says.
        self._joints_every, self._frames_every, self._scene_every = (
            max(1, int(rate_hz / stream_hz + 1e-9))
            for stream_hz in (self._robot.state.rate_hz, camera_rate_hz, SCENE_RATE_HZ))

    def close(self) -> None:
        """End both threads; the world stops where it is."""
        self._physics.stop()
        if self._cameras is not None:
            self._cameras.close()

    # --- from the physics thread -------------------------------------------------------------

    def _stamp_ns(self, world: SimulatedRobot) -> int:
        return world.time_ns + (0 if self._sim_time else self._physics.wall_offset_ns)

    def _after_cycle(self, world: SimulatedRobot) -> None:
        stamp_ns = self._stamp_ns(world)
        if self._clock_pub is not None:
            self._clock_pub.publish(Clock(clock=conversions.ns_to_stamp(stamp_ns)))
        if self._cycle % self._joints_every == 0:
            self._publish_joints(world, stamp_ns)
        if self._cameras is not None and self._cycle % self._frames_every == 0:
            self._cameras.show(stamp_ns, world)
        if self._cameras is not None and self._cycle % self._scene_every == 0:
            self._scene_pub.publish(sensor_conversions.scene_to_msg(
                world.scene(), LOOKS, self._robot.base_frame, stamp_ns))
        if world.take_success():
            self._publish_event(EpisodeEvent.SUCCESS, stamp_ns, text=world.task_name)
        self._cycle += 1
        self._report.cycle(world.time_ns)

    def _publish_joints(self, world: SimulatedRobot, stamp_ns: int) -> None:
        msg = conversions.joint_sample_to_msg(world.joints(), self._robot.joint_names)
        msg.header.stamp = conversions.ns_to_stamp(stamp_ns)
        self._joint_pub.publish(msg)

    # --- from the executor -------------------------------------------------------------------

    def _on_position_command(self, msg: Float64MultiArray, info: Mapping[str, Any]) -> None:
        position = sensor_conversions.positions_from_msg(msg)
        self._physics.command(
            _arrival_ns(info),
            lambda world, arrived_ns: world.command_position(position, arrived_ns))

    def _on_joint_trajectory(self, msg: JointTrajectory, info: Mapping[str, Any]) -> None:
        arrived_wall_ns = _arrival_ns(info)
        start_ns = conversions.stamp_to_ns(msg.header.stamp)
        if start_ns and not self._sim_time:
            start_ns -= self._physics.wall_offset_ns
        try:
            command = sensor_conversions.trajectory_from_msg(
                msg, self._robot.joint_names, start_ns)
        except InputRejected as error:
            refusal = str(error)
            self._physics.command(arrived_wall_ns, lambda world, _: world.servo.refuse(refusal))
        else:
            self._physics.command(
                arrived_wall_ns,
                lambda world, arrived_ns: world.command_trajectory(command, arrived_ns))

    def _on_reset_scene(self, request: ResetScene.Request,
                        response: ResetScene.Response) -> ResetScene.Response:
        def reset(world: SimulatedRobot) -> tuple[str, str, int]:
            world.reset(request.seed, request.position_set, request.task, request.keep_arm)
            return world.task_name, world.instruction, self._stamp_ns(world)
        try:
            task, instruction, stamp_ns = self._physics.request(reset, RESET_TIMEOUT_S)
        except (TaskError, TimeoutError) as error:
            response.message = str(error)
            return response
        self._announce(task, instruction, request.seed, stamp_ns)
        response.success, response.message = True, f'seed {request.seed}, {task}'
        response.instruction, response.episode_id = instruction, self._episode_id
        return response

    # --- episodes ----------------------------------------------------------------------------

    @property
    def _episode_id(self) -> str:
        return f'sim-{self._process_id}-{self._episodes:04d}'

    def _announce(self, task: str, instruction: str, seed: int, stamp_ns: int) -> None:
        self._episodes += 1
        self._instruction_pub.publish(String(data=instruction))
        self._publish_event(EpisodeEvent.RESET, stamp_ns, task, float(seed))
        self._publish_event(EpisodeEvent.START, stamp_ns, task)
        self._publish_event(EpisodeEvent.TASK, stamp_ns, instruction)

    def _publish_event(self, kind: int, stamp_ns: int, text: str, value: float = 0.0) -> None:
        event = EpisodeEvent(
            episode_id=self._episode_id, type=kind, value=value, text=text,
            source=self.get_fully_qualified_name())
        event.header.stamp = conversions.ns_to_stamp(stamp_ns)
        self._event_pub.publish(event)


def _arrival_ns(info: Mapping[str, Any]) -> int:
    """Return when the middleware had the message; not every middleware says (then it is 0)."""
    return int(info['received_timestamp']) or time.time_ns()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    return run(SimNode, argv)


if __name__ == '__main__':
    sys.exit(main())
