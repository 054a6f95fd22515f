"""Every quality-of-service profile of the package, each with its reason."""

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

# Newest wins: a lost sample is replaced sooner than it could be sent again (REP 2003).
SENSOR = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)

# The controllers' own default. Depth 1: only the newest command is worth executing.
COMMAND = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)

# Facts that a late joiner must know: instruction, emergency stop, policy in force.
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL)

# Marks on an episode's time line may not be lost.
EVENT = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE)

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
