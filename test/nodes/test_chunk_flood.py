"""A thousand chunks at once: the newest wins, the limits are kept, memory stays bounded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

from chunked_vla_ros.bench.motion_audit import jumps, limit_use, lost_samples, Track, track
from chunked_vla_ros.bench.thread_time import resident_bytes
from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.core.motion_clock import MAX_PERIODS
from chunked_vla_ros.core.motion_record import ExecutorSample, MotionRecord
from chunked_vla_ros.core.types import ActionChunk as Chunk
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ActionChunk, ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import chunk_to_msg
from chunked_vla_ros.nodes.motion_log import MotionLog
from chunked_vla_ros.srv import ResetExecutor

ROBOT = load_robot('ur5e_sim')
FLOOD, RATE_HZ = 1000, 200.0
PERIOD_NS = round(1e9 / RATE_HZ)
HORIZON, SPACING_NS, VALID_FOR_NS = 48, 50_000_000, 2_500_000_000
SESSION = 'fd' * 16
SWAY = [0.09, -0.09] * (FLOOD // 2)
# A thousand of these chunks take 30 MB as messages, 5 MB as bytes; what a tick takes of them 1 MB.
MOST_GROWTH = 2**20
STALL_NS = 3 * PERIOD_NS


class Arm:
    """An arm that is where it was commanded to be; sends chunks that contradict each other."""

    def __init__(self, peer: Any, pid: int) -> None:
        self.peer, self.pid, self.pose = peer, pid, ROBOT.home.copy()
        self.states: list[ExecutorState] = []
        self.chunk_id = 0
        self.log = MotionLog(peer.node, ROBOT, commands=True)
        node = peer.node
        self.joints = node.create_publisher(JointState, 'joint_states', qos.SENSOR)
        self.chunks = node.create_publisher(ActionChunk, 'action_chunk', qos.chunk_out(2.5))
        self.button = node.create_publisher(Bool, 'emergency_stop', qos.LATCHED)
        node.create_subscription(Float64MultiArray, 'position_command', self.obey, qos.COMMAND)
        node.create_subscription(
            ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        node.create_timer(0.008, self.tell)

    def obey(self, msg: Float64MultiArray) -> None:
        self.pose = np.array(msg.data)

    def tell(self) -> None:
        msg = JointState(name=list(ROBOT.joint_names), position=self.pose.tolist())
        msg.header.stamp = self.peer.node.get_clock().now().to_msg()
        self.joints.publish(msg)

    def wait_for_mode(self, mode: Mode) -> None:
        self.peer.wait_for(lambda: self.states and self.states[-1].mode == mode, mode.name,
                           instead=lambda: self.states[-1:])

    def wait_for_rest(self) -> None:
        """Wait until the newest chunk was followed: an earlier one may have run out before."""
        self.peer.wait_for(lambda: self.states[-1].chunk_id == self.chunk_id, 'newest chunk',
                           instead=lambda: (self.chunk_id, self.states[-1]))
        self.wait_for_mode(Mode.HOLD)

    def written(self, offsets_rad: Any) -> list[bytes]:
        """Return chunks that ask to be at home plus each offset, from now on, as sent."""
        now_ns = int(self.peer.node.get_clock().now().nanoseconds)
        templates = {offset: self.message(offset, now_ns) for offset in set(offsets_rad)}
        made = []
        for offset in offsets_rad:
            self.chunk_id += 1
            templates[offset].chunk_id = self.chunk_id
            made.append(serialize_message(templates[offset]))
        return made

    def message(self, offset_rad: float, now_ns: int) -> ActionChunk:
        pose = ROBOT.home + np.where(np.arange(len(ROBOT.joints)) < 6, offset_rad, 0.0)
        return chunk_to_msg(Chunk(
            session_id=SESSION, chunk_id=0, start_ns=now_ns, observation_ns=now_ns,
            valid_for_ns=VALID_FOR_NS, policy_id='flood', joint_names=ROBOT.joint_names,
            positions=np.tile(pose, (HORIZON, 1)),
            offsets_ns=SPACING_NS * np.arange(HORIZON), dim_kinds=ROBOT.dim_kinds))

    def flood(self, burst: int, last_rad: float) -> None:
        """Send `FLOOD` chunks this way and that, the last one to ``last_rad``."""
        offsets_rad = [*SWAY[:-1], last_rad]
        for first in range(0, FLOOD, burst):
            # Dated when they are sent: however long that takes, the arm has somewhere to go.
            for data in self.written(offsets_rad[first:first + burst]):
                self.chunks.publish(data)
            # A tick or more between bursts, so that many of the thousand are followed.
            time.sleep(0.01)


@pytest.fixture(scope='module')
def arm(peer: Any, domain: int, patient_contract: Path) -> Iterator[Arm]:
    """Yield the arm of an executor that has already seen a flood: its memory is warm."""
    spec = NodeSpec('chunk_executor_node', 'chunk_executor', parameters={
        'robot': str(patient_contract), 'rate_hz': RATE_HZ, 'state_rate_hz': 50.0})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        pid = graph.pid('chunk_executor')
        assert pid is not None
        arm = Arm(peer, pid)
        peer.wait_for_listeners(arm.joints, arm.chunks, arm.button)
        arm.wait_for_mode(Mode.HOLD)
        arm.flood(50, 0.0)
        arm.wait_for_rest()
        yield arm


@dataclass
class Aftermath:
    """What one flood did; ``goal`` is where its last chunk asked the joints to be."""

    before: ExecutorSample
    after: ExecutorSample
    last_id: int
    goal: float
    pose: float
    record: MotionRecord
    motion: Track
    grown: int


@pytest.fixture(scope='module', params=[FLOOD, 50], ids=['one burst', 'bursts of 50'])
def aftermath(arm: Arm, request: pytest.FixtureRequest) -> Aftermath:
    """Flood, wait until the arm rests, and hand over what was recorded."""
    goal = 0.06 if request.param == 50 else -0.04
    resident = resident_bytes(arm.pid)
    arm.log.start()
    arm.peer.wait_for(
        lambda: len(arm.log.recorded.messages.get('executor_state', [])) > 2, 'states')
    arm.flood(request.param, goal)
    arm.wait_for_rest()
    grown = resident_bytes(arm.pid) - resident
    record = arm.peer.record_of(arm.log)
    return Aftermath(
        record.executor[0], record.executor[-1], arm.chunk_id, goal,
        float(arm.pose[0] - ROBOT.home[0]), record,
        track(record.executor, record.commands.times_ns, STALL_NS), grown)


def test_the_newest_wins(aftermath: Aftermath) -> None:
    followed = [sample.chunk_id for sample in aftermath.record.executor if sample.chunk_id]
    assert followed == sorted(followed)
    assert followed[-1] == aftermath.last_id
    # The arm rests where the last of the thousand wanted it, not where the one before it did.
    assert aftermath.pose == pytest.approx(aftermath.goal, abs=1e-3)


def test_at_most_one_chunk_is_planned_per_tick_and_the_motion_never_breaks(
        aftermath: Aftermath) -> None:
    before, after = aftermath.before.counters, aftermath.after.counters
    assert 1 <= after.accepted - before.accepted <= after.ticks - before.ticks
    modes = [sample.mode for sample in aftermath.record.executor]
    told = [mode for mode, former in zip(modes, [None, *modes], strict=False) if mode != former]
    assert [Mode(mode) for mode in told if mode != Mode.STOPPING] in (
        [Mode.HOLD, Mode.RUNNING, Mode.HOLD], [Mode.RUNNING, Mode.HOLD])


def test_every_command_keeps_the_limits(aftermath: Aftermath) -> None:
    motion, limits = aftermath.motion, ROBOT.limits
    use = limit_use(motion, limits)
    assert use.violations == 0, use
    # The flood pulls hard enough to show it.
    assert use.jerk > 0.3, use
    for at_splices in (False, True):
        found = jumps(motion, limits, at_splices=at_splices)
        assert found.jumps == 0, found
    # States are every fourth tick; a step of the commands between them is bounded all the same.
    commands = aftermath.record.commands.positions
    assert lost_samples(aftermath.record.command_sequence) < len(commands)
    steps = np.abs(np.diff(commands, axis=0))[np.diff(aftermath.record.command_sequence) == 1]
    assert (steps <= 1.01 * limits.velocity * MAX_PERIODS / RATE_HZ).all()
    assert aftermath.after.counters.clamps == aftermath.before.counters.clamps


def test_the_control_loop_goes_on_ticking(aftermath: Aftermath) -> None:
    before, after = aftermath.before, aftermath.after
    ticks = after.counters.ticks - before.counters.ticks
    expected = (after.stamp_ns - before.stamp_ns) / PERIOD_NS
    assert ticks <= 1.02 * expected
    # Of deadlines that a busy machine swallows the loop serves the last, and says how often.
    misses = after.counters.deadline_misses - before.counters.deadline_misses
    assert ticks >= 0.9 * expected or misses > 0
    counts = [sample.counters.ticks for sample in aftermath.record.executor]
    assert counts == sorted(set(counts))


def test_memory_is_bounded(aftermath: Aftermath) -> None:
    assert aftermath.grown < MOST_GROWTH


def test_an_emergency_stop_in_a_flood_is_a_bounded_stop(arm: Arm) -> None:
    arm.log.start()
    written = arm.written(SWAY)
    for index, data in enumerate(written):
        if index == FLOOD // 2:
            arm.peer.wait_for(lambda: arm.states[-1].mode == Mode.RUNNING, 'motion')
            arm.button.publish(Bool(data=True))
        arm.chunks.publish(data)
    arm.wait_for_mode(Mode.ESTOP)
    record = arm.peer.record_of(arm.log)
    stopping = [sample for sample in record.executor if sample.mode == Mode.STOPPING]
    speeds = [float(np.abs(sample.velocity).max()) for sample in record.executor]
    assert stopping[0].reason == 'emergency stop pressed'
    assert max(speeds) > 0.0
    assert speeds[-1] == 0.0
    motion = track(record.executor, record.commands.times_ns, STALL_NS)
    assert limit_use(motion, ROBOT.limits).violations == 0
    # Latched: no chunk of the flood moved the arm again.
    accepted = record.executor[-1].counters.accepted
    arm.button.publish(Bool(data=False))
    arm.peer.wait_for(lambda: arm.peer.call(
        ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request()).success, 'reset')
    arm.wait_for_mode(Mode.HOLD)
    assert arm.states[-1].accepted == accepted
