"""
How an action column relates to the state: targets for joints, or differences, and how far ahead.

Knows one episode at a time and judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.types import FloatArray

# Robots answer within so long; an action is compared with states up to there after it, and to a
# third of that before it.
LONGEST_LEAD_S = 0.6
MOST_LAGS = 60
FEWEST_ROWS = 8


class ActionKind(str, Enum):
    """What the numbers of an action are."""

    ABSOLUTE = 'absolute'      # where the joint shall be
    DELTA = 'delta'            # how far it shall go from here
    UNKNOWN = 'unknown'


@dataclass(frozen=True)
class ActionRelation:
    """
    Action against state in one episode, medians over the columns that move.

    :ivar absolute: Correlation of the action with the state ``lag_s`` later, at the best lag.
    :ivar lag_s: That lag in [s]; below 0 the action comes after the state that it caused.
    :ivar scale: State per action at that lag: 1 for targets in the state's unit.
    :ivar delta: Correlation of the action with the step of the state that follows.
    :ivar delta_scale: That step per action.
    :ivar copied: Whether the action is the state of the same row, to the last digit.
    :ivar columns: How many columns move.
    """

    absolute: float
    lag_s: float
    scale: float
    delta: float
    delta_scale: float
    copied: bool
    columns: int

    @property
    def kind(self) -> ActionKind:
        """Return which of the two fits better, if one does at all."""
        if max(self.absolute, self.delta) < 0.3:
            return ActionKind.UNKNOWN
        return ActionKind.ABSOLUTE if self.absolute >= self.delta else ActionKind.DELTA


def relate(episode: Episode) -> ActionRelation | None:
    """Return how action and state relate; ``None``: no action, other widths, or too few rows."""
    if episode.action is None or len(episode.times_s) < FEWEST_ROWS:
        return None
    pairs = shared_columns(episode.state_names, episode.action_names)
    state = episode.state[:, [one for one, _ in pairs]]
    action = episode.action[:, [other for _, other in pairs]]
    moving = (np.ptp(state, axis=0) > 1e-6) & (np.ptp(action, axis=0) > 1e-6)
    if not moving.any():
        return None
    state, action = state[:, moving], action[:, moving]
    period_s = float(np.median(np.diff(episode.times_s)))
    lags = _lags(len(state), period_s)
    found = [_compare(action, state, int(lag)) for lag in lags]
    best = int(np.argmax([correlation for correlation, _ in found]))
    delta, delta_scale = _correlate(action[:-1], np.diff(state, axis=0))
    return ActionRelation(
        found[best][0], float(lags[best]) * period_s, found[best][1], delta, delta_scale,
        bool(np.array_equal(state, action)), int(moving.sum()))


def shared_columns(states: tuple[str, ...], actions: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return pairs of columns of the same joint: by name, or by place where none has one."""
    named = [(states.index(name), column) for column, name in enumerate(actions)
             if name in states]
    if named:
        return named
    if len(states) != len(actions):
        return []
    return [(column, column) for column in range(len(states))]


def _lags(count: int, period_s: float) -> NDArray[np.int64]:
    """Return lags in rows, none so long that the rest of the episode is too short to compare."""
    most = min(round(LONGEST_LEAD_S / period_s), count // 4)
    lags = np.arange(-(most // 3), most + 1)
    return lags[::-(-len(lags) // MOST_LAGS)] if len(lags) else np.array([0])


def _compare(action: FloatArray, state: FloatArray, lag: int) -> tuple[float, float]:
    count = len(state) - abs(lag)
    return _correlate(action[:count], state[lag:]) if lag >= 0 \
        else _correlate(action[-lag:], state[:count])


def _correlate(cause: FloatArray, effect: FloatArray) -> tuple[float, float]:
    """Return correlation and slope, medians over columns of (N, J); 0 where nothing moves."""
    a, b = cause - cause.mean(axis=0), effect - effect.mean(axis=0)
    power, product = (a * a).sum(axis=0), (a * b).sum(axis=0)
    norm = np.sqrt(power * (b * b).sum(axis=0))
    zero = np.zeros_like(product)
    return (float(np.median(np.divide(product, norm, out=zero.copy(), where=norm > 1e-15))),
            float(np.median(np.divide(product, power, out=zero.copy(), where=power > 1e-15))))
