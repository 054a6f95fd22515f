"""
Put an observation together from streams that arrive on their own: newest of each, none too old.

`assemble` never waits: it answers with an observation or with the stream that is missing and why.
Knows no clock, every call says what time it is; knows nothing about ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chunked_vla_ros.core.freeze_watch import FreezeWatch
from chunked_vla_ros.core.loss_meter import LossMeter
from chunked_vla_ros.core.rate_meter import RateMeter
from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    Resample,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import CameraFrame, JointSample, NS_PER_S, Observation, Pose

SampleT = TypeVar('SampleT')

# Time services adjust a clock by milliseconds; a simulator that starts again goes back further.
CLOCK_RESET_NS = 100_000_000
SCENE_TOLERANCE_NS = NS_PER_S // 2
FOREVER_NS = 2**62


@dataclass(frozen=True)
class ObservationNeeds:
    """What an observation must contain beside the joints."""

    cameras: tuple[str, ...] = ()
    instruction: bool = False
    scene: bool = False


@dataclass(frozen=True)
class Waiting:
    """
    Why there is no observation: the stream that it waits for, and one line for the operator.

    :ivar ordinary: Whether that is no fault: the next sample of the stream will do.
    """

    stream: str
    reason: str
    ordinary: bool = False


def sample_time_ns(stream: StreamSpec, header_ns: int, now_ns: int) -> int:
    """Return when a sample was taken, by the clock that the contract names for its stream."""
    return header_ns if stream.time_base is TimeBase.HEADER else now_ns


def oldest_usable_ns(stream: StreamSpec, step_ns: int | None = None) -> int:
    """
    Return how old a sample of ``stream`` may be when it is used, in [ns].

    :param step_ns: From one row of a dataset to the next in [ns]; ``None`` for a live robot.
    """
    if stream.resample is Resample.HOLD:
        return FOREVER_NS
    if stream.resample is Resample.DROP and step_ns is not None:
        return step_ns - 1
    return _ns(stream.tolerance_s)


class Stream(Generic[SampleT]):
    """
    The newest sample of one stream, and what became of the others.

    :ivar name: What the operator calls it, for example ``camera wrist``.
    :ivar refused: Samples that could not be used.
    :ivar last_refusal: Why the last of them could not.
    """

    def __init__(self, name: str, tolerance_ns: int, oldest_ns: int | None = None) -> None:
        """
        Begin without a sample.

        :param tolerance_ns: Largest age of a usable sample in [ns], and how far a stamp may lie
            in the future.
        :param oldest_ns: In place of that age; ``None``: the tolerance.
        """
        self.name, self.tolerance_ns = name, tolerance_ns
        self.oldest_ns = tolerance_ns if oldest_ns is None else oldest_ns
        self.meter = RateMeter()
        self.refused, self.last_refusal = 0, ''
        self._newest: tuple[int, SampleT] | None = None

    def add(self, stamp_ns: int, sample: SampleT, now_ns: int) -> None:
        """Keep ``sample`` if it is newer than what is held and its stamp can be true."""
        self.meter.add(now_ns)
        problem = self._problem(stamp_ns, now_ns)
        if problem:
            self._refuse(problem)
        else:
            self._newest, self.last_refusal = (stamp_ns, sample), ''

    def reject(self, reason: str, now_ns: int) -> None:
        """Note that a sample arrived which could not even be converted."""
        self.meter.add(now_ns)
        self._refuse(reason)

    def newest(self, now_ns: int, since_ns: int = 0) -> tuple[int, SampleT] | Waiting:
        """
        Return stamp and sample if it may be used at ``now_ns``.

        :param since_ns: Not one stamped before this, in [ns], unless any age will do.
        """
        if self._newest is None:
            return self._waiting('has not arrived yet')
        age_ns = now_ns - self._newest[0]
        if not -self.tolerance_ns <= age_ns <= self.oldest_ns:
            return self._waiting(_age(
                age_ns, self.oldest_ns if age_ns > 0 else self.tolerance_ns))
        if self._newest[0] < since_ns and self.oldest_ns != FOREVER_NS:
            return Waiting(self.name, f'{self.name} shows only what was before', ordinary=True)
        return self._newest

    def clear(self) -> None:
        """Forget the sample."""
        self._newest = None

    def _refuse(self, reason: str) -> None:
        self.refused, self.last_refusal = self.refused + 1, reason

    def _problem(self, stamp_ns: int, now_ns: int) -> str:
        if stamp_ns <= 0:
            return 'stamp is zero'
        if stamp_ns - now_ns > self.tolerance_ns:
            return _age(now_ns - stamp_ns, self.tolerance_ns)
        held_ns = self._newest[0] if self._newest else 0
        # A driver that starts again may date its samples back; then the held one grows old first.
        if stamp_ns <= held_ns and now_ns - held_ns <= self.tolerance_ns:
            return f'stamp went back by {(held_ns - stamp_ns) / NS_PER_S:.3f} s'
        return ''

    def _waiting(self, state: str) -> Waiting:
        refusal = f' ({self.refused} refused: {self.last_refusal})' if self.last_refusal else ''
        return Waiting(self.name, f'{self.name} {state}{refusal}')


def _age(age_ns: int, tolerance_ns: int) -> str:
    side = 'old' if age_ns >= 0 else 'in the future'
    return f'is {abs(age_ns) / NS_PER_S:.2f} s {side}, tolerance {tolerance_ns / NS_PER_S:.2f} s'


class CameraStream(Stream[CameraFrame]):
    """
    The newest image of one camera, unless the camera hangs.

    :ivar loss: What the camera sent and what of it arrived.
    :ivar freeze: Whether its images are all the same.
    """

    def __init__(self, camera: CameraSpec, step_ns: int | None = None) -> None:
        super().__init__(f'camera {camera.name}', _ns(camera.stream.tolerance_s),
                         oldest_usable_ns(camera.stream, step_ns))
        self.loss = LossMeter()
        self.freeze = FreezeWatch(camera.frozen_after_s)

    def newest(self, now_ns: int, since_ns: int = 0) -> tuple[int, CameraFrame] | Waiting:
        """Return stamp and frame if it may be used at ``now_ns``; see `Stream.newest`."""
        newest = super().newest(now_ns, since_ns)
        if not isinstance(newest, Waiting) and self.freeze.frozen_s:
            return self._waiting(f'is frozen for {self.freeze.frozen_s:.1f} s')
        return newest

    def clear(self) -> None:
        """Forget the frame."""
        super().clear()
        self.freeze.clear()

    def rejoin(self) -> None:
        """Begin anew with the next image: of those between two subscriptions nothing is known."""
        self.clear()
        self.loss.rejoin()


class ObservationAssembler:
    """
    Hold the newest sample of every stream of one robot.

    :ivar instruction: Newest instruction, empty if there was none.
    :ivar since_ns: Pictures and scenes stamped before are not used: a table that has just been
        set anew looked different in them. In [ns]; 0: any may be used.
    :ivar clock_resets: How often the clock went back, which empties all but the instruction.
    """

    def __init__(self, robot: RobotSpec, step_ns: int | None = None) -> None:
        """
        Begin without samples.

        :param step_ns: From one row of a dataset to the next in [ns]; ``None`` for a live robot.
        """
        self.joints = Stream[JointSample](
            robot.state.topic, _ns(robot.state.tolerance_s),
            oldest_usable_ns(robot.state, step_ns))
        self.cameras = {camera.name: CameraStream(camera, step_ns) for camera in robot.cameras}
        self.scene = Stream[Mapping[str, Pose]]('scene', SCENE_TOLERANCE_NS)
        self.instruction = ''
        self.since_ns = 0
        self.clock_resets = 0
        self._now_ns = 0

    @property
    def streams(self) -> tuple[Stream[Any], ...]:
        """Return every stream that carries samples."""
        return (self.joints, self.scene, *self.cameras.values())

    def observe_clock(self, now_ns: int) -> None:
        """Empty the streams if time went back: their samples belong to another time line."""
        if now_ns < self._now_ns - CLOCK_RESET_NS:
            self.clock_resets += 1
            self.since_ns = 0
            for stream in self.streams:
                stream.clear()
        self._now_ns = now_ns

    def add_joints(self, sample: JointSample, now_ns: int) -> None:
        """Take a joint sample."""
        self.observe_clock(now_ns)
        self.joints.add(sample.stamp_ns, sample, now_ns)

    def add_frame(self, camera: str, frame: CameraFrame, now_ns: int,
                  data: object = None) -> None:
        """Take an image of ``camera``; ``data``, as it came, tells whether the camera hangs."""
        self.observe_clock(now_ns)
        if data is not None:
            self.cameras[camera].freeze.add(data, now_ns)
        self.cameras[camera].add(frame.stamp_ns, frame, now_ns)

    def add_scene(self, scene: Mapping[str, Pose], now_ns: int) -> None:
        """Take the simulator's scene, which is dated by its arrival."""
        self.observe_clock(now_ns)
        self.scene.add(now_ns, scene, now_ns)

    def assemble(self, now_ns: int, needs: ObservationNeeds,
                 instruction: str = '') -> Observation | Waiting:
        """
        Return the newest of everything in ``needs``, or what it waits for.

        A given ``instruction`` takes the place of the topic's.
        """
        self.observe_clock(now_ns)
        joints = self.joints.newest(now_ns)
        if isinstance(joints, Waiting):
            return joints
        images = {}
        for name in needs.cameras:
            frame = self.cameras[name].newest(now_ns, self.since_ns)
            if isinstance(frame, Waiting):
                return frame
            images[name] = frame[1]
        scene: Mapping[str, Pose] = {}
        if needs.scene:
            newest = self.scene.newest(now_ns, self.since_ns)
            if isinstance(newest, Waiting):
                return newest
            scene = newest[1]
        instruction = instruction or self.instruction
        if needs.instruction and not instruction:
            return Waiting('instruction', 'instruction has not arrived yet')
        return Observation(joints[0], joints[1], images, instruction, scene)


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
