"""
What is usual in a dataset: ranges, steps, lengths and sharpness that an episode is held against.

Made of the episodes' measures alone. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.action_relation import ActionKind, ActionRelation
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures, SignalMeasures
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray

# Fewer episodes than these say nothing about what is usual.
FEWEST_EPISODES = 5


@dataclass(frozen=True)
class DatasetHead:
    """
    What a dataset says of itself.

    :ivar fps: Nominal rate in [Hz].
    :ivar timed: Whether times were recorded.
    """

    fps: float
    timed: bool
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: tuple[str, ...]


@dataclass(frozen=True)
class ColumnLimits:
    """What a robot contract allows of one column of state or action."""

    lower: float
    upper: float
    velocity: float
    unit: str


@dataclass(frozen=True)
class SignalNorms:
    """
    What is usual of state or action, (J,) each.

    :ivar low: Lowest value of all episodes.
    :ivar high: Highest value.
    :ivar typical_step: Median over episodes of the largest step.
    :ivar two_valued: Whether it jumps between two values in most episodes in which it moves.
    """

    low: FloatArray
    high: FloatArray
    typical_step: FloatArray
    two_valued: NDArray[np.bool_]

    @property
    def span(self) -> FloatArray:
        """Return the range over all episodes, (J,)."""
        with np.errstate(over='ignore'):
            return self.high - self.low


@dataclass(frozen=True)
class DatasetNorms:
    """
    What is usual in the dataset.

    :ivar readable: Number of episodes that could be read.
    :ivar rows: Median number of rows.
    :ivar sharpness: By camera, median over episodes.
    :ivar kind: What its actions are.
    :ivar limits: By column's name, from a robot contract; {} without one.
    :ivar tolerances_s: By stream, largest allowed age from a robot contract; {} without one.
    """

    head: DatasetHead
    readable: int
    rows: float
    state: SignalNorms | None
    action: SignalNorms | None
    sharpness: Mapping[str, float]
    kind: ActionKind
    limits: Mapping[str, ColumnLimits] = field(default_factory=dict)
    tolerances_s: Mapping[str, float] = field(default_factory=dict)


def find_norms(head: DatasetHead, episodes: Sequence[EpisodeMeasures],
               robot: RobotSpec | None = None) -> DatasetNorms:
    """Return what is usual among ``episodes``, and what ``robot`` allows."""
    read = [episode for episode in episodes if not episode.error]
    rows = [episode.rows for episode in read]
    sharpness = {}
    for camera in head.cameras:
        found = [episode.cameras[camera].sharpness for episode in read
                 if camera in episode.cameras and episode.cameras[camera].frames]
        if found:
            sharpness[camera] = float(np.median(found))
    return DatasetNorms(
        head, len(read), float(np.median(rows)) if rows else 0.0,
        _signal([episode.state for episode in read]),
        _signal([episode.action for episode in read]), sharpness,
        action_kind([episode.relation for episode in read]),
        _limits(robot) if robot else {}, _tolerances(robot, head) if robot else {})


def action_kind(relations: Sequence[ActionRelation | None]) -> ActionKind:
    """Return what a dataset's actions are: by the medians, one short episode says little."""
    found = [relation for relation in relations if relation is not None]
    if not found:
        return ActionKind.UNKNOWN
    absolute = float(np.median([relation.absolute for relation in found]))
    delta = float(np.median([relation.delta for relation in found]))
    return ActionRelation(absolute, 0.0, 0.0, delta, 0.0, False, 0).kind


def _signal(signals: Sequence[SignalMeasures | None]) -> SignalNorms | None:
    found = [signal for signal in signals if signal is not None]
    if not found:
        return None
    low = np.min([signal.low for signal in found], axis=0)
    high = np.max([signal.high for signal in found], axis=0)
    with np.errstate(over='ignore'):    # numbers near the largest have an infinite range
        moving = np.array([signal.span > 0.5 * (high - low) for signal in found])
    ended = np.array([signal.two_valued for signal in found]) & moving
    return SignalNorms(low, high, np.median([signal.step for signal in found], axis=0),
                       2 * ended.sum(axis=0) > moving.sum(axis=0))


def _limits(robot: RobotSpec) -> dict[str, ColumnLimits]:
    return {name: ColumnLimits(joint.lower, joint.upper, joint.velocity, joint.unit.value)
            for joint in robot.joints for name in (joint.name, *joint.aliases)}


def _tolerances(robot: RobotSpec, head: DatasetHead) -> dict[str, float]:
    """Return how old samples may be at a row: the contract's tolerance, and one row."""
    streams = {'state': robot.state.tolerance_s}
    streams |= {camera.name: camera.stream.tolerance_s for camera in robot.cameras}
    return {name: tolerance + 1.0 / head.fps for name, tolerance in streams.items()}
