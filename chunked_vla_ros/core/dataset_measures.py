"""
What one episode of a dataset amounts to: a few numbers per joint, stream and camera.

Arrays in, numbers out, so that a dataset of any length is judged from its episodes' measures
alone. Judges nothing, knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.action_relation import ActionRelation, relate
from chunked_vla_ros.core.camera_measures import (
    CameraMeasures,
    longest_stretches,
    MOST_STRETCHES,
    Stretch,
)
from chunked_vla_ros.core.dataset_columns import AGE, SUCCESS
from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.types import FloatArray

# Speeds are differences over at least so long in [s]: over less, they are noise.
SPEED_WINDOW_S = 0.02
# Of the way that a joint goes in the episode: less is noise, or a slow end.
MOVING_SHARE = 0.05


@dataclass(frozen=True)
class SignalMeasures:
    """
    State or action of an episode, (J,) each.

    :ivar low: Lowest value.
    :ivar high: Highest value.
    :ivar step: Largest difference from one row to the next.
    :ivar step_row: Row after that difference.
    :ivar usual_step: 99 % of the differences are smaller or equal.
    :ivar speed: Largest speed over at least 20 ms, in units per [s].
    :ivar speed_row: Row at which that stretch begins.
    :ivar two_valued: Whether nearly all values lie at either end of the range: a gripper.
    """

    low: FloatArray
    high: FloatArray
    step: FloatArray
    step_row: NDArray[np.int64]
    usual_step: FloatArray
    speed: FloatArray
    speed_row: NDArray[np.int64]
    two_valued: NDArray[np.bool_]

    @property
    def span(self) -> FloatArray:
        """Return how far each column goes, (J,); infinite beyond what a number can hold."""
        with np.errstate(over='ignore'):
            return self.high - self.low


@dataclass(frozen=True)
class TimeMeasures:
    """
    When the rows are.

    :ivar period_s: Median time between rows in [s]; 0.0 with one row.
    :ivar largest_gap_s: Longest time between rows in [s].
    :ivar gap_row: Row after it.
    """

    duration_s: float
    period_s: float
    largest_gap_s: float
    gap_row: int


NO_TIMES = TimeMeasures(0.0, 0.0, 0.0, 0)


@dataclass(frozen=True)
class AgeMeasures:
    """How old a stream's samples were at the rows that use them, in [s]."""

    median_s: float
    p99_s: float
    largest_s: float
    smallest_s: float


@dataclass(frozen=True)
class EpisodeMeasures:
    """
    One episode.

    :ivar stuck: Longest stretch in which the whole state is equal to the last digit while the
        action moves, ``None`` without one.
    :ivar frozen: By camera: longest stretch of equal frames while the state moves.
    :ivar relation: Action against state, ``None`` where that cannot be said.
    :ivar broken_columns: Extra columns that hold NaN or infinity.
    :ivar succeeded: Whether a row says so; ``None`` where no row says anything of it.
    :ivar recording: The recorder's verdict on its bag, '' where none is known.
    :ivar action_source: Where the action column comes from, '' where it is not said.
    :ivar error: Why it cannot be read; nothing else is then known.
    """

    index: int
    task: str = ''
    rows: int = 0
    times: TimeMeasures = NO_TIMES
    state: SignalMeasures | None = None
    action: SignalMeasures | None = None
    stuck: Stretch | None = None
    frozen: Mapping[str, Stretch] = field(default_factory=dict)
    relation: ActionRelation | None = None
    ages: Mapping[str, AgeMeasures] = field(default_factory=dict)
    broken_columns: tuple[str, ...] = ()
    outcome: Outcome = Outcome.UNLABELED
    succeeded: bool | None = None
    cameras: Mapping[str, CameraMeasures] = field(default_factory=dict)
    recording: str = ''
    action_source: str = ''
    error: str = ''


def measure_episode(episode: Episode, columns: Mapping[str, NDArray[Any]],
                    facts: Mapping[str, str],
                    cameras: Mapping[str, CameraMeasures]) -> EpisodeMeasures:
    """
    Return what an episode amounts to.

    :param columns: Extra columns, (N,) each, as a dataset reader names them.
    :param facts: What is said of the whole episode.
    """
    with np.errstate(all='ignore'):    # numbers near the largest are measured as infinite
        return _measure(episode, columns, facts, cameras)


