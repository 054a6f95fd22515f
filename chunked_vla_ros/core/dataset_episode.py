"""
One episode of a training dataset: rows on a regular grid, and where each number came from.

What conversion yields and what a dataset writer takes; frames are fetched one by one. Knows no
file format and no robot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.types import FloatArray, frozen_array, ImageArray, NS_PER_S, ShapeError

BoolArray = NDArray[np.bool_]
StampArray = NDArray[np.int64]
# How much of 1/fps a row may be off its place: rows at the stamps of a source are never exact.
UNEVEN = 0.01


class ActionSource(IntEnum):
    """Where the action column comes from, best first; the first one that was recorded is taken."""

    COMMANDED_POINT = 0      # executor_state's commanded point, by its own stamp
    STAMPED_COMMAND = 1      # JointTrajectory or JointState, by its header stamp
    UNSTAMPED_COMMAND = 2    # Float64MultiArray, by the time at which it was logged
    NEXT_STATE = 3           # no command was recorded: the state of the row after


@dataclass(frozen=True)
class DatasetEpisode:
    """
    N rows, one every 1/fps.

    :ivar source: Bag and segment, for people and for finding an episode again.
    :ivar fps: Rows per second in [Hz].
    :ivar times_ns: When each row is, shape (N,) int64, by the clock of the robot's stamps; to
        the nanosecond on the grid, or at stamps of the state that lie on it but for 1 % of 1/fps.
    :ivar state: Measured joint positions, shape (N, J), in the contract's units.
    :ivar action: Joint position targets in force at the row, shape (N, J).
    :ivar joint_names: J names in the contract's order.
    :ivar action_source: Where ``action`` comes from.
    :ivar tasks: The instruction in force at each row, N entries, '' where there was none.
    :ivar reward: What the step from the row earned, shape (N,): sum of the REWARD events up to the
        next row.
    :ivar success: True on the last row of an episode that succeeded, shape (N,).
    :ivar done: True on the last row, if the task ended there, shape (N,).
    :ivar intervention: Whether a person had taken over, shape (N,).
    :ivar stamps_ns: By stream (``state``, ``action``, camera names): acquisition time of the
        sample each row uses, shape (N,) int64, never later than the row. Next-state actions are
        the one exception: they have none.
    :ivar outcome: Of the episode, labels after the fact honoured.
    :ivar frame_shapes: By camera: (height, width, 3).
    :ivar open_frames: Camera name to an iterator over its N RGB frames, decoded one by one.
    :ivar facts: What the bag says of itself: operator, policy, versions, verdict. Text only.
    """

    source: str
    fps: float
    times_ns: StampArray
    state: FloatArray
    action: FloatArray
    joint_names: tuple[str, ...]
    action_source: ActionSource
    tasks: tuple[str, ...]
    reward: FloatArray
    success: BoolArray
    done: BoolArray
    intervention: BoolArray
    stamps_ns: Mapping[str, StampArray]
    outcome: Outcome
    frame_shapes: Mapping[str, tuple[int, int, int]]
    open_frames: Callable[[str], Iterator[ImageArray]]
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count, width = len(self.times_ns), len(self.joint_names)
        if not count:
            raise ShapeError(f'{self.source}: has no rows')
        for name, shape in (('state', (count, width)), ('action', (count, width)),
                            ('reward', (count,))):
            values = frozen_array(getattr(self, name), shape, name)
            if not np.isfinite(values).all():
                raise ValueError(f'{self.source}: {name} is not finite')
            object.__setattr__(self, name, values)
        for name in ('success', 'done', 'intervention'):
            if getattr(self, name).shape != (count,) or getattr(self, name).dtype != np.bool_:
                raise ShapeError(f'{self.source}: {name} must be ({count},) bool')
        if len(self.tasks) != count:
            raise ShapeError(f'{self.source}: tasks must have {count} entries')
        offsets = np.round(np.arange(count) * (NS_PER_S / self.fps)).astype(np.int64)
        off_ns = np.abs(self.times_ns - self.times_ns[0] - offsets)
        # The first row, from which the others are counted, may be off as well.
        if (off_ns > 2 * UNEVEN * NS_PER_S / self.fps + 1).any():
            raise ValueError(f'{self.source}: rows are not 1/{self.fps:g} s apart')
        for stream, stamps_ns in self.stamps_ns.items():
            if stamps_ns.shape != (count,):
                raise ShapeError(f'{self.source}: stamps of {stream} must be ({count},)')
            if (stamps_ns > self.times_ns).any():
                raise ValueError(f'{self.source}: {stream} has a sample from the future')

    @property
    def ages_s(self) -> dict[str, FloatArray]:
        """Return by stream how old the sample was that each row uses, shape (N,) in [s]."""
        return {stream: (self.times_ns - stamps_ns) / NS_PER_S
                for stream, stamps_ns in self.stamps_ns.items()}
