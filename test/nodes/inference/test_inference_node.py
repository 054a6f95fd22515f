"""Runs over DDS: goals, results, cancelling, chunks, diagnostics, one node for all tests."""

from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest

from chunked_vla_ros.action import RunPolicy
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import (
    chunk_from_msg,
    ns_to_stamp,
    stamp_to_ns,
    uuid_to_hex,
)
from chunked_vla_ros.srv import LoadPolicy

ROBOT = load_robot('ur5e_sim')
RECORDING_S = 1.0


@pytest.fixture(scope='module')
def node(start, probe):
    process = start('replan_period_s:=0.2', 'execution_provider:=cuda')
    probe.wait_for(lambda: probe.infos or process.ended(), 'policy_info')
    probe.peer.wait_for_listeners(probe.joint_states, probe.events)
    yield process
    code, errors = process.stop()
    assert code == 0, errors


@pytest.fixture
def fresh(node, probe):
    """Return the probe while the node is idle, with nothing of earlier runs remembered."""
    probe.wait_for(lambda: probe.infos[-1].message == 'idle', 'idle node')
    probe.joint_names = list(ROBOT.joint_names)
    probe.chunks.clear()
    probe.feedback.clear()
    return probe


def test_a_goal_is_served_by_chunks_dated_by_their_observation_until_the_recording_ends(fresh):
    # What was observed shortly before the goal may be acted on.
    before = (fresh.node.get_clock().now().nanoseconds
              - round(ROBOT.state.tolerance_s * 1e9))
    result = fresh.result(fresh.send_goal())
    assert result.status == GoalStatus.STATUS_SUCCEEDED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_POLICY_DONE
    assert result.result.outcome == RunPolicy.Result.OUTCOME_UNLABELED
    # One chunk at 0 s, every 0.2 s until the recording has ended, then its last point's time.
    assert result.result.duration >= RECORDING_S + 0.75
    fresh.wait_for(lambda: len(fresh.chunks) == result.result.chunks, 'all chunks')
    chunks = [chunk_from_msg(msg) for msg in fresh.chunks]
    assert [chunk.chunk_id for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.session_id for chunk in chunks} == {uuid_to_hex(result.result.session_id)}
    assert {chunk.task for chunk in chunks} == {'replay it'}
    for chunk in chunks:
        assert before < chunk.start_ns == chunk.observation_ns
        assert chunk.joint_names == ROBOT.joint_names
        assert chunk.offsets_ns.tolist() == [index * 50_000_000 for index in range(16)]
    assert chunks[0].positions[0] == pytest.approx(ROBOT.home)
    starts_s = np.array([chunk.start_ns - chunks[0].start_ns for chunk in chunks]) * 1e-9
    # Asked every 0.2 s; an observation may be as old as the contract's tolerance of 0.1 s.
    assert (np.diff(starts_s) >= 0.1).all()
    assert starts_s[-1] >= RECORDING_S > starts_s[-2]
    # What chunks say about one instant is the same: all of them lie on the recorded wave.
    for chunk, start_s in zip(chunks, starts_s, strict=True):
        phase = 2 * np.pi * np.minimum(start_s + chunk.offsets_ns * 1e-9, RECORDING_S)
        wave = 0.05 * (1 - np.cos(phase)) * np.sin(phase / 2)
        assert chunk.positions[:, 0] == pytest.approx(ROBOT.home[0] + wave, abs=0.005)


def test_feedback_tells_the_newest_chunk(fresh):
    result = fresh.result(fresh.send_goal()).result
    fresh.wait_for(lambda: len(fresh.feedback) == result.chunks, 'feedback')
    assert [feedback.chunk_id for feedback in fresh.feedback] == list(range(result.chunks))
    assert fresh.feedback[0].inference_latency > 0.0


def test_a_cancelled_goal_ends_as_cancelled_and_no_chunk_follows(fresh):
    handle = fresh.send_goal()
    fresh.wait_for(lambda: fresh.chunks, 'first chunk')
    fresh.cancel(handle)
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_CANCELED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_CANCELED
    assert len(fresh.chunks) <= result.result.chunks


def test_a_second_goal_is_refused_and_the_first_goes_on(fresh):
    whole = fresh.joint_names
    fresh.joint_names = whole[1:]    # so it waits, however long the next lines take
    first = fresh.send_goal()
    assert not fresh.send_goal().accepted
    assert 'is under way' in fresh.call('run').message
    fresh.joint_names = whole
    assert fresh.result(first).status == GoalStatus.STATUS_SUCCEEDED


def test_the_services_start_and_cancel_a_run_for_those_who_cannot_call_actions(fresh):
    assert not fresh.call('cancel').success
    assert fresh.call('run').success
    fresh.wait_for(lambda: fresh.chunks, 'first chunk')
    assert fresh.call('cancel').success


