"""The inference node as a process of its own, driven over DDS as a robot and an operator do."""

from collections.abc import Callable
import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from action_msgs.msg import GoalStatus  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from chunked_vla_ros.action import RunPolicy  # noqa: E402
from chunked_vla_ros.data.robot_contract import load_robot  # noqa: E402
from chunked_vla_ros.demo.free_domain import free_domain  # noqa: E402
from chunked_vla_ros.msg import ActionChunk, EpisodeEvent  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402
from chunked_vla_ros.nodes.conversions import (  # noqa: E402
    chunk_from_msg,
    ns_to_stamp,
    stamp_to_ns,
    uuid_to_hex,
)

ROBOT = load_robot('ur5e_sim')
LIMIT_S = 20.0
RECORDING_S = 1.0
START_NODE = ('import sys; from chunked_vla_ros.nodes.inference_node import main; '
              'sys.exit(main())')

pytestmark = pytest.mark.timeout(120)


def wait_for(condition: Callable[[], object], what: str) -> object:
    """Return what ``condition`` returns as soon as that is true."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f'no {what} within {LIMIT_S} s'
        time.sleep(0.005)
    return found


class Probe:
    """Plays the robot, which stands at home, and the operator; remembers what the node says."""

    def __init__(self, domain):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('probe', context=self.context)
        self.joint_names = list(ROBOT.joint_names)
        self.chunks, self.findings, self.infos, self.feedback = [], [], [], []
        self.joint_states = self.node.create_publisher(JointState, 'joint_states', qos.SENSOR)
        self.events = self.node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
        subscribe = self.node.create_subscription
        subscribe(ActionChunk, 'action_chunk', self.chunks.append, qos.CHUNK_IN)
        subscribe(DiagnosticArray, '/diagnostics', self.findings.append, qos.STATUS)
        subscribe(DiagnosticStatus, 'policy_info', self.infos.append, qos.LATCHED)
        self.client = ActionClient(self.node, RunPolicy, 'inference/run_policy')
        self.services = {name: self.node.create_client(Trigger, f'inference/{name}')
                         for name in ('run', 'cancel')}
        self.node.create_timer(0.01, self.publish_joints)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.spin)
        self.thread.start()

    def spin(self):
        try:
            self.executor.spin()
        except ExternalShutdownException:
            pass

    def publish_joints(self):
        # The robot lists its joints in an order of its own.
        names = self.joint_names[::-1]
        place = dict(zip(ROBOT.joint_names, ROBOT.home.tolist(), strict=True))
        msg = JointState(name=names, position=[place[name] for name in names])
        msg.header.stamp = self.node.get_clock().now().to_msg()
        self.joint_states.publish(msg)

    def done(self, future, what):
        wait_for(future.done, what)
        return future.result()

    def send_goal(self, timeout_s=0.0):
        assert self.client.wait_for_server(LIMIT_S)
        goal = RunPolicy.Goal(instruction='replay it', timeout=timeout_s)
        return self.done(self.client.send_goal_async(
            goal, feedback_callback=lambda msg: self.feedback.append(msg.feedback)), 'goal reply')

    def result(self, handle):
        return self.done(handle.get_result_async(), 'result')

    def call(self, name):
        assert self.services[name].wait_for_service(LIMIT_S)
        return self.done(self.services[name].call_async(Trigger.Request()), name)

    def newest_finding(self):
        statuses = [status for array in self.findings[-1:] for status in array.status]
        return statuses[0] if statuses else None

    def close(self):
        rclpy.shutdown(context=self.context)
        self.thread.join(LIMIT_S)


def start_node(domain, recording, *parameters):
    settings = ['policy:=replay', f'demonstration:={recording}', *parameters]
    return subprocess.Popen(
        [sys.executable, '-c', START_NODE, '--ros-args',
         *itertools.chain.from_iterable(('-p', setting) for setting in settings)],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'ROS_PYTHON_CHECK_FIELDS': '1'},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop_node(process, number=signal.SIGINT):
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """Return one second in which the first joint moves by 0.1 rad and back, at 1 kHz."""
    rows = np.zeros((round(RECORDING_S * 1000) + 1, 42))
    phase = np.linspace(0.0, 2 * np.pi, len(rows))
    rows[:, 0] = 1.7e18 + 1e6 * np.arange(len(rows))
    rows[:, 1] = 0.05 * (1 - np.cos(phase)) * np.sin(phase / 2)
    path = tmp_path_factory.mktemp('recording') / 'wave.npy'
    np.save(path, rows)
    return path


@pytest.fixture(scope='module')
def probe(domain):
    robot = Probe(domain)
    yield robot
    robot.close()


@pytest.fixture(scope='module')
def node(domain, recording, probe):
    process = start_node(domain, recording, 'replan_period_s:=0.2')
    wait_for(lambda: probe.infos or process.poll() is not None, 'policy_info')
    assert process.poll() is None, process.communicate()[1]
    yield process
    code, errors = stop_node(process)
    assert code == 0, errors


@pytest.fixture
def fresh(node, probe):
    """Return the probe while the node is idle, with nothing remembered."""
    wait_for(lambda: probe.infos[-1].message == 'idle', 'idle node')
    probe.joint_names = list(ROBOT.joint_names)
    probe.chunks.clear()
    probe.feedback.clear()
    return probe


def test_a_goal_is_served_by_chunks_dated_by_their_observation_until_the_recording_ends(fresh):
    before = fresh.node.get_clock().now().nanoseconds
    result = fresh.result(fresh.send_goal())
    assert result.status == GoalStatus.STATUS_SUCCEEDED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_POLICY_DONE
    assert result.result.outcome == RunPolicy.Result.OUTCOME_UNLABELED
    # One chunk at 0 s, every 0.2 s until the recording has ended, then its last point's time.
    assert result.result.duration >= RECORDING_S + 0.75
    wait_for(lambda: len(fresh.chunks) == result.result.chunks, 'all chunks')
    chunks = [chunk_from_msg(msg) for msg in fresh.chunks]
    assert [chunk.chunk_id for chunk in chunks] == list(range(len(chunks)))
    assert 4 <= len(chunks) <= 7
    assert {chunk.session_id for chunk in chunks} == {uuid_to_hex(result.result.session_id)}
    assert {chunk.task for chunk in chunks} == {'replay it'}
    for chunk in chunks:
        assert before < chunk.start_ns == chunk.observation_ns
        assert chunk.joint_names == ROBOT.joint_names
        assert chunk.offsets_ns.tolist() == [index * 50_000_000 for index in range(16)]
    assert chunks[0].positions[0] == pytest.approx(ROBOT.home)
    gaps_s = np.diff([chunk.start_ns for chunk in chunks]) * 1e-9
    assert (gaps_s >= 0.19).all()
    # What two chunks say about one instant is the same motion: they overlap, on one time line.
    first, second = chunks[0], chunks[1]
    shared = (second.start_ns - first.start_ns) + second.offsets_ns
    expected = np.interp(shared[:10], first.offsets_ns, first.positions[:, 0])
    assert second.positions[:10, 0] == pytest.approx(expected, abs=0.01)


def test_feedback_tells_the_newest_chunk(fresh):
    result = fresh.result(fresh.send_goal()).result
    wait_for(lambda: len(fresh.feedback) == result.chunks, 'feedback')
    assert [feedback.chunk_id for feedback in fresh.feedback] == list(range(result.chunks))
    assert 0.0 < fresh.feedback[0].inference_latency < 1.0


def test_a_cancelled_goal_ends_as_cancelled_and_no_chunk_follows(fresh):
    handle = fresh.send_goal()
    wait_for(lambda: fresh.chunks, 'first chunk')
    fresh.done(handle.cancel_goal_async(), 'cancel reply')
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_CANCELED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_CANCELED
    assert len(fresh.chunks) <= result.result.chunks


def test_a_second_goal_is_refused_and_the_first_goes_on(fresh):
    first = fresh.send_goal()
    assert not fresh.send_goal().accepted
    assert 'is under way' in fresh.call('run').message
    assert fresh.result(first).status == GoalStatus.STATUS_SUCCEEDED


def test_the_services_start_and_cancel_a_run_for_those_who_cannot_call_actions(fresh):
    assert not fresh.call('cancel').success
    assert fresh.call('run').success
    wait_for(lambda: fresh.chunks, 'first chunk')
    assert fresh.call('cancel').success


def test_a_goal_cancelled_by_the_service_is_aborted_as_cancelled(fresh):
    handle = fresh.send_goal()
    assert fresh.call('cancel').success
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_ABORTED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_CANCELED


def test_success_reported_by_the_robot_ends_the_run_and_labels_it(fresh):
    handle = fresh.send_goal()
    wait_for(lambda: fresh.chunks, 'first chunk')
    event = EpisodeEvent(type=EpisodeEvent.SUCCESS, source='probe', text='cube in place')
    event.header.stamp = ns_to_stamp(stamp_to_ns(fresh.chunks[0].header.stamp) + 1_000_000_000)
    fresh.events.publish(event)
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_SUCCEEDED
    assert result.result.outcome == RunPolicy.Result.OUTCOME_SUCCESS
    assert result.result.message == 'probe: cube in place'


def test_a_missing_joint_is_named_on_diagnostics_and_no_chunk_is_sent(fresh):
    fresh.joint_names = [name for name in ROBOT.joint_names if name != 'elbow_joint']
    wait_for(lambda: 'elbow_joint' in str(fresh.newest_finding()), 'refusal on diagnostics')
    handle = fresh.send_goal(timeout_s=2.5)
    finding = wait_for(
        lambda: 'waiting' in fresh.newest_finding().message and fresh.newest_finding(),
        'waiting node')
    assert finding.level == DiagnosticStatus.WARN
    assert 'joint_states lacks elbow_joint' in finding.message
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_ABORTED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_TIMEOUT
    assert 'joint_states lacks elbow_joint' in result.result.message
    assert fresh.chunks == []


def test_diagnostics_compare_received_and_expected_rates(fresh):
    values = {value.key: value.value for value in wait_for(
        lambda: fresh.newest_finding(), 'finding').values}
    assert values['rate joint_states'].endswith('of 125 Hz')
    assert values['rate camera wrist'] == '0.0 of 20 Hz'


def test_someone_who_comes_late_learns_which_policy_is_in_force(fresh, domain):
    late = Probe(domain)
    try:
        info = wait_for(lambda: late.infos and late.infos[-1], 'latched policy_info')
    finally:
        late.close()
    values = {value.key: value.value for value in info.values}
    assert values['policy_id'] == 'replay wave.npy'
    assert values['horizon'] == '16'
    assert info.hardware_id == 'ur5e_sim'


@pytest.fixture
def alone():
    """Yield a domain and a probe in it, without the node of the other tests."""
    with free_domain() as number:
        probe = Probe(number)
        yield number, probe
        probe.close()


def test_run_on_activate_needs_no_goal_and_sigint_ends_it_in_order(alone, recording):
    domain, probe = alone
    process = start_node(domain, recording, 'run_on_activate:=true')
    try:
        wait_for(lambda: probe.chunks or process.poll() is not None, 'chunk without a goal')
    finally:
        code, errors = stop_node(process)
    assert code == 0, errors
    assert 'DEACTIVATED' in errors
    assert 'Traceback' not in errors


def test_a_client_gets_its_result_even_if_the_node_is_told_to_end(alone, recording):
    domain, probe = alone
    process = start_node(domain, recording)
    try:
        handle = probe.send_goal()
        future = handle.get_result_async()
        wait_for(lambda: probe.chunks, 'first chunk')
    finally:
        code, errors = stop_node(process, signal.SIGTERM)
    assert code == 0, errors
    result = probe.done(future, 'result').result
    assert result.termination_reason == RunPolicy.Result.TERMINATION_DEACTIVATED


def test_a_lifecycle_manager_can_take_the_node_through_every_state_twice(alone, recording):
    domain, probe = alone
    process = start_node(domain, recording, 'autostart:=false')
    try:
        change = probe.node.create_client(ChangeState, 'inference/change_state')
        assert change.wait_for_service(LIMIT_S)

        def transition(number):
            request = ChangeState.Request(transition=Transition(id=number))
            assert probe.done(change.call_async(request), 'transition').success

        for _ in range(2):
            probe.chunks.clear()
            transition(Transition.TRANSITION_CONFIGURE)
            assert not probe.send_goal().accepted
            transition(Transition.TRANSITION_ACTIVATE)
            handle = probe.send_goal()
            future = handle.get_result_async()
            wait_for(lambda: probe.chunks, 'first chunk')
            transition(Transition.TRANSITION_DEACTIVATE)
            result = probe.done(future, 'result').result
            assert result.termination_reason == RunPolicy.Result.TERMINATION_DEACTIVATED
            transition(Transition.TRANSITION_CLEANUP)
    finally:
        code, errors = stop_node(process)
    assert code == 0, errors
    assert 'Traceback' not in errors


@pytest.mark.parametrize(('setting', 'message'), [
    ('policy:=vla', "parameter policy is 'vla', expected one of replay, expert"),
    ('robot:=ur6', "'ur6': no such robot contract, expected a path or one of ur5e_sim"),
    ('replan_period_s:=99.0', 'replan_period_s is 99.0, expected float from 0.02 to 10.0'),
    ('demonstration:=/nowhere.npy', '/nowhere.npy: cannot be read as a .npy array')])
def test_a_users_mistake_is_one_line_and_exit_code_2(domain, recording, setting, message):
    process = start_node(domain, recording, setting)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
