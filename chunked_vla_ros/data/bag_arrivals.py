"""
The first pass over a bag: stamps, joint values and references of one topic each, no pixels.

What cannot be used is counted with its reason, as live. Knows messages, not rows; which samples
can be true is `core.stamp_clock`'s business.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
import hashlib
from typing import Any

import numpy as np

from chunked_vla_ros.core.conversion_rules import ConversionRefused
from chunked_vla_ros.core.dataset_episode import StampArray
from chunked_vla_ros.core.joint_samples import joint_sample
from chunked_vla_ros.core.rejection import InputRejected
from chunked_vla_ros.core.robot_spec import CameraSpec, ImageTransport, RobotSpec, TimeBase
from chunked_vla_ros.core.stamp_clock import Arrivals, Dated
from chunked_vla_ros.core.tracks import FrameTrack, JointTrack
from chunked_vla_ros.core.types import CameraFrame, FloatArray, NS_PER_S
from chunked_vla_ros.data.bag_messages import BagMessage, BagTopic
from chunked_vla_ros.data.image_frames import (
    check_compressed,
    check_unpacked,
    decoded_frame,
    unpacked_frame,
)
from chunked_vla_ros.data.wire_values import (
    CompressedImageValue,
    DiagnosticValue,
    EpisodeEventValue,
    ImageValue,
    JointStateValue,
    reader_of,
    TextValue,
)

DIGEST_BYTES = 16
# Messages of one topic are logged in the order in which they were sent, or nearly so.
REORDERED_NS = NS_PER_S


class Collected:
    """
    Stamps and log times of the messages of one topic that could be read.

    :ivar topic: Its name.
    :ivar refused: Messages that could not be read; ``reason``: why the last of them could not.
    """

    def __init__(self, topic: BagTopic) -> None:
        self.topic, self.refused, self.reason = topic.name, 0, ''
        self.stamps_ns, self.logs_ns = array('q'), array('q')

    def take(self, message: BagMessage) -> None:
        """
        Take the next message.

        :raises OverflowError: it is dated beyond the year 2262.
        """
        try:
            stamp_ns = self.read(message.data)
        except InputRejected as error:
            self.refused, self.reason = self.refused + 1, str(error)
        else:
            self.stamps_ns.append(stamp_ns)
            self.logs_ns.append(message.log_ns)

    def read(self, data: bytes) -> int:
        """
        Keep what a message says and return its stamp in [ns].

        :raises InputRejected: it cannot be used.
        """
        raise NotImplementedError

    def arrivals(self, name: str, time_base: TimeBase, tolerance_ns: int) -> Arrivals:
        """Return what came."""
        return Arrivals(name, time_base, column(self.stamps_ns), column(self.logs_ns),
                        tolerance_ns)


class StateMessages(Collected):
    """JointStates, of which the robot's joints are picked by name."""

    def __init__(self, topic: BagTopic, robot: RobotSpec) -> None:
        super().__init__(topic)
        self._reader = reader_of(JointStateValue, topic.type_name, topic.definition)
        self._names, self._positions = robot.joint_names, array('d')
        self._sent_ns = 0

    def take(self, message: BagMessage) -> None:
        """
        Take the next message.

        :raises ConversionRefused: it was sent long before the one that was logged before it.
        """
        refused = self.refused
        super().take(message)
        if self.refused != refused:
            return    # another device's, whose clock may be another
        if message.publish_ns < self._sent_ns - REORDERED_NS:
            raise ConversionRefused(
                f'a message on {self.topic} was sent '
                f'{(self._sent_ns - message.publish_ns) / NS_PER_S:.1f} s before the one that is '
                'logged before it, as when a simulator starts again while it is recorded: cut the '
                'recording there and convert the parts')
        self._sent_ns = message.publish_ns

    def read(self, data: bytes) -> int:
        """Keep the positions."""
        value = self._reader(data)
        sample = joint_sample(
            value.names, value.position, value.velocity, self._names, value.stamp_ns)
        self._positions.extend(sample.position)
        return value.stamp_ns

    def track(self, dated: Dated) -> JointTrack:
        """Return the samples that can be used."""
        return JointTrack(
            dated.times_ns, table(self._positions, len(self._names))[dated.places])


