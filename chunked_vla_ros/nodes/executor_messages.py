"""Conversions between the executor's snapshots and messages."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from chunked_vla_ros.core.executor_state import Command, ExecutorStatus, LATCHED
from chunked_vla_ros.core.types import MotionState
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes.conversions import (
    hex_to_uuid,
    ns_to_duration,
    ns_to_stamp,
    point_to_msg,
)
from chunked_vla_ros.nodes.diagnostics import ERROR, Finding, OK, WARN


def state_to_msg(status: ExecutorStatus, joint_names: Sequence[str], now_ns: int,
                 lateness_s: tuple[float, float]) -> ExecutorState:
    """Return a snapshot as ExecutorState; the stamp is the command's due time."""
    counters = status.counters
    msg = ExecutorState(
        mode=int(status.mode), control_source=int(status.source), reason=status.reason,
        session_id=hex_to_uuid(status.session_id), chunk_id=status.chunk_id,
        chunk_position=status.chunk_position, buffer_left=status.buffer_left_s,
        observation_age=ns_to_duration(status.observation_age_ns),
        observation_to_command=ns_to_duration(status.observation_to_command_ns),
        joint_names=list(joint_names), limit_flags=status.limit_flags.tolist(),
        accepted=counters.accepted, stale=counters.stale, rejected=counters.rejected,
        points_skipped=counters.points_skipped, holds=counters.holds, ticks=counters.ticks,
        deadline_misses=counters.deadline_misses, clamps=counters.clamps,
        lateness_p50=lateness_s[0], lateness_p99=lateness_s[1])
    msg.header.stamp = ns_to_stamp(status.command.due_ns if status.command else now_ns)
    if status.command is not None:
        msg.command = point_to_msg(status.command.state)
    return msg


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


def fill_array(msg: Float64MultiArray, command: Command) -> None:
    """Set ``msg``, for a forward_command_controller, to a command: J positions [rad]."""
    msg.data = array('d', command.state.position.tobytes())


def preview_to_msg(rows: Sequence[tuple[int, MotionState]], joint_names: Sequence[str],
                   start_ns: int) -> JointTrajectory:
    """Return a preview for a joint_trajectory_controller, stamped with its first point."""
    msg = JointTrajectory(joint_names=list(joint_names))
    msg.header.stamp = ns_to_stamp(start_ns)
    msg.points = [point_to_msg(state, ahead_ns) for ahead_ns, state in rows]
    return msg
