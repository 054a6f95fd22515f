"""
Pairs of conversions between messages and the core's vocabulary.

A malformed message raises `ChunkRejected` or `InputRejected` with one line; nothing is repaired
silently. Knows nothing about clocks: stamps pass through.
"""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Duration, Time
import numpy as np
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from unique_identifier_msgs.msg import UUID

from chunked_vla_ros.core.joint_samples import joint_sample
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.types import ActionChunk, DimKind, JointSample, MotionState, NS_PER_S
from chunked_vla_ros.msg import ActionChunk as ActionChunkMsg

MAX_POINTS = 2000
EXTERNAL_VALIDITY_NS = NS_PER_S


def stamp_to_ns(stamp: Time) -> int:
    """Return a stamp as integer nanoseconds."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def ns_to_stamp(ns: int) -> Time:
    """Return integer nanoseconds as a stamp."""
    return Time(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def duration_to_ns(duration: Duration) -> int:
    """Return a duration as integer nanoseconds."""
    return int(duration.sec) * NS_PER_S + int(duration.nanosec)


def ns_to_duration(ns: int) -> Duration:
    """Return integer nanoseconds as a duration."""
    return Duration(sec=ns // NS_PER_S, nanosec=ns % NS_PER_S)


def uuid_to_hex(uuid: UUID) -> str:
    """Return a UUID message as 32 hex digits."""
    return bytes(uuid.uuid.tolist()).hex()


def hex_to_uuid(text: str) -> UUID:
    """Return 32 hex digits, or the empty string for zeros, as a UUID message."""
    return UUID(uuid=np.frombuffer(bytes.fromhex(text or '00' * 16), dtype=np.uint8))


def joint_sample_to_msg(sample: JointSample, joint_names: Sequence[str]) -> JointState:
    """Return a joint sample as a message."""
    msg = JointState(name=list(joint_names), position=sample.position.tolist(),
                     velocity=sample.velocity.tolist())
    msg.header.stamp = ns_to_stamp(sample.stamp_ns)
    return msg


def joint_sample_from_msg(
        msg: JointState, joint_names: Sequence[str], stamp_ns: int) -> JointSample:
    """
    Return the sample of ``joint_names``, picked by name in any order.

    :raises InputRejected: as `core.joint_samples.joint_sample`.
    """
    return joint_sample(msg.name, msg.position, msg.velocity, joint_names, stamp_ns)


def chunk_to_msg(chunk: ActionChunk) -> ActionChunkMsg:
    """Return a chunk as a message."""
    msg = ActionChunkMsg(
        observation_stamp=ns_to_stamp(chunk.observation_ns),
        inference_latency=ns_to_duration(chunk.inference_latency_ns),
        valid_for=ns_to_duration(chunk.valid_for_ns),
        session_id=hex_to_uuid(chunk.session_id), chunk_id=chunk.chunk_id,
        policy_epoch=chunk.policy_epoch, frozen_prefix=chunk.frozen_prefix,
        dim_kind=[int(kind) for kind in chunk.dim_kinds], task=chunk.task,
        policy_id=chunk.policy_id)
    msg.header.stamp = ns_to_stamp(chunk.start_ns)
    msg.joint.joint_names = list(chunk.joint_names)
    msg.joint.points = [
        JointTrajectoryPoint(positions=row.tolist(), time_from_start=ns_to_duration(int(offset)))
        for row, offset in zip(chunk.positions, chunk.offsets_ns, strict=True)]
    return msg


def chunk_from_msg(msg: ActionChunkMsg) -> ActionChunk:
    """
    Return the chunk in ``msg``.

    :raises ChunkRejected: its shape is not that of H points of J joints, or its space or
        reference is not implemented.
    """
    if msg.space != ActionChunkMsg.SPACE_JOINT:
        raise ChunkRejected(Rejection.UNSUPPORTED, f'space {msg.space}, expected joint space (0)')
    if msg.reference != ActionChunkMsg.REFERENCE_ABSOLUTE:
        raise ChunkRejected(
            Rejection.UNSUPPORTED, f'reference {msg.reference}, expected absolute (0)')
    if any(kind not in tuple(DimKind) for kind in msg.dim_kind):
        raise ChunkRejected(
            Rejection.UNSUPPORTED, f'dim_kind {list(msg.dim_kind)}, expected values 0 to 2')
    names, rows, offsets = _points(msg.joint)
    if len(msg.dim_kind) not in (0, len(names)):
        raise ChunkRejected(
            Rejection.WRONG_WIDTH, f'{len(msg.dim_kind)} dim_kind for {len(names)} joints')
    return ActionChunk(
        session_id=uuid_to_hex(msg.session_id), chunk_id=int(msg.chunk_id),
        start_ns=stamp_to_ns(msg.header.stamp), observation_ns=stamp_to_ns(msg.observation_stamp),
        valid_for_ns=duration_to_ns(msg.valid_for), joint_names=names, positions=rows,
        offsets_ns=offsets, dim_kinds=tuple(DimKind(kind) for kind in msg.dim_kind),
        policy_epoch=int(msg.policy_epoch),
        inference_latency_ns=duration_to_ns(msg.inference_latency),
        frozen_prefix=int(msg.frozen_prefix), task=msg.task, policy_id=msg.policy_id)


def chunk_from_trajectory(msg: JointTrajectory, session_id: str, chunk_id: int,
                          now_ns: int) -> ActionChunk:
    """
    Return anyone's trajectory as a chunk; a zero stamp means now.

    :raises ChunkRejected: as `chunk_from_msg`.
    """
    names, rows, offsets = _points(msg)
    start_ns = stamp_to_ns(msg.header.stamp) or now_ns
    return ActionChunk(
        session_id=session_id, chunk_id=chunk_id, start_ns=start_ns, observation_ns=now_ns,
        valid_for_ns=EXTERNAL_VALIDITY_NS, joint_names=names, positions=rows, offsets_ns=offsets,
        free_start=True, policy_id='joint_trajectory_in')


def _points(msg: JointTrajectory) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    names, count = tuple(msg.joint_names), len(msg.points)
    if not count:
        raise ChunkRejected(Rejection.EMPTY, 'horizon 0, expected at least 1 point')
    if count > MAX_POINTS:
        raise ChunkRejected(Rejection.TOO_LONG, f'{count} points, expected at most {MAX_POINTS}')
    for index, point in enumerate(msg.points):
        if len(point.positions) != len(names):
            raise ChunkRejected(
                Rejection.WRONG_WIDTH,
                f'point {index} has {len(point.positions)} positions, expected {len(names)}')
    rows = np.array([point.positions for point in msg.points], dtype=np.float64)
    offsets = np.array([duration_to_ns(point.time_from_start) for point in msg.points], np.int64)
    return names, rows.reshape(count, len(names)), offsets


def point_to_msg(state: MotionState, time_from_start_ns: int = 0) -> JointTrajectoryPoint:
    """Return a motion state as a trajectory point."""
    return JointTrajectoryPoint(
        positions=state.position.tolist(), velocities=state.velocity.tolist(),
        accelerations=state.acceleration.tolist(),
        time_from_start=ns_to_duration(time_from_start_ns))