class FrameMessages(Collected):
    """
    Images of one camera, looked at from outside; an image's place is its number in the topic.

    :ivar camera: The contract's, with the transport that was recorded.
    """

    def __init__(self, topic: BagTopic, camera: CameraSpec) -> None:
        super().__init__(topic)
        compressed = topic.type_name == CompressedImageValue.TYPE
        self.camera = camera if not compressed else replace(
            camera, transport=ImageTransport.COMPRESSED, encoding='rgb8')
        self._reader: Callable[[bytes], Any] = reader_of(
            CompressedImageValue if compressed else ImageValue, topic.type_name, topic.definition)
        self._check: Callable[[Any], None] = (
            (lambda value: check_compressed(value.data, self.camera)) if compressed
            else (lambda value: check_unpacked(value, self.camera)))
        self._places, self._all_logs_ns = array('q'), array('q')
        self._digests: list[bytes] = []

    def take(self, message: BagMessage) -> None:
        """Take the next image."""
        self._all_logs_ns.append(message.log_ns)
        super().take(message)

    def read(self, data: bytes) -> int:
        """Keep what tells whether the camera hangs, if somebody asks."""
        value = self._reader(data)
        self._check(value)
        if self.camera.frozen_after_s:
            self._digests.append(hashlib.blake2b(value.data, digest_size=DIGEST_BYTES).digest())
        self._places.append(len(self._all_logs_ns) - 1)
        return int(value.stamp_ns)

    def frame(self, data: bytes) -> CameraFrame:
        """
        Return the frame in a message.

        :raises InputRejected: it is damaged.
        """
        value = self._reader(data)
        if isinstance(value, CompressedImageValue):
            return decoded_frame(value.data, self.camera, value.stamp_ns)
        return unpacked_frame(value, self.camera, value.stamp_ns)

    def track(self, dated: Dated) -> FrameTrack:
        """Return the images that can be used; not those whose number is needed."""
        digests = tuple(self._digests[place] for place in dated.places) if self._digests else ()
        return FrameTrack(dated.times_ns, column(self._places)[dated.places], digests)

    @property
    def all_logs_ns(self) -> StampArray:
        """Return when each message of the topic was logged, usable or not."""
        return column(self._all_logs_ns)


class InstructionMessages(Collected):
    """
    Instructions, which have no stamps.

    :ivar texts: One for each.
    """

    def __init__(self, topic: BagTopic) -> None:
        super().__init__(topic)
        self._reader = reader_of(TextValue, topic.type_name, topic.definition)
        self.texts: list[str] = []

    def read(self, data: bytes) -> int:
        """Keep the text."""
        self.texts.append(self._reader(data).data)
        return 0


class EventMessages(Collected):
    """
    EpisodeEvents.

    :ivar values: One for each.
    """

    def __init__(self, topic: BagTopic) -> None:
        super().__init__(topic)
        self._reader = reader_of(EpisodeEventValue, topic.type_name, topic.definition)
        self.values: list[EpisodeEventValue] = []

    def read(self, data: bytes) -> int:
        """Keep the event."""
        self.values.append(self._reader(data))
        return self.values[-1].stamp_ns


class PolicyMessages(Collected):
    """
    What inference said of its policy.

    :ivar policy_id: The last one's, '' for none.
    """

    def __init__(self, topic: BagTopic) -> None:
        super().__init__(topic)
        self._reader = reader_of(DiagnosticValue, topic.type_name, topic.definition)
        self.policy_id = ''

    def read(self, data: bytes) -> int:
        """Keep the policy's name."""
        self.policy_id = dict(self._reader(data).values).get('policy_id', self.policy_id)
        return 0


def column(numbers: array[int]) -> StampArray:
    """Return a copy of ``numbers``, shape (M,)."""
    return np.array(numbers, np.int64)


def table(numbers: array[float], width: int) -> FloatArray:
    """Return a copy of ``numbers`` in rows, shape (M, width)."""
    return np.array(numbers, np.float64).reshape(-1, width)
