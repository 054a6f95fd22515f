"""Every quality-of-service profile of the package, each with its reason."""

from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

# Newest wins: a lost sample is replaced sooner than it could be sent again (REP 2003).
SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

# Joints that are taken in batches, from the newest down: what a 1 kHz robot sends in 50 ms.
SAMPLE_BATCH = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)

# The controllers' own default. Depth 1: only the newest command is worth executing.
COMMAND = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)

# Facts that a late joiner must know: instruction, emergency stop, policy in force.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL)

# What rclpy's own time source subscribes with: only the newest time is true.
CLOCK = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

# Marks on an episode's time line may not be lost.
EVENT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE)

# Recorded motion that is played back: subscribers that ask for it get every sample, a second of a
# 1 kHz robot is kept for them; those that want only the newest match as well.
PLAYED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE)

# Executor state, scene and diagnostics: for people and tools, a short backlog is enough.
STATUS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)

# The receiver of chunks wants the newest and one it may be reading.
CHUNK_IN = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=2, reliability=ReliabilityPolicy.RELIABLE)


def chunk_out(valid_for_s: float) -> QoSProfile:
    """
    Return the chunk publisher's profile: samples expire on the wire after ``valid_for_s`` [s].

    Lifespan only saves bandwidth; the executor checks every chunk's age itself.
    """
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=2, reliability=ReliabilityPolicy.RELIABLE,
        lifespan=Duration(nanoseconds=round(valid_for_s * 1e9)))


def emergency_stop(lease_s: float) -> QoSProfile:
    """
    Return the emergency stop's profile: latched, and with a heartbeat if ``lease_s`` [s] > 0.

    A subscription that demands a lease does not match a publisher that offers none, so without a
    heartbeat no lease is asked for.
    """
    profile = QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL, liveliness=LivelinessPolicy.AUTOMATIC)
    if lease_s > 0.0:
        profile.liveliness_lease_duration = Duration(nanoseconds=round(lease_s * 1e9))
    return profile
