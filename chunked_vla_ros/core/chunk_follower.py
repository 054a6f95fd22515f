"""
Follow chunks: take one in, join it, and say where in it the arm is.

Owns the running chunk; the executor owns modes and commands. Times named ``node_ns`` are on the
node clock, ``t_ns`` on the motion clock.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from chunked_vla_ros.core.binary_track import BinaryTrack
from chunked_vla_ros.core.executor_state import ExecutorConfig
from chunked_vla_ros.core.intake import AlignedChunk, Intake, IntakeConfig
from chunked_vla_ros.core.profiles import Profiles
from chunked_vla_ros.core.rejection import Rejection
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.splice import check_distance, Splice, Splicer
from chunked_vla_ros.core.types import ActionChunk, DimKind, FloatArray, JointSample, MotionState

TURN_RAD = 2 * np.pi


class ChunkFollower:
    """The newest accepted chunk as a motion; replaced only by a chunk that can be joined."""

    def __init__(self, robot: RobotSpec, config: ExecutorConfig, profiles: Profiles) -> None:
        self._config = config
        self._intake = Intake(robot.joint_names, robot.dim_kinds, IntakeConfig(
            max_future_ns=round(config.max_future_s * 1e9),
            max_observation_age_ns=round(config.max_observation_age_s * 1e9),
            session_lease_ns=round(config.session_lease_s * 1e9),
            max_horizon=config.max_horizon))
        self._splicer = Splicer(robot.limits, profiles)
        self._track = BinaryTrack(robot.limits, profiles)
        self._chunk: AlignedChunk | None = None
        self._splice: Splice | None = None
        self._binary, self._switches = np.zeros(len(robot.joints), dtype=bool), False
        self._aimed_row = -1    # of the chunk being followed; its switch is under way
        self._between_knots_ns: list[float] = []    # where the nearest row changes

    @property
    def chunk(self) -> ActionChunk | None:
        """Return the chunk being followed."""
        return self._chunk.source if self._chunk else None

    @property
    def limit_flags(self) -> np.ndarray:
        """Return the LIMIT_* bits that changed the present motion, shape (J,)."""
        return self._splice.flags if self._splice else np.zeros(len(self._binary), np.uint8)

    @property
    def ends_at_rest(self) -> bool:
        """Return whether the chunk was a motion that ends by itself."""
        return self._splice is not None and self._splice.at_rest

    def release(self) -> None:
        """Stop following; what was seen stays refused."""
        self._chunk = self._splice = None
        self._track.release()

    def clock_was_set(self) -> None:
        """Forget order and sessions: stamps from before mean nothing now."""
        self._intake.forget()

    def take(self, chunk: ActionChunk, node_ns: int, t_ns: int, present: MotionState,
             measured: JointSample | None) -> int:
        """
        Follow ``chunk`` from ``present`` on; return how many of its points are already past.

        :param measured: The measured joints if the arm is at rest: the chunk must begin there.
        :raises ChunkRejected: the chunk is refused and the one before goes on.
        """
        aligned = self._intake.align(chunk, node_ns, running=self._splice is not None)
        kinds = np.array(aligned.dim_kinds)
        binary = kinds == DimKind.BINARY
        positions = _unwrapped(aligned.positions, present.position, kinds == DimKind.WRAPPED)
        due_ns = aligned.due_ns - node_ns + t_ns
        at_rest = measured is not None
        tolerance_rad = self._splicer.allowed_distance(
            self._config.start_tolerance_rad if at_rest else self._config.jump_tolerance_rad,
            int(due_ns[0]) - t_ns if chunk.free_start else 0)
        if measured is not None:
            _check_start(positions, due_ns, t_ns, measured, binary, tolerance_rad)
        masked = MotionState(present.position, np.where(binary, 0.0, present.velocity),
                             np.where(binary, 0.0, present.acceleration))
        splice = self._splicer.join(
            t_ns, masked, due_ns, np.where(binary, present.position, positions), ~binary,
            tolerance_rad)
        self._intake.take(chunk, node_ns)
        self._chunk = AlignedChunk(chunk, positions, due_ns, aligned.dim_kinds)
        self._splice, self._aimed_row = splice, -1
        knots_ns = splice.knots_ns
        self._between_knots_ns = ((knots_ns[1:] + knots_ns[:-1]) / 2).tolist()
        self._binary, self._switches = binary, bool(binary.any())
        return int((due_ns <= t_ns).sum())

    def aim_binary(self, t_ns: int, present: MotionState) -> None:
        """Start to switch binary dimensions if the point nearest in time asks for it."""
        if self._switches and self._splice is not None and self._chunk is not None:
            row = bisect_left(self._between_knots_ns, t_ns)
            if row != self._aimed_row and self._track.aim(
                    t_ns, present, self._chunk.positions[row], self._binary):
                self._aimed_row = row

    def state_at(self, t_ns: int, present: MotionState) -> MotionState:
        """Return the state at ``t_ns``; binary dimensions stay where ``present`` has them."""
        assert self._splice is not None
        state = self._splice.curve.state_at(t_ns)
        if not self._switches:
            return state
        return self._track.overlay(t_ns, state, present.position, self._binary)

    @property
    def end_ns(self) -> int:
        """Return when the motion ends, 0 if there is none."""
        return self._splice.curve.end_ns if self._splice else 0

    def buffer_left_s(self, t_ns: int) -> float:
        """Return how much motion is left in [s]."""
        return max(self.end_ns - t_ns, 0) * 1e-9

    def chunk_position(self, t_ns: int) -> float:
        """Return the fractional index of the point being executed, in [0, H - 1]."""
        if self._splice is None:
            return 0.0
        knots_ns = self._splice.knots_ns
        return float(np.interp(t_ns - int(knots_ns[0]), knots_ns - knots_ns[0],
                               np.arange(len(knots_ns))))


def _check_start(positions: FloatArray, due_ns: np.ndarray, t_ns: int, measured: JointSample,
                 binary: np.ndarray, tolerance_rad: FloatArray) -> None:
    """Refuse a first chunk whose present point is not where the arm is measured to be."""
    index = np.interp(float(t_ns - due_ns[0]), (due_ns - due_ns[0]).astype(float),
                      np.arange(len(due_ns)))
    low = int(index)
    high = min(low + 1, len(due_ns) - 1)
    start = positions[low] + (index - low) * (positions[high] - positions[low])
    check_distance(np.where(binary, measured.position, start), measured.position, tolerance_rad,
                   Rejection.START_POSE, 'measured')


def _unwrapped(positions: FloatArray, present: FloatArray, wrapped: np.ndarray) -> FloatArray:
    """Return ``positions`` with wrapped columns moved by whole turns, next to ``present``."""
    if not wrapped.any():
        return positions
    continuous = np.unwrap(positions, axis=0)
    turns = np.round((present - continuous[0]) / TURN_RAD) * TURN_RAD
    return np.where(wrapped, continuous + turns, positions)
