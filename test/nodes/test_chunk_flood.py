"""A thousand chunks at once: the newest wins, the arm keeps its limits, memory stays bounded."""

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.bench.thread_time import resident_bytes
from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.nodes.bench_arm import BenchArm

ROBOT = load_robot('ur5e_sim')
FLOOD, BATCHES, RATE_HZ = 1000, 20, 200.0
MOST_GROWTH = 16 * 2**20
PID = int


def flood(arm: BenchArm) -> list[tuple[float, ...]]:
    """Send the chunks as fast as possible, pausing only to be the arm; return its commands."""
    commands = []
    for _ in range(BATCHES):
        for _ in range(FLOOD // BATCHES):
            arm.send_chunk()
        arm.run(0.01, chunk_rate_hz=0.0)
        commands += arm.commands
    return commands


@pytest.fixture
def moving(domain: int) -> Iterator[tuple[BenchArm, PID]]:
    """Yield an arm in motion and its executor's process."""
    arm = BenchArm(ROBOT, domain, 125.0)
    spec = NodeSpec('chunk_executor_node', 'chunk_executor', parameters={'rate_hz': RATE_HZ})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        arm.wait_for('armed executor', lambda seen: seen.mode == Mode.HOLD)
        arm.wait_for('motion', lambda seen: seen.mode == Mode.RUNNING, chunk_rate_hz=10.0)
        arm.run(1.0)
        pid = graph.pid('chunk_executor')
        assert pid is not None
        yield arm, pid
    arm.close()


def test_flood_of_chunks_neither_stops_the_arm_nor_grows_memory(
        moving: tuple[BenchArm, PID]) -> None:
    arm, pid = moving
    before = arm.run(0.2)
    resident = resident_bytes(pid)
    assert before is not None
    flood(arm)
    last = arm.chunk_id
    seen = arm.wait_for('newest chunk', lambda seen: seen.chunk_id == last)
    assert seen.mode is Mode.RUNNING
    assert seen.accepted > before.accepted
    # One plan per tick at most, whatever comes.
    assert seen.accepted - before.accepted <= seen.ticks - before.ticks + 1
    assert resident_bytes(pid) - resident < MOST_GROWTH
    after = arm.run(1.0)
    assert after is not None
    assert (after.mode, after.clamps, after.holds) == (
        Mode.RUNNING, before.clamps, before.holds)


def test_commands_keep_the_velocity_limit_through_a_flood(moving: tuple[BenchArm, PID]) -> None:
    arm, _ = moving
    # DDS keeps only the newest command, so a step of what was heard may span some periods.
    commands = np.array(flood(arm))
    assert len(commands) > BATCHES
    assert np.abs(np.diff(commands[:, 0])).max() < ROBOT.limits.velocity[0] * 0.1
