"""The executor as a process of its own, with a kinematic arm on the other side of DDS."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
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

from chunked_vla_ros.bench.motion_audit import limit_use, track
from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.core.types import ActionChunk as Chunk
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.graph.installation import executable
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import ActionChunk, ExecutorState
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.motion_log import MotionLog
from chunked_vla_ros.srv import ResetExecutor, SetControlSource

MS = 1_000_000
ROBOT = load_robot('ur5e_sim')
SESSION = 'ab' * 16
STALL_NS = 15 * MS


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
        self.log = MotionLog(self.node, ROBOT, commands=True)
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

    def last_step_rad(self) -> float:
        """Return how far apart the last two commands are."""
        return float(np.abs(np.diff(self.commands[-2:], axis=0)).max())

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


@pytest.fixture(scope='module')
def graph(domain: int, arm: Arm, patient_contract: Path) -> Iterator[Supervisor]:
    spec = NodeSpec('chunk_executor_node', 'chunk_executor',
                    parameters={'robot': str(patient_contract)})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        arm.peer.wait_for_listeners(arm.joints, arm.chunks, arm.stop, arm.trajectories)
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


BAD_CHUNKS: dict[str, dict[str, Any]] = {
    'not finite': {'rows': np.full((16, 7), np.nan)},
    'wrong width': {'rows': np.zeros((16, 3)), 'joint_names': ROBOT.joint_names[:3]},
    'joint names': {'joint_names': ('elsewhere', *ROBOT.joint_names[1:])},
    'no points': {'rows': np.zeros((0, 7))},
    'zero stamp': {'start_ns': 0},
    'stale': {'start_ns': 10**9, 'observation_ns': 10**9},
    'from the future': {'start_ns': 2 * 10**18},
    'start pose': {'rows': ROBOT.home + 0.5 * np.ones((16, 7))},
    'out of order': {'chunk_id': 0, 'session_id': SESSION}}


def test_each_bad_chunk_is_refused_with_a_counted_reason(ready: Arm) -> None:
    for reason, fields in BAD_CHUNKS.items():
        if reason == 'out of order':    # it needs one before it
            ready.send(np.tile(ready.position, (16, 1)))
            ready.wait_mode(Mode.RUNNING)
        before = ready.state.stale + ready.state.rejected
        ready.send(**fields)
        ready.wait(lambda before=before: ready.state.stale + ready.state.rejected == before + 1,
                   f'rejection: {reason}')
    ready.findings.clear()
    ready.wait(lambda: ready.findings, 'diagnostics')
    counts = {pair.key.removeprefix('rejected: '): int(pair.value)
              for status in ready.findings[-1].status for pair in status.values
              if pair.key.startswith('rejected: ')}
    assert set(counts) >= set(BAD_CHUNKS)
    assert min(counts.values()) >= 1


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
    def change(transition: int, reached: str) -> None:
        ready.peer.call(ChangeState, 'chunk_executor/change_state', ChangeState.Request(
            transition=Transition(id=transition)))
        state = ready.peer.call(GetState, 'chunk_executor/get_state', GetState.Request())
        assert state.current_state.label == reached
    ready.send()
    ready.wait_mode(Mode.RUNNING)
    ready.stop.publish(Bool(data=True))
    ready.wait_mode(Mode.ESTOP)
    ready.stop.publish(Bool(data=False))
    change(Transition.TRANSITION_DEACTIVATE, 'inactive')
    ready.wait_mode(Mode.INACTIVE)
    assert ready.state.reason == 'deactivated'
    assert not ready.state.command.positions
    change(Transition.TRANSITION_ACTIVATE, 'active')
    ready.wait_mode(Mode.ESTOP)
    assert ready.state.reason == 'emergency stop pressed'


MODULE = 'chunked_vla_ros.nodes.chunk_executor_node'
Start = Callable[..., tuple[int, str]]


def test_the_installed_program_ends_with_one_line_and_exit_code_2(domain: int) -> None:
    done = subprocess.run(
        [str(executable('chunk_executor_node')), '--ros-args', '-p', 'rate_hz:=5000.0'],
        timeout=100, env={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, capture_output=True,
        text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize(('setting', 'complaint'), [
    ('rate_hz:=5000.0', 'parameter rate_hz is 5000.0, expected float from 0.0 to 1000.0'),
    ('rate_hz:=fast', "parameter rate_hz is 'fast', expected float from 0.0 to 1000.0"),
    ('rate_hz:=50.0', 'parameter rate_hz is 50, expected 100 to 1000'),
    ('rate:=200.0', 'unknown parameter rate in the command line'),
    ('robot:=nobody', 'nobody'),
])
def test_wrong_parameter_ends_with_one_line_that_names_it(
        domain: int, try_to_start: Start, setting: str, complaint: str) -> None:
    code, errors = try_to_start(MODULE, domain, '--ros-args', '-p', setting)
    assert code == 2
    lines = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert 'Traceback' not in errors


def test_unknown_name_in_a_parameter_file_is_refused_but_not_under_the_wildcard(
        domain: int, try_to_start: Start, tmp_path: Path) -> None:
    path = tmp_path / 'executor.yaml'
    path.write_text('/**:\n  ros__parameters: {anything: 1}\n'
                    'chunk_executor:\n  ros__parameters: {horizon: 16}\n')
    code, errors = try_to_start(MODULE, domain, '--ros-args', '--params-file', str(path))
    assert code == 2
    assert f'unknown parameter horizon in {path}' in errors
    assert 'anything' not in errors


def test_interrupt_in_motion_is_a_bounded_stop_and_exit_0(domain: int, ready: Arm, graph: Any
                                                          ) -> None:
    ready.send()
    ready.wait_mode(Mode.RUNNING)
    ready.log.start()
    ready.wait(lambda: len(ready.log.recorded.messages.get('executor_state', [])) > 1, 'states')
    os.kill(graph.pid('chunk_executor'), signal.SIGINT)
    ready.wait(lambda: graph.poll()['chunk_executor'] is not None, 'end')
    assert graph.poll()['chunk_executor'] == 0
    # At 0.2 rad/s a step is 1 mrad.
    ready.wait(lambda: ready.last_step_rad() < 1e-4, 'the last commands, at rest')
    record = ready.log.decode(ready.log.take())
    told = [sample for sample in record.executor if sample.position.size]
    assert told[0].velocity[0] > 0.0
    assert limit_use(track(told, record.commands.times_ns, STALL_NS), ROBOT.limits).violations == 0
