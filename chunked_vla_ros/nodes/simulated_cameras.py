"""
Publish the pictures of the simulated world: one image and one camera_info per camera.

Apart from sim_node, as a robot without a model has no pictures and must run without MuJoCo.
"""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.nodes import qos, sensor_conversions
from chunked_vla_ros.nodes.camera_loop import CameraLoop
from chunked_vla_ros.nodes.image_conversions import camera_msg, MSG_TYPES
from chunked_vla_ros.nodes.parameters import ParameterError
from chunked_vla_ros.sim.cameras import CameraRig
from chunked_vla_ros.sim.simulated_robot import SimulatedRobot
from chunked_vla_ros.sim.world import World


class SimulatedCameras:
    """
    The contract's cameras in the world of ``world``, published by ``node``.

    :raises ParameterError: if a camera of the contract is none that the simulator has.
    :raises CameraError: if nothing can be rendered.
    """

    def __init__(self, node: Node, robot: RobotSpec, world: SimulatedRobot) -> None:
        assert isinstance(world, World), 'only the MuJoCo world has something to look at'
        model = world.model
        for camera in robot.cameras:
            if camera.encoding != 'rgb8':
                raise ParameterError(
                    f'sim: camera {camera.name} has encoding {camera.encoding}, the simulator '
                    'publishes rgb8')
        self._robot = robot
        self._publishers = {
            camera.name: (
                node.create_publisher(
                    MSG_TYPES[camera.transport], camera.stream.topic, qos.SENSOR),
                node.create_publisher(CameraInfo, camera.info_topic, qos.SENSOR))
            for camera in robot.cameras}
        self._loop = CameraLoop(
            lambda: CameraRig(model, robot.cameras), robot.cameras, self._publish)
        self._infos = {
            camera.name: sensor_conversions.camera_info_msg(
                camera, self._loop.focal_px[camera.name], f'{camera.name}_optical_frame')
            for camera in robot.cameras}

    @property
    def frames(self) -> int:
        """Return how many pictures per camera there were."""
        return self._loop.frames

    @property
    def render_s(self) -> float:
        """Return the time that the newest set of pictures took in [s]."""
        return self._loop.render_s

    @property
    def alive(self) -> bool:
        """Return whether frames are rendered."""
        return self._loop.alive

    def show(self, stamp_ns: int, world: SimulatedRobot) -> None:
        """Have the present state rendered and published, unless a newer one comes before."""
        self._loop.show(stamp_ns, world.configuration())

    def close(self) -> None:
        """End the thread."""
        self._loop.close()

    def _publish(self, frames: Mapping[str, CameraFrame]) -> None:
        for name, frame in frames.items():
            image_pub, info_pub = self._publishers[name]
            info = self._infos[name]
            image = camera_msg(frame, self._robot.camera(name), info.header.frame_id)
            info.header.stamp = image.header.stamp
            image_pub.publish(image)
            info_pub.publish(info)
