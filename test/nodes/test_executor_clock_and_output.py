"""The executor under simulated time, and with a trajectory controller downstream."""

from collections.abc import Iterator
from pathlib import Path
import time
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.core.types import ActionChunk as Chunk
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ActionChunk, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.srv import SetControlSource

MS = 1_000_000
ROBOT = load_robot('ur5e_sim')
CONTRACT = Path(__file__).parents[2] / 'config' / 'robots' / 'ur5e_sim.yaml'


class SimulatedArm:
    """An arm at home, whose time passes only when it is told to."""

    def __init__(self, peer: Any) -> None:
        self.peer, self.now_ns = peer, 10**9
        self.states: list[ExecutorState] = []
        self.trajectories: list[JointTrajectory] = []
        create = peer.node.create_publisher
        self.clock = create(Clock, '/clock', qos.CLOCK)
        self.joints = create(JointState, 'joint_states', qos.SENSOR)
        self.chunks = create(ActionChunk, 'action_chunk', qos.chunk_out(1.0))
        subscribe = peer.node.create_subscription
        subscribe(ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        subscribe(JointTrajectory, 'joint_trajectory', self.trajectories.append, qos.COMMAND)

    def pass_a_period(self) -> None:
        """Let 5 ms pass."""
        self.now_ns += 5 * MS
        self.tell()

    def tell(self) -> None:
        """Say what time it is, and where the arm is."""
        msg = JointState(name=list(ROBOT.joint_names), position=ROBOT.home.tolist())
        msg.header.stamp = conversions.ns_to_stamp(self.now_ns)
        self.joints.publish(msg)
        self.clock.publish(Clock(clock=conversions.ns_to_stamp(self.now_ns)))

    def advance(self, periods: int = 1) -> None:
        """Let 5 ms pass ``periods`` times, each seen by the executor before the next."""
        for _ in range(periods):
            ticks = self.states[-1].ticks
            self.pass_a_period()
            # Clocks are best effort: what does not arrive is said again.
            while not self.ticked_since(ticks, 0.2):
                self.tell()

    def ticked_since(self, before: int, limit_s: float) -> bool:
        """Wait for a tick after ``before`` of them, at most ``limit_s`` [s]."""
        deadline = time.monotonic() + limit_s
        while self.states[-1].ticks <= before and time.monotonic() < deadline:
            time.sleep(0.002)
        return self.states[-1].ticks > before


@pytest.fixture(scope='module')
def arm(peer: Any, domain: int, tmp_path_factory: Any) -> Iterator[SimulatedArm]:
    contract = yaml.safe_load(CONTRACT.read_text())
    contract['command'] |= {'kind': 'joint_trajectory', 'topic': 'joint_trajectory'}
    path = tmp_path_factory.mktemp('contract') / 'trajectory_arm.yaml'
    path.write_text(yaml.safe_dump(contract))
    spec = NodeSpec('chunk_executor_node', 'chunk_executor', parameters={
        'robot': str(path), 'use_sim_time': True})
    arm = SimulatedArm(peer)
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        # Joints and clock find the node at different moments: let time pass until both have.
        peer.wait_for(lambda: arm.states, 'executor')
        peer.wait_for(lambda: _until_armed(arm), 'armed executor')
        yield arm
    assert graph.poll() == {'chunk_executor': 0}, graph.log_tail('chunk_executor')


def _until_armed(arm: SimulatedArm) -> bool:
    arm.pass_a_period()
    return bool(arm.states[-1].mode == Mode.HOLD and arm.trajectories)


def test_paused_clock_moves_nothing_and_a_running_one_moves_by_its_own_time(arm: SimulatedArm
                                                                            ) -> None:
    arm.advance()
    rows = np.tile(ROBOT.home, (16, 1))
    rows[:, 0] += 0.1 * 0.05 * np.arange(16)
    arm.chunks.publish(conversions.chunk_to_msg(Chunk(
        'ab' * 16, 1, arm.now_ns, arm.now_ns, 1000 * MS, ROBOT.joint_names, rows,
        np.arange(16) * 50 * MS)))
    # Five states in a row, 0.1 s of real time, with the same count: nothing ticks.
    seen = len(arm.states)
    arm.peer.wait_for(lambda: len(arm.states) > seen + 5
                      and arm.states[-1].ticks == arm.states[-6].ticks, 'pause')
    ticks = arm.states[-1].ticks
    assert arm.states[-1].mode == Mode.HOLD
    arm.advance(60)
    state = arm.states[-1]
    assert state.mode == Mode.RUNNING
    assert state.ticks >= ticks + 60
    assert state.command.positions[0] - ROBOT.home[0] == pytest.approx(0.03, abs=0.003)


def test_trajectories_carry_velocities_and_end_at_rest(arm: SimulatedArm) -> None:
    msg = arm.trajectories[-1]
    assert list(msg.joint_names) == list(ROBOT.joint_names)
    times = [conversions.duration_to_ns(point.time_from_start) for point in msg.points]
    assert times == sorted(set(times))
    assert list(msg.points[-1].velocities) == pytest.approx([0.0] * 7, abs=1e-9)
    assert all(len(point.accelerations) == 7 for point in msg.points)


def test_a_trajectory_of_an_arm_at_rest_still_lasts_when_it_arrives(arm: SimulatedArm) -> None:
    holding = arm.trajectories[0]    # armed, and nothing was asked of it yet
    assert [conversions.duration_to_ns(point.time_from_start) for point in holding.points] == [
        0, 20 * MS]
    assert holding.points[0].positions == holding.points[1].positions


def test_services_are_answered_on_simulated_time_and_say_when_it_stands_still(arm: SimulatedArm
                                                                             ) -> None:
    request = SetControlSource.Request(source=int(Source.HOLD))
    answer = arm.peer.call(SetControlSource, 'chunk_executor/set_control_source', request)
    assert not answer.success
    assert answer.message == 'the control loop does not tick; is /clock running?'
    timer = arm.peer.node.create_timer(0.005, arm.pass_a_period)
    answer = arm.peer.call(SetControlSource, 'chunk_executor/set_control_source', request)
    arm.peer.destroy(timer)
    assert answer.success, answer.message
