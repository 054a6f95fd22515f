"""Count what became of chunks and ticks since activation. Decides nothing."""

from __future__ import annotations

from collections import Counter

from chunked_vla_ros.core.executor_state import Counters
from chunked_vla_ros.core.rejection import ChunkRejected, Rejection


class Ledger:
    """The executor's books."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.rejections: Counter[str] = Counter()
        self.last_rejection = ''
        self.observation_to_command_ns = 0

    def accept(self, skipped: int, changed_by_limits: bool, latency_ns: int) -> None:
        """Book a chunk that is followed from now on, ``latency_ns`` after its observation."""
        self.counters.accepted += 1
        self.counters.points_skipped += skipped
        self.counters.clamps += changed_by_limits
        self.observation_to_command_ns = latency_ns

    def refuse(self, error: ChunkRejected) -> None:
        """Book a chunk that was refused."""
        if error.rejection is Rejection.STALE:
            self.counters.stale += 1
        else:
            self.counters.rejected += 1
        self.rejections[error.rejection.value] += 1
        self.last_rejection = str(error)
