"""The executor as a process of its own, with a kinematic arm on the other side of DDS."""

from collections.abc import Callable, Iterator
import os
import signal
import subprocess
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, ListParameters
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.core.types import ActionChunk as Chunk
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.installation import executable
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ActionChunk, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.srv import ResetExecutor, SetControlSource

MS = 1_000_000
ROBOT = load_robot('ur5e_sim')
SESSION = 'ab' * 16


class Arm:
    """A kinematic stand-in: it is where it was last commanded to be."""

    def __init__(self, peer: Any) -> None:
        self.peer, self.node = peer, peer.node
        self.position = ROBOT.home.copy()
        self.names = list(ROBOT.joint_names)
        self.silent = False
        self.commands: list[list[float]] = []
        self.states: list[ExecutorState] = []
        self.findings: list[DiagnosticArray] = []
        self.chunk_id = 0
        create = self.node.create_publisher
        self.joints = create(JointState, 'joint_states', qos.SENSOR)
        self.chunks = create(ActionChunk, 'action_chunk', qos.chunk_out(1.0))
        self.stop = create(Bool, 'emergency_stop', qos.LATCHED)
        self.trajectories = create(JointTrajectory, 'joint_trajectory_in', qos.COMMAND)
        subscribe = self.node.create_subscription
        subscribe(Float64MultiArray, 'position_command', self.follow, qos.COMMAND)
        subscribe(ExecutorState, 'executor_state', self.states.append, qos.STATUS)
        subscribe(DiagnosticArray, '/diagnostics', self.findings.append, qos.STATUS)
        self.node.create_timer(0.008, self.tell)

    def follow(self, msg: Float64MultiArray) -> None:
        self.commands.append(list(msg.data))
        self.position = np.array(msg.data)

    def tell(self) -> None:
        if not self.silent:
            msg = JointState(name=self.names, position=self.position[:len(self.names)].tolist())
            msg.header.stamp = self.node.get_clock().now().to_msg()
            self.joints.publish(msg)

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def send(self, rows: Any = None, **fields: Any) -> None:
        """Publish a chunk of 16 points; by default joint 0 moves on at 0.2 rad/s."""
        now_ns = self.now_ns()
        self.chunk_id += 1
        if rows is None:
            rows = np.tile(self.position, (16, 1))
            rows[:, 0] += 0.2 * 0.05 * np.arange(16)
        values = {'session_id': SESSION, 'chunk_id': self.chunk_id, 'start_ns': now_ns,
                  'observation_ns': now_ns, 'valid_for_ns': 1000 * MS, 'policy_id': 'test',
                  'joint_names': ROBOT.joint_names} | fields
        self.chunks.publish(conversions.chunk_to_msg(Chunk(
            positions=rows, offsets_ns=np.arange(len(rows)) * 50 * MS, **values)))

    @property
    def state(self) -> ExecutorState:
        return self.states[-1]

    def wait(self, condition: Callable[[], object], what: str) -> Any:
        return self.peer.wait_for(condition, what)

    def wait_mode(self, mode: Mode) -> None:
        self.wait(lambda: self.states and self.state.mode == mode, f'mode {mode.name}')


@pytest.fixture(scope='module')
def arm(peer: Any) -> Arm:
    return Arm(peer)


def spec(**parameters: Any) -> NodeSpec:
    return NodeSpec('chunk_executor_node', 'chunk_executor',
                    parameters={'robot': 'ur5e_sim', **parameters})