def test_a_goal_cancelled_by_the_service_is_aborted_as_cancelled(fresh):
    handle = fresh.send_goal()
    assert fresh.call('cancel').success
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_ABORTED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_CANCELED


def test_success_reported_by_the_robot_ends_the_run_and_labels_it(fresh):
    handle = fresh.send_goal()
    fresh.wait_for(lambda: fresh.chunks, 'first chunk')
    event = EpisodeEvent(type=EpisodeEvent.SUCCESS, source='probe', text='cube in place')
    event.header.stamp = ns_to_stamp(stamp_to_ns(fresh.chunks[0].header.stamp) + 1_000_000_000)
    fresh.events.publish(event)
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_SUCCEEDED
    assert result.result.outcome == RunPolicy.Result.OUTCOME_SUCCESS
    assert result.result.message == 'probe: cube in place'


def test_a_missing_joint_is_named_on_diagnostics_and_no_chunk_is_sent(fresh):
    fresh.joint_names = [name for name in ROBOT.joint_names if name != 'elbow_joint']
    fresh.wait_for(lambda: 'elbow_joint' in str(fresh.newest_finding()), 'refusal on diagnostics')
    fresh.findings.clear()
    handle = fresh.send_goal(timeout_s=2.5)
    finding = fresh.wait_for(
        lambda: next((status for array in fresh.findings for status in array.status
                      if 'waiting' in status.message), None), 'waiting node')
    assert finding.level == DiagnosticStatus.WARN
    assert 'joint_states lacks elbow_joint' in finding.message
    result = fresh.result(handle)
    assert result.status == GoalStatus.STATUS_ABORTED
    assert result.result.termination_reason == RunPolicy.Result.TERMINATION_TIMEOUT
    assert 'joint_states lacks elbow_joint' in result.result.message
    assert fresh.chunks == []


def test_diagnostics_compare_received_and_expected_rates(fresh):
    values = {value.key: value.value for value in fresh.wait_for(
        lambda: fresh.newest_finding(), 'finding').values}
    assert values['rate joint_states'].endswith('of 125 Hz')
    assert values['rate camera wrist'] == '0.0 of 20 Hz'


def test_someone_who_comes_late_learns_which_policy_is_in_force(fresh):
    late = []
    fresh.node.create_subscription(DiagnosticStatus, 'policy_info', late.append, qos.LATCHED)
    info = fresh.wait_for(lambda: late and late[-1], 'latched policy_info')
    values = {value.key: value.value for value in info.values}
    assert values['policy_id'] == 'replay wave.npy'
    assert values['horizon'] == '16'
    assert info.hardware_id == 'ur5e_sim'


def test_a_bundle_follows_the_replay_in_one_run_and_a_provider_that_fell_back_is_a_warning(
        fresh, make_bundle, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')

    def load(name):
        return fresh.peer.call(
            LoadPolicy, 'inference/load_policy', LoadPolicy.Request(bundle=str(tmp_path / name)))
    bundle = make_bundle(tmp_path / 'follower', ROBOT, tokenizer=False, cameras=())
    # The first load waits for ONNX Runtime to be imported, which may outlast the recording.
    make_bundle(tmp_path / 'no model', ROBOT, tokenizer=False, cameras=(), model=b'none')
    assert not load('no model').success
    handle = fresh.send_goal()
    fresh.wait_for(lambda: fresh.chunks, 'chunk of the replay')
    answer = load('follower')
    assert answer.success, answer.message
    assert answer.policy_id == bundle.policy_id
    fresh.wait_for(lambda: fresh.chunks[-1].policy_id == bundle.policy_id, 'chunk of the bundle')
    assert fresh.chunks[0].policy_id == 'replay wave.npy'
    assert {uuid_to_hex(chunk.session_id) for chunk in fresh.chunks} == {
        uuid_to_hex(fresh.chunks[0].session_id)}
    assert [chunk.chunk_id for chunk in fresh.chunks] == list(range(len(fresh.chunks)))
    if 'CUDAExecutionProvider' not in onnxruntime.get_available_providers():
        reason = 'runs on cpu: cuda is not in this build of onnxruntime'
        assert reason in answer.message
        fresh.findings.clear()
        finding = fresh.wait_for(fresh.newest_finding, 'finding')
        assert finding.level == DiagnosticStatus.WARN
        assert reason in finding.message
        values = {value.key: value.value for value in fresh.infos[-1].values}
        assert values['provider'] == 'cpu'
        assert reason in values['provider_note']
    fresh.cancel(handle)
    assert fresh.result(handle).status == GoalStatus.STATUS_CANCELED
