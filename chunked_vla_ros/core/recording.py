"""
The words of recording: streams, messages as they were on the wire, an episode's facts and fate.

Shared by the recorder, the writer of bags and their readers. Knows no ROS, no file and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

# What a publisher without a limit offers, as rmw and rosbag2 write it.
INFINITE_NS = 2**63 - 1


class Compression(str, Enum):
    """How a camera's images are kept."""

    NONE = 'none'
    JPEG = 'jpeg'
    PNG = 'png'


class Outcome(str, Enum):
    """Whether the task succeeded: a person's or a simulator's judgement, not the recorder's."""

    UNLABELED = 'unlabeled'
    SUCCESS = 'success'
    FAILURE = 'failure'


class Verdict(str, Enum):
    """
    Whether the recording is whole, apart from how the task went.

    GOOD: every stream complete. USABLE: something is missing that training can live with.
    BROKEN: not to be trained on.
    """

    GOOD = 'good'
    USABLE = 'usable'
    BROKEN = 'broken'


@dataclass(frozen=True)
class OfferedQos:
    """
    What one publisher of a topic offered, in the words of rosbag2's metadata version 9.

    :ivar reliability: 'reliable' or 'best_effort'.
    :ivar durability: 'volatile' or 'transient_local'.
    :ivar history: 'keep_last' or 'keep_all'; 'unknown' is what discovery often tells.
    :ivar depth: Of the history, in messages; 0 where it is unknown.
    :ivar lifespan_ns: In [ns], as the following; ``INFINITE_NS`` without a limit.
    :ivar liveliness: 'automatic' or 'manual_by_topic'.
    """

    reliability: str = 'reliable'
    durability: str = 'volatile'
    history: str = 'keep_last'
    depth: int = 10
    lifespan_ns: int = INFINITE_NS
    deadline_ns: int = INFINITE_NS
    liveliness: str = 'automatic'
    liveliness_lease_ns: int = INFINITE_NS


@dataclass(frozen=True)
class StreamSpec:
    """
    A topic to record.

    :ivar topic: Absolute name.
    :ivar type_name: Such as 'sensor_msgs/msg/Image'.
    :ivar definition: Text of the message and of all it contains, as rosbag2 keeps it in 'ros2msg'
        form; '' where it is unknown.
    :ivar type_hash: 'RIHS01_...'; '' where it is unknown.
    :ivar offered_qos: One for each publisher.
    :ivar expected_rate_hz: In [Hz]; ``None`` for a topic that is published now and then.
    :ivar required: An episode without it is broken.
    :ivar compression: Of images.
    """

    topic: str
    type_name: str
    definition: str = ''
    type_hash: str = ''
    offered_qos: tuple[OfferedQos, ...] = ()
    expected_rate_hz: float | None = None
    required: bool = False
    compression: Compression = Compression.NONE


@dataclass(frozen=True, slots=True)
class WireMessage:
    """
    A message as it came.

    :ivar data: CDR, its encapsulation of 4 bytes included.
    :ivar log_ns: When it was received, in [ns] of the node's clock.
    :ivar publish_ns: When it was sent, in [ns].
    :ivar sequence: Its publisher's number; 0 where the middleware gives none.
    """

    topic: str
    data: bytes
    log_ns: int
    publish_ns: int
    sequence: int = 0


@dataclass(frozen=True)
class EpisodeFacts:
    """
    What is known of an episode when it begins.

    :ivar episode_id: Its name, and its directory's.
    :ivar task: The instruction.
    :ivar contract_hash: SHA-256 of the robot contract's file.
    :ivar policy_id: Which policy drove; '' where a person did.
    :ivar start_ns: In [ns] since 1970.
    """

    episode_id: str
    task: str = ''
    operator: str = ''
    robot: str = ''
    contract_hash: str = ''
    policy_id: str = ''
    software_version: str = ''
    start_ns: int = 0

    def as_text(self) -> dict[str, str]:
        """Return the facts as words, as bags keep them."""
        return {
            'episode_id': self.episode_id, 'task': self.task, 'operator': self.operator,
            'robot': self.robot, 'contract_hash': self.contract_hash,
            'policy_id': self.policy_id, 'software_version': self.software_version,
            'start_ns': str(self.start_ns)}
