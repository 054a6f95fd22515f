"""
What the executor will do next, for controllers that follow trajectories.

The preview ends with a stop: should the executor's process die, the controller ends at rest.
"""

from __future__ import annotations

from chunked_vla_ros.core.chunk_follower import ChunkFollower
from chunked_vla_ros.core.curves import Curve
from chunked_vla_ros.core.guard import Guard
from chunked_vla_ros.core.types import MotionState


def preview(followed: ChunkFollower | Curve | None, guard: Guard, t_ns: int,
            present: MotionState, ahead_ns: range) -> list[tuple[int, MotionState]]:
    """
    Return (nanoseconds from now, state) along what is followed, then down to rest.

    :param followed: The chunk or the teleoperation move under way; None at rest.
    :param ahead_ns: Offsets to sample at; its step spaces the stop too.
    """
    rows = [(0, present)]
    for ahead in ahead_ns:
        before_ns, before = rows[-1]
        if followed is None or t_ns + ahead >= followed.end_ns:
            break
        state = (followed.state_at(t_ns + ahead, before) if isinstance(followed, ChunkFollower)
                 else followed.state_at(t_ns + ahead))
        if (guard.step_violation(before, state, (ahead - before_ns) * 1e-9)
                or guard.violation(state, t_ns + ahead)):
            break
        rows.append((ahead, state))
    last_ns, last = rows[-1]
    stop = guard.stop(0, last)
    # At least one: a trajectory that ends now has ended when it arrives, and is refused.
    steps = max(-(-stop.end_ns // ahead_ns.step), 1)
    return rows + [(last_ns + k * ahead_ns.step, stop.state_at(k * ahead_ns.step))
                   for k in range(1, steps + 1)]
