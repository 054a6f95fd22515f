"""
Whether a person drives: when targets may be sent, and what counts as an intervention.

The chunk executor says who moves the arm; this reads what it says. At its own start and after a
latched stop nothing is sent until somebody takes over, so that neither a restart nor a reset alone
ever sets an arm in motion. Knows no ROS and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from chunked_vla_ros.core.executor_state import LATCHED, Mode, Source
from chunked_vla_ros.core.types import FloatArray, NS_PER_S

# The executor speaks 10 to 50 times a second.
SILENCE_NS = NS_PER_S // 2
# A policy that moved the arm so lately is still at work, even if its chunk has just run out.
AT_WORK_NS = 2 * NS_PER_S
NO_EXECUTOR = 'no executor_state: is chunk_executor running?'


@dataclass(frozen=True)
class ExecutorNews:
    """
    What the executor said.

    :ivar heard_ns: When, on a clock that nobody sets.
    :ivar commanded: Shape (J,) in [rad], or None while nothing is commanded.
    """

    heard_ns: int
    mode: Mode
    source: Source
    commanded: FloatArray | None
    reason: str = ''


class Mark(Enum):
    """What is to be marked on the episode's time line."""

    BEGIN = 'intervention begins'
    END = 'intervention ends'


class TeleopSession:
    """
    Follow what the executor says of itself.

    :ivar waiting: Why no target may be sent, in one line; empty while one may.
    """

    def __init__(self) -> None:
        self.waiting = NO_EXECUTOR
        self._news: ExecutorNews | None = None
        self._at_work_ns: int | None = None    # when a policy last moved the arm
        # Who comes back to an executor that waits for a person is not the one who took over.
        self._locked, self._intervening = True, False

    @property
    def commanded(self) -> FloatArray | None:
        """Return the pose commanded last, shape (J,), if any."""
        return None if self._news is None else self._news.commanded

    @property
    def hears(self) -> bool:
        """Return whether the executor has been heard lately."""
        return self._news is not None

    @property
    def drives(self) -> bool:
        """Return whether targets may be sent."""
        return not self.waiting

    @property
    def intervening(self) -> bool:
        """Return whether a person has taken a running policy's place."""
        return self._intervening

    def taken_over(self) -> None:
        """Note that somebody has deliberately taken over."""
        self._locked = False

    def observe(self, news: ExecutorNews) -> Mark | None:
        """Take what the executor says and return what is to be marked."""
        before, self._news = self._news, news
        if news.source is Source.POLICY and news.mode is Mode.RUNNING:
            self._at_work_ns = news.heard_ns
        if news.source is not Source.TELEOP:
            self._locked = False
        elif news.mode in LATCHED:
            self._locked = True
        self.waiting = self._obstacle(news)
        mark = None
        if self._intervening and news.source is not Source.TELEOP:
            mark = self._end()
        elif (before is not None and before.source is Source.POLICY
              and news.source is Source.TELEOP and self._at_work_ns is not None
              and news.heard_ns - self._at_work_ns <= AT_WORK_NS):
            self._intervening, mark = True, Mark.BEGIN
        return mark

    def tick(self, now_ns: int) -> Mark | None:
        """Notice silence and return what is to be marked."""
        if self._news is None or now_ns - self._news.heard_ns <= SILENCE_NS:
            return None
        return self.lost(NO_EXECUTOR)

    def lost(self, reason: str) -> Mark | None:
        """Forget the executor, for ``reason``, and return what is to be marked."""
        self._news = self._at_work_ns = None
        self.waiting = reason
        return self._end()

    def _end(self) -> Mark | None:
        ended, self._intervening = self._intervening, False
        return Mark.END if ended else None

    def _obstacle(self, news: ExecutorNews) -> str:
        if news.source is not Source.TELEOP:
            who = 'the policy drives' if news.source is Source.POLICY else 'nobody drives'
            return f'{who}: take over first'
        if news.mode in LATCHED:
            return f'{news.mode.name}: {news.reason}; reset chunk_executor, then take over again'
        if self._locked:
            return 'nobody has taken over since the node began or the arm was stopped: take over'
        if news.mode not in (Mode.HOLD, Mode.TELEOP):
            return f'the arm is stopping: {news.reason}'
        if news.commanded is None or not np.isfinite(news.commanded).all():
            return f'the arm is not commanded: {news.reason}'
        return ''
