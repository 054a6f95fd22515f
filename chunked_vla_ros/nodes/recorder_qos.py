"""
The quality of service that hears every publisher of a topic, and what publishers offer in words.

Of several publishers the weakest offer decides: a subscription that asks for more hears nothing of
that one. Knows nothing about recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from chunked_vla_ros.core.recording import OfferedQos

# What may arrive while the polling thread waits for the processor: two seconds of a 1 kHz robot,
# of images (each perhaps a megabyte) those of three.
DEPTH, LARGE_DEPTH = 2000, 100
LARGE_TYPES = frozenset((
    'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/PointCloud2'))


def profile_for(publishers: Sequence[Any], type_name: str) -> QoSProfile:
    """Return the profile that matches every one of ``publishers`` (TopicEndpointInfo)."""
    offers = [publisher.qos_profile for publisher in publishers]
    reliable = all(offer.reliability != ReliabilityPolicy.BEST_EFFORT for offer in offers)
    latched = bool(offers) and all(
        offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=LARGE_DEPTH if type_name in LARGE_TYPES else DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE))


def asks_too_much(profile: QoSProfile, wanted: QoSProfile) -> bool:
    """Return whether a subscription with ``profile`` misses what ``wanted`` would hear."""
    too_reliable = (wanted.reliability == ReliabilityPolicy.BEST_EFFORT
                    and profile.reliability != wanted.reliability)
    return bool(too_reliable or (is_latched(profile) and not is_latched(wanted)))


def is_latched(profile: QoSProfile) -> bool:
    """Return whether the profile hears what was said before it."""
    return bool(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL)


def offered_qos(publisher: Any) -> OfferedQos:
    """Return what a publisher (TopicEndpointInfo) offers in the words of rosbag2."""
    offer = publisher.qos_profile
    return OfferedQos(
        reliability=_word(offer.reliability), durability=_word(offer.durability),
        history=_word(offer.history), depth=int(offer.depth),
        lifespan_ns=int(offer.lifespan.nanoseconds), deadline_ns=int(offer.deadline.nanoseconds),
        liveliness=_word(offer.liveliness),
        liveliness_lease_ns=int(offer.liveliness_lease_duration.nanoseconds))


def _word(policy: Any) -> str:
    return str(policy.name).lower()