def _measure(episode: Episode, columns: Mapping[str, NDArray[Any]], facts: Mapping[str, str],
             cameras: Mapping[str, CameraMeasures]) -> EpisodeMeasures:
    times_s, state, action = episode.times_s, episode.state, episode.action
    same = np.concatenate([[False], (np.diff(state, axis=0) == 0.0).all(axis=1)])
    succeeded = bool(np.asarray(columns[SUCCESS]).any()) if SUCCESS in columns else None
    return EpisodeMeasures(
        episode.index, episode.task, len(times_s), _measure_times(times_s),
        measure_signal(state, times_s),
        None if action is None else measure_signal(action, times_s),
        None if action is None else _first_moving(longest_stretches(same, times_s), action),
        _frozen(cameras, state), relate(episode),
        {name.removeprefix(AGE): _measure_ages(values)
         for name, values in columns.items() if name.startswith(AGE)},
        tuple(name for name, values in columns.items() if not np.isfinite(values).all()),
        _outcome(facts, succeeded), succeeded, cameras, facts.get('verdict', ''),
        facts.get('action_source', ''))


def measure_signal(values: FloatArray, times_s: FloatArray) -> SignalMeasures:
    """
    Return what a signal amounts to.

    :param values: (N, J), finite.
    :param times_s: (N,) in [s], increasing.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    width = values.shape[1]
    margin = 0.05 * (high - low)
    near = (values <= low + margin) | (values >= high - margin)
    if len(values) < 2:
        none, nowhere = np.zeros(width), np.zeros(width, np.int64)
        return SignalMeasures(low, high, none, nowhere, none, none, nowhere, near.all(axis=0))
    steps = np.abs(np.diff(values, axis=0))
    # The first row at least so long after each one.
    later = np.searchsorted(times_s, times_s + SPEED_WINDOW_S - 1e-9)
    there = np.flatnonzero(later < len(times_s))
    if len(there):
        ahead = later[there]
        ways = np.abs(values[ahead] - values[there])
        speeds = ways / (times_s[ahead] - times_s[there])[:, None]
    else:
        there, speeds = np.array([0]), (high - low)[None, :] / max(times_s[-1], 1e-9)
    return SignalMeasures(
        low, high, steps.max(axis=0), steps.argmax(axis=0) + 1,
        np.percentile(steps, 99.0, axis=0), speeds.max(axis=0), there[speeds.argmax(axis=0)],
        near.mean(axis=0) > 0.9)


def _measure_times(times_s: FloatArray) -> TimeMeasures:
    if len(times_s) < 2:
        return NO_TIMES
    gaps = np.diff(times_s)
    return TimeMeasures(float(times_s[-1]), float(np.median(gaps)), float(gaps.max()),
                        int(gaps.argmax()) + 1)


def _measure_ages(values: NDArray[Any]) -> AgeMeasures:
    ages = np.asarray(values, np.float64)
    ages = ages[np.isfinite(ages)]
    if not len(ages):
        return AgeMeasures(0.0, 0.0, 0.0, 0.0)
    return AgeMeasures(float(np.median(ages)), float(np.percentile(ages, 99.0)),
                       float(ages.max()), float(ages.min()))


def _frozen(cameras: Mapping[str, CameraMeasures], state: FloatArray) -> dict[str, Stretch]:
    found = {name: _first_moving(camera.same, state) for name, camera in cameras.items()}
    return {name: stretch for name, stretch in found.items() if stretch is not None}


def _first_moving(stretches: Sequence[Stretch], values: FloatArray) -> Stretch | None:
    """Return the first stretch in which a column of ``values``, (N, J), goes part of its way."""
    whole = np.ptp(values, axis=0)
    for stretch in stretches[:MOST_STRETCHES]:
        way = np.ptp(values[stretch.first:stretch.last + 1], axis=0) \
            if stretch.first < len(values) else np.zeros_like(whole)
        if (way > np.maximum(MOVING_SHARE * whole, 1e-9)).any():
            return stretch
    return None


def _outcome(facts: Mapping[str, str], succeeded: bool | None) -> Outcome:
    """Return the outcome that is stated; where none is, a success that a row states."""
    try:
        stated = Outcome(facts.get('outcome', ''))
    except ValueError:
        stated = Outcome.UNLABELED
    return Outcome.SUCCESS if stated is Outcome.UNLABELED and succeeded else stated
