"""
Pairs of conversions for what a robot publishes and is commanded, but for its images.

Malformed input raises `InputRejected` with one line. Knows nothing about clocks or the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geometry_msgs.msg import Point, Quaternion, Vector3
from geometry_msgs.msg import Pose as PoseMsg
import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.core.types import FloatArray, Pose
from chunked_vla_ros.nodes.conversions import duration_to_ns, ns_to_stamp
from chunked_vla_ros.sim.looks import Look
from chunked_vla_ros.sim.reference import TrajectoryCommand


def camera_info_msg(camera: CameraSpec, focal_px: float, frame_id: str) -> CameraInfo:
    """Return the intrinsics of a camera without distortion and with square pixels; no stamp."""
    centre_x, centre_y = camera.width / 2, camera.height / 2
    msg = CameraInfo(width=camera.width, height=camera.height, distortion_model='plumb_bob')
    msg.header.frame_id = frame_id
    msg.d = [0.0] * 5
    msg.k = [focal_px, 0.0, centre_x, 0.0, focal_px, centre_y, 0.0, 0.0, 1.0]
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [focal_px, 0.0, centre_x, 0.0, 0.0, focal_px, centre_y, 0.0, 0.0, 0.0, 1.0, 0.0]
    return msg


def scene_to_msg(scene: Mapping[str, Pose], looks: Mapping[str, Look], frame_id: str,
                 stamp_ns: int) -> MarkerArray:
    """Return named poses as boxes; the name is the marker's namespace."""
    return MarkerArray(markers=[
        _marker(name, pose, looks[name], frame_id, stamp_ns) for name, pose in scene.items()])


def _marker(name: str, pose: Pose, look: Look, frame_id: str, stamp_ns: int) -> Marker:
    marker = Marker(ns=name, type=Marker.CUBE, action=Marker.ADD)
    marker.header.stamp, marker.header.frame_id = ns_to_stamp(stamp_ns), frame_id
    (x, y, z), (w, qx, qy, qz) = pose.position.tolist(), pose.quaternion.tolist()
    marker.pose = PoseMsg(
        position=Point(x=x, y=y, z=z), orientation=Quaternion(w=w, x=qx, y=qy, z=qz))
    marker.scale = Vector3(**{
        axis: 2 * half_m for axis, half_m in zip('xyz', look.half_size_m, strict=True)})
    marker.color = ColorRGBA(**dict(zip('rgba', look.colour, strict=True)))
    return marker


def scene_from_msg(msg: MarkerArray) -> dict[str, Pose]:
    """
    Return the poses by name.

    :raises InputRejected: a value is not finite.
    """
    scene = {}
    for marker in msg.markers:
        position, turn = marker.pose.position, marker.pose.orientation
        pose = Pose(np.array([position.x, position.y, position.z]),
                    np.array([turn.w, turn.x, turn.y, turn.z]))
        if not (np.isfinite(pose.position).all() and np.isfinite(pose.quaternion).all()):
            raise InputRejected(f'scene: the pose of {marker.ns} is not finite')
        scene[marker.ns] = pose
    return scene


def positions_from_msg(msg: Float64MultiArray) -> FloatArray:
    """Return a position command as an array of whatever length it has."""
    return np.array(msg.data, dtype=np.float64)


def trajectory_from_msg(
        msg: JointTrajectory, joint_names: Sequence[str], start_ns: int) -> TrajectoryCommand:
    """
    Return a trajectory that names every joint once, in any order, to start at ``start_ns``.

    Velocities count only if every point has them, accelerations only beside velocities.

    :raises InputRejected: as joint_trajectory_controller would refuse it.
    """
    if sorted(msg.joint_names) != sorted(joint_names):
        raise InputRejected(
            f'joint_trajectory names {list(msg.joint_names)}, expected {list(joint_names)}')
    if not msg.points:
        raise InputRejected('joint_trajectory has no points')
    offsets = np.array([duration_to_ns(p.time_from_start) for p in msg.points], dtype=np.int64)
    if offsets[0] < 0 or np.any(np.diff(offsets) <= 0):
        raise InputRejected('joint_trajectory: time_from_start does not increase')
    order = [list(msg.joint_names).index(name) for name in joint_names]
    positions = _rows(msg, 'positions', order)
    if positions is None:
        raise InputRejected('joint_trajectory: a point has no positions')
    velocities = _rows(msg, 'velocities', order)
    accelerations = None if velocities is None else _rows(msg, 'accelerations', order)
    return TrajectoryCommand(start_ns, offsets, positions, velocities, accelerations)


def _rows(msg: JointTrajectory, name: str, order: list[int]) -> FloatArray | None:
    """Return one quantity of every point as (P, J), or None if a point leaves it out."""
    rows = [getattr(point, name) for point in msg.points]
    if any(len(row) not in (0, len(order)) for row in rows):
        raise InputRejected(f'joint_trajectory: {name} of a point are not {len(order)} values')
    if not all(len(row) for row in rows):
        return None
    values = np.array(rows, dtype=np.float64)[:, order]
    if not np.isfinite(values).all():
        raise InputRejected(f'joint_trajectory: {name} of a point are not finite')
    return values
