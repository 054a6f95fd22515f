"""
Decide whether a chunk may be executed at all: all or nothing, with a counted reason.

Checks content, time and order; whether the arm can reach it is `core.splice`'s business. Times are
arguments. A refused chunk changes nothing here, so it can never displace a valid one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.rejection import ChunkRejected, Rejection
from chunked_vla_ros.core.types import ActionChunk, DimKind, FloatArray

LARGEST_ANGLE_RAD = 1e3
LEAST_SPACING_NS = 1_000_000
LONGEST_SPAN_NS = 60_000_000_000


@dataclass(frozen=True)
class IntakeConfig:
    """
    Tolerances in time.

    :ivar max_future_ns: How far ahead of now a chunk may start.
    :ivar max_observation_age_ns: Oldest observation that may still be acted on.
    :ivar session_lease_ns: How long a silent session keeps others out while its chunk runs.
    :ivar max_horizon: Most points in a chunk.
    """

    max_future_ns: int
    max_observation_age_ns: int
    session_lease_ns: int
    max_horizon: int


@dataclass(frozen=True)
class AlignedChunk:
    """
    An accepted chunk in the contract's joint order.

    :ivar positions: Shape (H, J) in [rad].
    :ivar due_ns: Due time of every point on the node clock, shape (H,).
    """

    source: ActionChunk
    positions: FloatArray
    due_ns: np.ndarray
    dim_kinds: tuple[DimKind, ...]


class Intake:
    """Remember which session leads and what it sent last."""

    def __init__(self, joint_names: tuple[str, ...], dim_kinds: tuple[DimKind, ...],
                 config: IntakeConfig) -> None:
        self._names, self._kinds, self._config = joint_names, dim_kinds, config
        self._last: ActionChunk | None = None
        self._last_taken_ns = 0

    def align(self, chunk: ActionChunk, now_ns: int, running: bool) -> AlignedChunk:
        """
        Return ``chunk`` in the contract's order if it may be executed at ``now_ns``.

        :raises ChunkRejected: with the reason; nothing is remembered of the chunk.
        """
        self._check_content(chunk)
        self._check_time(chunk, now_ns)
        self._check_order(chunk, now_ns, running)
        pick = [chunk.joint_names.index(name) for name in self._names]
        kinds = tuple(chunk.dim_kinds[i] for i in pick) if chunk.dim_kinds else self._kinds
        return AlignedChunk(
            chunk, chunk.positions[:, pick], chunk.start_ns + chunk.offsets_ns, kinds)

    def take(self, chunk: ActionChunk, now_ns: int) -> None:
        """Remember ``chunk`` as the newest one executed."""
        self._last, self._last_taken_ns = chunk, now_ns

    def forget(self) -> None:
        """Let any session lead; chunks already seen stay refused by their age."""
        self._last = None

    def _check_content(self, chunk: ActionChunk) -> None:
        expected, found = self._names, chunk.joint_names
        if len(found) != len(expected):
            raise ChunkRejected(
                Rejection.WRONG_WIDTH, f'{len(found)} joints, expected {len(expected)}')
        if sorted(found) != sorted(expected):
            raise ChunkRejected(
                Rejection.JOINT_NAMES, f'{", ".join(found)}; expected {", ".join(expected)}')
        if chunk.horizon < 1:
            raise ChunkRejected(Rejection.EMPTY, 'horizon 0, expected at least 1 point')
        if chunk.horizon > self._config.max_horizon:
            raise ChunkRejected(
                Rejection.TOO_LONG,
                f'{chunk.horizon} points, expected at most {self._config.max_horizon}')
        bad = ~(np.abs(chunk.positions) < LARGEST_ANGLE_RAD)    # true for NaN as well
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ChunkRejected(
                Rejection.NOT_FINITE,
                f'point {row} of {found[column]} is {chunk.positions[row, column]}')
        if chunk.offsets_ns[0] < 0 or (np.diff(chunk.offsets_ns) < LEAST_SPACING_NS).any():
            raise ChunkRejected(
                Rejection.POINT_TIMES, 'time_from_start must start at 0 s or later and increase '
                f'by at least {LEAST_SPACING_NS * 1e-9} s')
        if chunk.offsets_ns[-1] > LONGEST_SPAN_NS:
            raise ChunkRejected(
                Rejection.POINT_TIMES, f'the last point is {chunk.offsets_ns[-1] * 1e-9:.0f} s '
                f'after the stamp, at most {LONGEST_SPAN_NS * 1e-9:.0f} s')
        self._check_kinds(chunk)

    def _check_kinds(self, chunk: ActionChunk) -> None:
        """Refuse to interpolate a gripper, or to switch an arm joint like one."""
        own = dict(zip(self._names, self._kinds, strict=True))
        for name, kind in zip(chunk.joint_names, chunk.dim_kinds, strict=False):
            if (kind is DimKind.BINARY) != (own[name] is DimKind.BINARY):
                raise ChunkRejected(
                    Rejection.UNSUPPORTED,
                    f'{name} is sent as {kind.name}, the contract says {own[name].name}')

    def _check_time(self, chunk: ActionChunk, now_ns: int) -> None:
        if chunk.start_ns <= 0 or chunk.observation_ns <= 0:
            raise ChunkRejected(Rejection.ZERO_STAMP, 'header.stamp and observation_stamp are due')
        # Anyone's trajectory may take its time to reach its first point; a policy's may not.
        first_due_ns = chunk.start_ns + (0 if chunk.free_start else int(chunk.offsets_ns[0]))
        ahead_ns = max(first_due_ns, chunk.observation_ns) - now_ns
        if ahead_ns > self._config.max_future_ns:
            raise ChunkRejected(
                Rejection.FUTURE, f'{ahead_ns * 1e-9:.3f} s ahead, '
                f'at most {self._config.max_future_ns * 1e-9:.3f} s')
        age_ns = now_ns - chunk.start_ns
        if age_ns > chunk.valid_for_ns:
            raise ChunkRejected(
                Rejection.STALE,
                f'{age_ns * 1e-9:.3f} s after its stamp, '
                f'valid for {chunk.valid_for_ns * 1e-9:.3f} s')
        seen_ns = now_ns - chunk.observation_ns
        if seen_ns > self._config.max_observation_age_ns:
            raise ChunkRejected(
                Rejection.STALE, f'observation {seen_ns * 1e-9:.3f} s old, '
                f'at most {self._config.max_observation_age_ns * 1e-9:.3f} s')
        if now_ns > chunk.start_ns + int(chunk.offsets_ns[-1]) and chunk.horizon > 1:
            raise ChunkRejected(Rejection.STALE, 'every point is past')

    def _check_order(self, chunk: ActionChunk, now_ns: int, running: bool) -> None:
        last = self._last
        if last is None:
            return
        if chunk.session_id != last.session_id:
            if running and now_ns - self._last_taken_ns < self._config.session_lease_ns:
                raise ChunkRejected(
                    Rejection.FOREIGN_SESSION,
                    f'{chunk.session_id[:8]} while {last.session_id[:8]} leads')
        elif chunk.chunk_id == last.chunk_id:
            raise ChunkRejected(Rejection.DUPLICATE, f'chunk {chunk.chunk_id} was taken already')
        elif chunk.chunk_id < last.chunk_id or chunk.observation_ns < last.observation_ns:
            raise ChunkRejected(
                Rejection.OUT_OF_ORDER, f'chunk {chunk.chunk_id} after chunk {last.chunk_id}')
