"""Conversions between the executor's snapshots and messages."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct

from builtin_interfaces.msg import Duration, Time
import numpy as np
from trajectory_msgs.msg import JointTrajectory

from chunked_vla_ros.core.executor_state import Command, ExecutorStatus, LATCHED
from chunked_vla_ros.core.types import MotionState, NS_PER_S
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes.conversions import hex_to_uuid, ns_to_stamp, point_to_msg
from chunked_vla_ros.nodes.diagnostics import ERROR, Finding, OK, WARN

# CDR, little-endian: layout.dim, layout.data_offset, length, and what aligns numbers of 8 bytes.
ARRAY_HEAD = Struct('<2s2xIII4x')
NOTHING = MotionState.at_rest(np.empty(0))


def fill_state(msg: ExecutorState, status: ExecutorStatus, stamp_ns: int,
               lateness_s: tuple[float, float]) -> None:
    """
    Set ``msg``, whose joint_names are there already, to a snapshot.

    One message for ever: building it anew takes longer than a control tick's own work.
    """
    command = status.command
    _set_time(msg.header.stamp, stamp_ns)
    msg.mode, msg.control_source, msg.reason = int(status.mode), int(status.source), status.reason
    msg.session_id = hex_to_uuid(status.session_id)
    msg.chunk_id, msg.chunk_position = status.chunk_id, status.chunk_position
    msg.buffer_left = status.buffer_left_s
    _set_time(msg.observation_age, status.observation_age_ns)
    _set_time(msg.observation_to_command, status.observation_to_command_ns)
    point, state = msg.command, command.state if command else NOTHING
    point.positions = array('d', state.position.tobytes())
    point.velocities = array('d', state.velocity.tobytes())
    point.accelerations = array('d', state.acceleration.tobytes())
    msg.limit_flags = array('B', status.limit_flags.tobytes())
    for name, count in vars(status.counters).items():
        setattr(msg, name, count)
    msg.lateness_p50, msg.lateness_p99 = lateness_s


def _set_time(msg: Time | Duration, ns: int) -> None:
    msg.sec, msg.nanosec = divmod(ns, NS_PER_S)


def finding(status: ExecutorStatus, lateness_s: tuple[float, float],
            overtaken: int) -> Finding:
    """
    Return a snapshot as a diagnostic finding (REP 107).

    :param overtaken: Chunks that newer ones replaced before a tick could take them.
    """
    level = ERROR if status.mode in LATCHED else OK if status.command is not None else WARN
    return Finding(level, f'{status.mode.name}: {status.reason}', {
        'source': status.source.name, 'chunk': status.chunk_id,
        'buffer left [s]': f'{status.buffer_left_s:.3f}',
        'tick lateness p50 [ms]': f'{lateness_s[0] * 1e3:.3f}',
        'tick lateness p99 [ms]': f'{lateness_s[1] * 1e3:.3f}',
        'overtaken chunks': overtaken, **vars(status.counters),
        'last rejection': status.last_rejection or 'none',
        **{f'rejected: {reason}': count for reason, count in status.rejections.items()}})


def array_to_cdr(command: Command) -> bytes:
    """
    Return a command as the wire bytes of a Float64MultiArray: J positions [rad], no layout.

    What rclpy's serialiser would make of the message, in two thirds of the time to publish it.
    """
    positions = command.state.position
    return ARRAY_HEAD.pack(b'\x00\x01', 0, 0, len(positions)) + positions.astype('<f8').tobytes()


def preview_to_msg(rows: Sequence[tuple[int, MotionState]], joint_names: Sequence[str],
                   start_ns: int) -> JointTrajectory:
    """Return a preview for a joint_trajectory_controller, stamped with its first point."""
    msg = JointTrajectory(joint_names=list(joint_names))
    msg.header.stamp = ns_to_stamp(start_ns)
    msg.points = [point_to_msg(state, ahead_ns) for ahead_ns, state in rows]
    return msg
