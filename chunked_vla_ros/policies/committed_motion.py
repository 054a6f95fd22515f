"""
What the arm goes on following while the next plan is made: of the run's newest chunk.

A chunk that was published need not be followed: the executor may have refused it, stopped, or
obeyed a person since. What it says of itself counts. Knows no clock and no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chunked_vla_ros.core.committed_rows import committed_rows, expected_latency_ns
from chunked_vla_ros.core.policy import PolicySpec
from chunked_vla_ros.core.types import ActionChunk, NS_PER_S, Observation

# So long a published chunk may be on its way until the executor follows it: what it said of an
# earlier instant is no news of that chunk.
ON_ITS_WAY_NS = 20_000_000


class CommittedMotion:
    """The newest chunk of the run, for as long as nothing says that the arm does not follow it."""

    def __init__(self) -> None:
        """Begin with no chunk and an executor of which nothing is known."""
        self._newest: ActionChunk | None = None
        self._published_ns = 0
        self._followed = ('', 0)
        self._followed_ns: int | None = None

    def published(self, chunk: ActionChunk, now_ns: int) -> None:
        """Take the run's newest chunk, published at ``now_ns``."""
        self._newest, self._published_ns = chunk, now_ns

    def forget(self) -> None:
        """Take it that the arm follows nothing until another chunk is published."""
        self._newest = None

    def reported(self, session_id: str, chunk_id: int, stamp_ns: int) -> None:
        """
        Note what the executor followed at ``stamp_ns``.

        :param session_id: Of the chunk; '' or any other where it followed none.
        """
        self._followed, self._followed_ns = (session_id, chunk_id), stamp_ns

    def add_to(self, observation: Observation, spec: PolicySpec,
               latencies_ns: Sequence[int]) -> Observation:
        """Return ``observation`` with what the arm will do until a plan of it comes, if known."""
        newest = self._newest
        if (newest is None or newest.joint_names != spec.joint_names
                or not self._is_followed(newest)):
            return observation
        return replace(observation, committed=committed_rows(
            newest, observation.stamp_ns, expected_latency_ns(latencies_ns),
            round(spec.step_s * NS_PER_S)))

    def _is_followed(self, chunk: ActionChunk) -> bool:
        # An executor that says nothing is taken at its task.
        return (self._followed_ns is None
                or self._followed_ns - self._published_ns < ON_ITS_WAY_NS
                or self._followed == (chunk.session_id, chunk.chunk_id))