@pytest.fixture(scope='module')
def graph(domain: int, arm: Arm) -> Iterator[Supervisor]:
    with Supervisor([spec()], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        arm.wait_mode(Mode.HOLD)
        yield graph
    assert graph.poll() == {'chunk_executor': 0}, graph.log_tail('chunk_executor')


@pytest.fixture
def ready(graph: Supervisor, arm: Arm) -> Arm:
    """Return the arm at home, held, with the executor listening to the policy."""
    arm.silent, arm.names = False, list(ROBOT.joint_names)
    arm.stop.publish(Bool(data=False))
    arm.wait(lambda: arm.state.mode in (Mode.HOLD, Mode.ESTOP, Mode.FAULT), 'rest')
    request = SetControlSource.Request(source=int(Source.POLICY))
    arm.wait(lambda: arm.peer.call(
        ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request()).success, 'reset')
    assert arm.peer.call(SetControlSource, 'chunk_executor/set_control_source', request).success
    arm.wait_mode(Mode.HOLD)
    return arm


def test_executor_holds_the_measured_pose_until_a_chunk_arrives(ready: Arm) -> None:
    assert list(ready.state.command.positions) == pytest.approx(ready.position.tolist())
    assert list(ready.state.joint_names) == list(ROBOT.joint_names)


def test_chunk_moves_the_arm_and_its_end_stops_it(ready: Arm) -> None:
    start = ready.position[0]
    ready.send()
    ready.wait_mode(Mode.RUNNING)
    assert conversions.uuid_to_hex(ready.state.session_id) == SESSION
    assert ready.state.chunk_id == ready.chunk_id
    ready.wait_mode(Mode.HOLD)
    assert ready.state.reason == 'starved: no chunk arrived in time'
    assert 0.12 < ready.position[0] - start < 0.2
    assert 0 < conversions.duration_to_ns(ready.state.observation_to_command) < 1000 * MS


@pytest.mark.parametrize(('fields', 'reason'), [
    ({'rows': np.full((16, 7), np.nan)}, 'not finite'),
    ({'rows': np.zeros((16, 3)), 'joint_names': ROBOT.joint_names[:3]}, 'wrong width'),
    ({'joint_names': ('elsewhere', *ROBOT.joint_names[1:])}, 'joint names'),
    ({'rows': np.zeros((0, 7))}, 'no points'),
    ({'start_ns': 0}, 'zero stamp'),
    ({'start_ns': 10**9, 'observation_ns': 10**9}, 'stale'),
    ({'start_ns': 2 * 10**18}, 'from the future'),
    ({'rows': ROBOT.home + 0.5 * np.ones((16, 7))}, 'start pose'),
    ({'chunk_id': 0, 'session_id': SESSION}, 'out of order'),
])
def test_bad_chunk_is_refused_with_a_counted_reason(
        ready: Arm, fields: dict[str, Any], reason: str) -> None:
    if reason == 'out of order':    # it needs one before it
        ready.send(np.tile(ready.position, (16, 1)))
        ready.wait_mode(Mode.RUNNING)
    before = ready.state.stale + ready.state.rejected
    ready.send(**fields)
    ready.wait(lambda: ready.state.stale + ready.state.rejected == before + 1, 'rejection')
    key = f'rejected: {reason}'
    ready.wait(lambda: any(
        pair.key == key and int(pair.value) >= 1
        for array in ready.findings[-3:] for status in array.status for pair in status.values),
        f'{key} on /diagnostics')


def test_chunk_of_zero_dt_is_refused(ready: Arm) -> None:
    before = ready.state.rejected
    msg = conversions.chunk_to_msg(Chunk(
        SESSION, 10**6, ready.now_ns(), ready.now_ns(), 1000 * MS, ROBOT.joint_names,
        np.tile(ready.position, (3, 1)), np.array([0, 0, 0])))
    ready.chunks.publish(msg)
    ready.wait(lambda: ready.state.rejected == before + 1, 'rejection')


def test_any_node_may_send_a_trajectory_with_stamp_zero(ready: Arm) -> None:
    target = ready.position.copy()
    target[5] += 0.1
    msg = JointTrajectory(joint_names=list(ROBOT.joint_names))
    msg.points = [JointTrajectoryPoint(positions=target.tolist())]
    msg.points[0].time_from_start.sec = 1
    ready.trajectories.publish(msg)
    ready.wait_mode(Mode.RUNNING)
    ready.wait_mode(Mode.HOLD)
    assert ready.state.reason == 'chunk finished'
    assert ready.position[5] == pytest.approx(target[5], abs=1e-6)


def test_emergency_stop_is_latched_until_released_and_reset(ready: Arm) -> None:
    ready.send()
    ready.wait_mode(Mode.RUNNING)
    ready.stop.publish(Bool(data=True))
    ready.wait_mode(Mode.ESTOP)
    assert ready.state.reason == 'emergency stop pressed'
    answer = ready.peer.call(ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request())
    assert (answer.success, answer.message) == (False, 'emergency stop pressed')
    ready.stop.publish(Bool(data=False))
    ready.wait(lambda: ready.peer.call(
        ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request()).success, 'reset')
    ready.wait_mode(Mode.HOLD)


def test_a_button_without_guarantees_may_press_and_release_its_own_press(ready: Arm) -> None:
    button = ready.peer.node.create_publisher(Bool, 'emergency_stop', qos.SENSOR)
    ready.wait(lambda: button.get_subscription_count() == 1, 'the one best-effort listener')
    button.publish(Bool(data=True))
    ready.wait_mode(Mode.ESTOP)
    button.publish(Bool(data=False))
    ready.wait(lambda: ready.peer.call(
        ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request()).success, 'reset')
    ready.peer.destroy(button)


def test_a_message_too_large_for_any_chunk_is_refused_unread(ready: Arm) -> None:
    before = ready.state.rejected
    msg = JointTrajectory(joint_names=list(ROBOT.joint_names))
    msg.points = [JointTrajectoryPoint(positions=ready.position.tolist())] * 2000
    ready.trajectories.publish(msg)
    ready.wait(lambda: ready.state.rejected == before + 1, 'refusal')
    assert ready.state.mode == Mode.HOLD


def test_hold_source_refuses_chunks_and_an_unknown_source_is_named(ready: Arm) -> None:
    def choose(source: int) -> Any:
        return ready.peer.call(SetControlSource, 'chunk_executor/set_control_source',
                               SetControlSource.Request(source=source))
    assert choose(int(Source.HOLD)).success
    before = ready.state.rejected
    ready.send()
    ready.wait(lambda: ready.state.rejected == before + 1, 'rejection')
    answer = choose(9)
    assert not answer.success
    assert answer.message == 'source 9, expected 0 (policy), 1 (teleop), 2 (hold)'
    assert answer.source == int(Source.HOLD)


def test_joint_missing_in_joint_states_stops_commands(ready: Arm) -> None:
    ready.names = list(ROBOT.joint_names[:-1])
    ready.wait(lambda: 'joint_states is' in ready.state.reason, 'stale joint_states')
    assert ready.state.mode == Mode.HOLD
    assert not ready.state.command.positions


def test_joints_in_another_order_are_the_same_arm(ready: Arm) -> None:
    ready.silent = True
    names, position = ready.names[::-1], ready.position[::-1]
    ready.wait(lambda: 'joint_states is' in ready.state.reason, 'silence')
    ready.names, ready.position, ready.silent = names, position, False
    ready.wait(lambda: ready.state.command.positions, 'armed executor')
    # The stand-in obeys the command at once: what it obeys is in the contract's order.
    assert list(ready.state.command.positions) == pytest.approx(position[::-1].tolist())


def test_every_parameter_is_described_and_numbers_have_a_range(ready: Arm) -> None:
    names = [name for name in ready.peer.call(
        ListParameters, 'chunk_executor/list_parameters', ListParameters.Request()).result.names
        if not name.startswith(('qos_overrides', 'use_sim_time', 'start_type'))]
    found = ready.peer.call(DescribeParameters, 'chunk_executor/describe_parameters',
                            DescribeParameters.Request(names=names)).descriptors
    assert 'rate_hz' in names
    for descriptor in found:
        assert descriptor.description, descriptor.name
        if descriptor.type in (2, 3):
            assert descriptor.integer_range or descriptor.floating_point_range, descriptor.name


def test_lifecycle_reports_active(ready: Arm) -> None:
    state = ready.peer.call(GetState, 'chunk_executor/get_state', GetState.Request())
    assert state.current_state.label == 'active'


def test_latch_outlives_deactivation_and_the_last_state_says_inactive(ready: Arm) -> None:
    def change(transition: int) -> None:
        answer = ready.peer.call(ChangeState, 'chunk_executor/change_state', ChangeState.Request(
            transition=Transition(id=transition)))
        assert answer.success
    ready.send()
    ready.wait_mode(Mode.RUNNING)
    ready.stop.publish(Bool(data=True))
    ready.wait_mode(Mode.ESTOP)
    ready.stop.publish(Bool(data=False))
    change(Transition.TRANSITION_DEACTIVATE)
    ready.wait_mode(Mode.INACTIVE)
    assert ready.state.reason == 'deactivated'
    assert not ready.state.command.positions
    change(Transition.TRANSITION_ACTIVATE)
    ready.wait_mode(Mode.ESTOP)
    assert ready.state.reason == 'emergency stop pressed'


def run_to_end(domain: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(executable('chunk_executor_node')), '--ros-args', *arguments], timeout=30,
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, capture_output=True, text=True,
        check=False)


