"""
The first pass over a bag, commands: the joint targets of one topic, whatever its type.

Which topic's targets become the action is `data.bag_episodes`' business.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chunked_vla_ros.core.dataset_episode import ActionSource
from chunked_vla_ros.core.joint_samples import joint_places
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import RobotSpec, TimeBase
from chunked_vla_ros.core.stamp_clock import Arrivals, Dated
from chunked_vla_ros.core.sync import FOREVER_NS
from chunked_vla_ros.core.tracks import CommandTrack
from chunked_vla_ros.core.types import FloatArray, NS_PER_S
from chunked_vla_ros.data.bag_arrivals import Collected, column, table
from chunked_vla_ros.data.bag_messages import BagTopic
from chunked_vla_ros.data.wire_values import (
    ExecutorStateValue,
    FloatsValue,
    JointStateValue,
    PointValue,
    reader_of,
    TrajectoryValue,
)

# As the node refuses larger ones before it decodes them.
MOST_POINTS = 2000
# How far a command may be stamped ahead, as the executor takes it; and how long the executor may
# be silent before what it commanded last is no longer known.
COMMAND_TOLERANCE_NS = NS_PER_S // 2
SILENCE_NS = NS_PER_S


class CommandMessages(Collected):
    """
    Joint targets of one topic, whatever its type.

    :ivar source: What the action column would say of them.
    """

    TYPES = (ExecutorStateValue, TrajectoryValue, JointStateValue, FloatsValue)

    def __init__(self, topic: BagTopic, robot: RobotSpec) -> None:
        """
        Begin.

        :raises InputRejected: the topic's type is none of ``TYPES``.
        """
        super().__init__(topic)
        kinds = {kind.TYPE: kind for kind in self.TYPES}
        if topic.type_name not in kinds:
            raise InputRejected(
                f'is of type {topic.type_name[:64]}, expected one of {", ".join(kinds)}')
        kind = kinds[topic.type_name]
        self.source = {
            ExecutorStateValue: ActionSource.COMMANDED_POINT,
            FloatsValue: ActionSource.UNSTAMPED_COMMAND}.get(kind, ActionSource.STAMPED_COMMAND)
        self._reader: Callable[[bytes], Any] = reader_of(kind, topic.type_name, topic.definition)
        self._names = robot.joint_names
        self._positions, self._offsets_ns, self._starts = array('d'), array('q'), array('q', [0])

    @property
    def commands(self) -> int:
        """Return how many points were commanded."""
        return len(self._offsets_ns)

    def read(self, data: bytes) -> int:
        """Keep the points."""
        value = self._reader(data)
        points = self._points(value)
        for positions, offset_ns in points:
            self._positions.extend(positions)
            self._offsets_ns.append(offset_ns)
        self._starts.append(len(self._offsets_ns))
        return int(getattr(value, 'stamp_ns', 0))

    def dated_arrivals(self) -> Arrivals:
        """Return what came; commands without any stamp are dated by the log."""
        if self.source is ActionSource.STAMPED_COMMAND and not any(self.stamps_ns):
            # A trajectory stamped zero is one that begins at once.
            self.source = ActionSource.UNSTAMPED_COMMAND
        unstamped = self.source is ActionSource.UNSTAMPED_COMMAND
        return self.arrivals(self.topic, TimeBase.RECEIPT if unstamped else TimeBase.HEADER,
                             COMMAND_TOLERANCE_NS)

    def track(self, dated: Dated) -> CommandTrack:
        """Return the commands that can be used."""
        positions, offsets_ns = table(self._positions, len(self._names)), column(self._offsets_ns)
        starts = column(self._starts)
        kept = np.zeros(len(starts) - 1, np.bool_)
        kept[dated.places] = True
        counts = np.diff(starts)
        points = np.repeat(kept, counts)
        executor = self.source is ActionSource.COMMANDED_POINT
        return CommandTrack(
            dated.times_ns, positions[points], offsets_ns[points],
            np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
            SILENCE_NS if executor else FOREVER_NS)

    def _points(self, value: Any) -> list[tuple[FloatArray, int]]:
        if isinstance(value, FloatsValue):
            return [(self._checked(value.data, None), 0)]
        if isinstance(value, JointStateValue):
            return [(self._checked(value.position, value.names), 0)]
        if isinstance(value, ExecutorStateValue):
            empty = not len(value.command.positions)    # the executor commands nothing
            return [] if empty else [
                (self._checked(value.command.positions, value.joint_names), 0)]
        return self._trajectory(value.points, value.joint_names)

    def _trajectory(self, points: Sequence[PointValue],
                    names: Sequence[str]) -> list[tuple[FloatArray, int]]:
        if not 0 < len(points) <= MOST_POINTS:
            raise InputRejected(f'has {len(points)} points, expected 1 to {MOST_POINTS}')
        offsets_ns = [point.offset_ns for point in points]
        if offsets_ns[0] < 0 or any(
                after < before for before, after in zip(offsets_ns, offsets_ns[1:], strict=False)):
            raise InputRejected('has points whose times do not increase')
        return [(self._checked(point.positions, names), point.offset_ns) for point in points]

    def _checked(self, positions: FloatArray, names: Sequence[str] | None) -> FloatArray:
        wanted = len(self._names)
        if names is None and len(positions) != wanted:
            raise InputRejected(f'has {len(positions)} values, expected {wanted} as the state')
        if names is not None:
            pick = joint_places(tuple(names), self._names)
            if len(positions) != len(names):
                raise InputRejected(f'has {len(names)} names but {len(positions)} positions')
            positions = positions[pick]
        if not np.isfinite(positions).all():
            raise InputRejected('has a value that is not finite')
        return positions
