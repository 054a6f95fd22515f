"""
Put a recording on the rows of a dataset: at each row the newest of every stream, none from later.

Whether a sample may be used is decided by the assembler that live inference has; here it sees
references in place of pixels, and arrivals in the order in which the samples were taken. Knows no
files, no messages and no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.conversion_rules import Anchor, ConversionRefused
from chunked_vla_ros.core.dataset_episode import StampArray, UNEVEN
from chunked_vla_ros.core.robot_spec import Resample, RobotSpec
from chunked_vla_ros.core.row_grid import RowGrid
from chunked_vla_ros.core.sync import (
    ObservationAssembler,
    ObservationNeeds,
    Stream,
    Waiting,
)
from chunked_vla_ros.core.tracks import Recording
from chunked_vla_ros.core.types import CameraFrame, FloatArray, JointSample, NS_PER_S

# 46 hours at 30 Hz: beyond that the stamps are wrong.
MOST_ROWS = 5_000_000
NO_PIXELS = np.empty((0, 0, 3), np.uint8)
STATE, ACTION = 'state', 'action'


@dataclass(frozen=True)
class FrameReference(CameraFrame):
    """A frame whose pixels are still where they were recorded: the ``place``-th of its topic."""

    place: int = 0


@dataclass(frozen=True)
class Rows:
    """
    Rows without a gap between them.

    :ivar times_ns: Shape (N,); ``state`` and ``action`` (N, J).
    :ivar stamps_ns: By stream, shape (N,): when the sample was taken that each row uses.
    :ivar places: By camera, shape (N,): which message of the topic that is.
    """

    times_ns: StampArray
    state: FloatArray
    action: FloatArray
    stamps_ns: Mapping[str, StampArray]
    places: Mapping[str, StampArray]


@dataclass(frozen=True)
class _Row:
    """One row: indices into the tracks; ``command`` -1 where none was recorded."""

    number: int
    time_ns: int
    state: int
    command: int
    frames: tuple[int, ...]


def resample(robot: RobotSpec, recording: Recording, fps: float, anchor: Anchor) -> list[Rows]:
    """
    Return the rows, split where one is missing because a stream had nothing to offer.

    :raises ConversionRefused: the streams are never there together, or the rows are not even.
    """
    streams = [recording.state.stamps_ns, *(
        track.stamps_ns for track in recording.frames.values())]
    if recording.command is not None:
        streams.append(recording.command.stamps_ns)
    if not all(len(stamps_ns) for stamps_ns in streams):
        return []
    take = _Taker(robot, recording, RowGrid(0, fps).step_ns)
    rows = list(_at_states(take, fps) if anchor is Anchor.STATE else _on_grid(take, fps))
    return [_joined(recording, rows[first:last]) for first, last in _runs(rows)]


class _Taker:
    """Feed the assembler in the order of stamps and take rows from it."""

    def __init__(self, robot: RobotSpec, recording: Recording, step_ns: int) -> None:
        self.recording, self.robot = recording, robot
        self._assembler = ObservationAssembler(robot, step_ns)
        self._needs = ObservationNeeds(tuple(recording.frames))
        command = recording.command
        self._commands = Stream[int](
            ACTION, step_ns, command.oldest_ns if command is not None else 0)
        self._zeros = np.zeros(len(robot.joints))
        # Of each track, how many samples have been fed.
        self._fed = dict.fromkeys((STATE, ACTION, *recording.frames), 0)
        self._stamps = {STATE: recording.state.stamps_ns} | {
            camera: track.stamps_ns for camera, track in recording.frames.items()}
        if command is not None:
            self._stamps[ACTION] = command.stamps_ns

    @property
    def first_ns(self) -> int:
        """Return from when on every stream has a sample."""
        return max(int(stamps_ns[0]) for stamps_ns in self._stamps.values())

    @property
    def last_ns(self) -> int:
        """Return the end: of the state, or of all if the state is only told when it changes."""
        if self.robot.state.resample is not Resample.HOLD:
            return int(self._stamps[STATE][-1])
        return max(int(stamps_ns[-1]) for stamps_ns in self._stamps.values())

    def next_ns(self) -> int | None:
        """Return when the next sample was taken that no row has seen, ``None`` after the last."""
        return min((int(stamps_ns[self._fed[name]]) for name, stamps_ns in self._stamps.items()
                    if self._fed[name] < len(stamps_ns)), default=None)

    def row(self, number: int, time_ns: int) -> _Row | None:
        """Return the row at ``time_ns``, which never decreases, if every stream has a sample."""
        self._feed(time_ns)
        seen = self._assembler.assemble(time_ns, self._needs)
        if isinstance(seen, Waiting):
            return None
        command = -1
        if self.recording.command is not None:
            newest = self._commands.newest(time_ns)
            if isinstance(newest, Waiting):
                return None
            command = newest[1]
        frames = []
        for name in self.recording.frames:
            frame = seen.images[name]
            assert isinstance(frame, FrameReference)
            frames.append(frame.place)
        return _Row(number, time_ns, self._fed[STATE] - 1, command, tuple(frames))

    def _feed(self, time_ns: int) -> None:
        due: list[tuple[int, str, int]] = []
        for name, stamps_ns in self._stamps.items():
            end = int(np.searchsorted(stamps_ns, time_ns, 'right'))
            start = self._fed[name]
            if name in (STATE, ACTION):
                # Only the newest counts; a camera may hang, which all of its images tell.
                start = max(start, end - 1)
            due += [(int(stamps_ns[place]), name, place) for place in range(start, end)]
            self._fed[name] = max(self._fed[name], end)
        for stamp_ns, name, place in sorted(due):
            if name == STATE:
                self._assembler.add_joints(JointSample(
                    stamp_ns, self.recording.state.positions[place], self._zeros), stamp_ns)
            elif name == ACTION:
                self._command(stamp_ns, place)
            else:
                digests = self.recording.frames[name].digests
                self._assembler.add_frame(
                    name, FrameReference(stamp_ns, NO_PIXELS, place), stamp_ns,
                    digests[place] if digests else None)

    def _command(self, stamp_ns: int, place: int) -> None:
        command = self.recording.command
        assert command is not None
        if command.starts[place] == command.starts[place + 1]:
            self._commands.clear()
        else:
            self._commands.add(stamp_ns, place, stamp_ns)


def _on_grid(take: _Taker, fps: float) -> Iterator[_Row]:
    """Yield the rows of a grid that begins at the first state at which every stream is there."""
    states_ns = take.recording.state.stamps_ns
    row: _Row | None = None
    for start_ns in states_ns[np.searchsorted(states_ns, take.first_ns, 'left'):].tolist():
        row = take.row(0, start_ns)
        if row is not None:
            break
    if row is None:
        return
    grid, last_ns = RowGrid(row.time_ns, fps), take.last_ns
    number = 0
    # Only a state that is held makes rows where nothing comes.
    if take.robot.state.resample is Resample.HOLD and grid.from_time(last_ns) > MOST_ROWS:
        raise ConversionRefused(
            f'{grid.from_time(last_ns)} rows of 1/{fps:g} s: the stamps span '
            f'{(last_ns - grid.start_ns) / NS_PER_S / 3600:.0f} h, look at the log times')
    while True:
        if row is not None:
            yield row
            number += 1
        else:
            # Nothing can change before the next sample: a pause of an hour is no loop of its rows.
            next_ns = take.next_ns()
            if next_ns is None:
                return
            number = max(number + 1, grid.from_time(next_ns))
        if grid.time_ns(number) > last_ns:
            return
        row = take.row(number, grid.time_ns(number))


def _at_states(take: _Taker, fps: float) -> Iterator[_Row]:
    """
    Yield a row at every stamp of the state.

    :raises ConversionRefused: the stamps are not 1/fps apart.
    """
    grid: RowGrid | None = None
    number = -1
    for time_ns in take.recording.state.stamps_ns.tolist():
        row = take.row(0, time_ns)
        if row is None:
            continue
        if grid is None:
            grid = RowGrid(time_ns, fps)
        last, number = number, grid.nearest(time_ns)
        off_ns = time_ns - grid.time_ns(number)
        if number <= last or abs(off_ns) > UNEVEN * grid.step_ns:
            raise ConversionRefused(
                f'the state is not stamped every 1/{fps:g} s (at '
                f'{(time_ns - grid.start_ns) / NS_PER_S:.3f} s {off_ns / 1e6:+.2f} ms off): say '
                'the rate of the state as fps, or anchor the rows at the stream')
        yield _Row(number, row.time_ns, row.state, row.command, row.frames)


def _runs(rows: list[_Row]) -> list[tuple[int, int]]:
    """Return (first, end) of the runs of rows whose numbers follow each other."""
    if not rows:
        return []
    numbers = np.array([row.number for row in rows])
    cuts = (np.flatnonzero(np.diff(numbers) != 1) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(rows)], strict=True))


def _joined(recording: Recording, rows: list[_Row]) -> Rows:
    times_ns = np.array([row.time_ns for row in rows], np.int64)
    picked = np.array([row.state for row in rows])
    state = recording.state.positions[picked]
    stamps_ns = {STATE: recording.state.stamps_ns[picked]}
    places = {}
    for index, (camera, track) in enumerate(recording.frames.items()):
        seen = np.array([row.frames[index] for row in rows])
        stamps_ns[camera], places[camera] = track.stamps_ns[seen], track.places[seen]
    if recording.command is None:
        # Of the row after the last nothing is known: it is as if the arm stayed.
        action = np.concatenate([state[1:], state[-1:]])
    else:
        action = np.array([recording.command.target(row.command, row.time_ns) for row in rows])
        stamps_ns[ACTION] = recording.command.stamps_ns[[row.command for row in rows]]
    return Rows(times_ns, state, action, stamps_ns, places)