@pytest.mark.parametrize(('setting', 'complaint'), [
    ('rate_hz:=5000.0', 'parameter rate_hz is 5000.0, expected float from 0.0 to 1000.0'),
    ('rate_hz:=fast', "parameter rate_hz is 'fast', expected float from 0.0 to 1000.0"),
    ('rate_hz:=50.0', 'parameter rate_hz is 50, expected 100 to 1000'),
    ('rate:=200.0', 'unknown parameter rate in the command line'),
    ('robot:=nobody', 'nobody'),
])
def test_wrong_parameter_ends_with_one_line_that_names_it(
        domain: int, setting: str, complaint: str) -> None:
    done = run_to_end(domain, '-p', setting)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert 'Traceback' not in done.stderr


def test_unknown_name_in_a_parameter_file_is_refused_but_not_under_the_wildcard(
        domain: int, tmp_path: Any) -> None:
    path = tmp_path / 'executor.yaml'
    path.write_text('/**:\n  ros__parameters: {anything: 1}\n'
                    'chunk_executor:\n  ros__parameters: {horizon: 16}\n')
    done = run_to_end(domain, '--params-file', str(path))
    assert done.returncode == 2
    assert f'unknown parameter horizon in {path}' in done.stderr
    assert 'anything' not in done.stderr


def test_interrupt_in_motion_is_a_bounded_stop_and_exit_0(domain: int, ready: Arm, graph: Any
                                                          ) -> None:
    ready.send()
    ready.wait_mode(Mode.RUNNING)
    ready.commands.clear()
    pid = graph.pid('chunk_executor')
    os.kill(pid, signal.SIGINT)
    ready.peer.wait_for(lambda: graph.poll()['chunk_executor'] is not None, 'end', limit_s=2.0)
    assert graph.poll()['chunk_executor'] == 0
    steps = np.diff(np.array(ready.commands)[:, 0])
    limits = ROBOT.limits
    assert steps[-1] == pytest.approx(0.0, abs=1e-3)
    # Two periods: a command may be missed, DDS keeps only the newest.
    assert np.abs(np.diff(steps)).max() < limits.acceleration[0] * 0.01 * 0.01 * 4
