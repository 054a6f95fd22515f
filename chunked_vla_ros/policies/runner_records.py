"""What the runner is told once and what it counts; knows nothing about how runs are made."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

LATENCIES_KEPT = 1000
LEAST_REPLAN_PERIOD_S = 0.02


@dataclass(frozen=True)
class RunnerSettings:
    """
    How runs are made; the node's parameters of the same names.

    :ivar replan_period_s: Shortest time between two questions in [s], `LEAST_REPLAN_PERIOD_S` or
        more; 0: what the policy was made for.
    """

    replan_period_s: float = 0.0
    valid_for_s: float = 1.0
    default_timeout_s: float = 120.0
    run_on_activate: bool = False

    def __post_init__(self) -> None:
        """:raises ValueError: one line: the period is neither 0 nor long enough."""
        if 0.0 < self.replan_period_s < LEAST_REPLAN_PERIOD_S:
            raise ValueError(
                f'replan_period_s is {self.replan_period_s:g}, expected {LEAST_REPLAN_PERIOD_S:g} '
                's or more, or 0 for what the policy was made for')


class RunnerStatistics:
    """
    What happened since the node was configured; latencies are the newest ones in [ns].

    :ivar over_budget: Whether the newest answer took longer than the horizon it covers.
    """

    def __init__(self) -> None:
        self.chunks = self.runs = self.budget_misses = self.late_answers = 0
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self.blocked: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.exchanges = self.rollbacks = 0
        self.over_budget = False
        self.last_error = ''
