"""Exchanging bundles under a moving arm: inference and executor as processes, the arm a peer."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Float64MultiArray

from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.srv import LoadPolicy

ROBOT = load_robot('ur5e_sim')
# The test's policies move every joint up, 0.01 rad in 0.05 s: far from the ends of their ranges.
START = np.array([-1.5, -1.5, -1.5, -1.5, -1.5, 0.0, 0.0])
START_EXECUTOR = ('import sys; from chunked_vla_ros.nodes.chunk_executor_node import main; '
                  'sys.exit(main())')
LIMIT_S = 20.0


class Arm:
    """An arm that is where it was commanded to be, and remembers the executor."""

    def __init__(self, probe: Any) -> None:
        self.probe, self.pose = probe, START.copy()
        self.states: list[ExecutorState] = []
        node = probe.node
        node.create_subscription(Float64MultiArray, 'position_command', self.obey, qos.COMMAND)
        node.create_subscription(
            ExecutorState, 'executor_state', self.states.append, qos.STATUS)

    def obey(self, msg: Float64MultiArray) -> None:
        self.pose = np.array(msg.data)
        self.probe.place = dict(zip(ROBOT.joint_names, msg.data, strict=True))

    @property
    def mode(self) -> Mode | None:
        return Mode(self.states[-1].mode) if self.states else None


@pytest.fixture(scope='module')
def arm(probe: Any) -> Arm:
    probe.place = dict(zip(ROBOT.joint_names, START.tolist(), strict=True))
    return Arm(probe)


@pytest.fixture(scope='module')
def bundles(make_bundle: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that writes a bundle and returns its path and the policy's id."""
    home = tmp_path_factory.mktemp('bundles')

    def write(name: str, **fields: Any) -> tuple[str, str]:
        bundle = make_bundle(
            home / name, ROBOT, name=name, tokenizer=False, cameras=(), **fields)
        return str(home / name), bundle.policy_id
    return write


@pytest.fixture(scope='module')
def executor(domain: int, arm: Arm) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, '-c', START_EXECUTOR, '--ros-args', '-p', 'robot:=ur5e_sim'],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, stdout=subprocess.DEVNULL)
    arm.probe.wait_for(lambda: arm.mode is Mode.HOLD, 'executor', LIMIT_S)
    yield
    process.terminate()
    assert process.wait(LIMIT_S) == 0


@pytest.fixture
def moving(executor: None, arm: Arm, start: Callable[..., Any], bundles: Any) -> Iterator[Arm]:
    """Yield the arm while bundle `one` drives it in a run that was asked for."""
    if not hasattr(arm, 'first'):
        arm.first = bundles('one')
    process = start('policy:=onnx', f'bundle:={arm.first[0]}', 'execution_provider:=cpu')
    arm.probe.forget()
    arm.probe.send_goal()
    arm.probe.wait_for(lambda: arm.mode is Mode.RUNNING, 'motion', LIMIT_S)
    yield arm
    code, errors = process.stop()
    assert code == 0, errors
    assert 'Traceback' not in errors
    arm.probe.wait_for(lambda: arm.mode is Mode.HOLD, 'rest', LIMIT_S)


def load(arm: Arm, path: str) -> LoadPolicy.Response:
    return arm.probe.peer.call(
        LoadPolicy, 'inference/load_policy', LoadPolicy.Request(bundle=path))


def goes_on(arm: Arm, policy_id: str) -> None:
    """Wait until two more chunks of ``policy_id`` have come and been executed."""
    seen = len(arm.probe.chunks)
    arm.probe.wait_for(lambda: len(arm.probe.chunks) > seen + 2, 'chunks')
    assert {chunk.policy_id for chunk in arm.probe.chunks[seen + 1:]} == {policy_id}
    arm.probe.wait_for(
        lambda: arm.states[-1].chunk_id >= arm.probe.chunks[-2].chunk_id, 'execution')


def unbroken(arm: Arm, since: int) -> None:
    states = arm.states[since:]
    assert {state.mode for state in states} == {int(Mode.RUNNING)}
    for counter in ('holds', 'rejected', 'stale', 'clamps'):
        assert getattr(states[-1], counter) == getattr(states[0], counter), counter


def test_another_bundle_takes_over_at_a_chunk_boundary_while_the_arm_moves(moving, bundles):
    path, policy_id = bundles('two')
    moving.probe.wait_for(lambda: len(moving.probe.chunks) > 1, 'chunks')
    since = len(moving.states)
    answer = load(moving, path)
    assert answer.success, answer.message
    assert answer.message == 'in force, first chunk published; cpu'
    assert answer.policy_id == policy_id
    goes_on(moving, policy_id)
    unbroken(moving, since)
    chunks = moving.probe.chunks
    assert [chunk.chunk_id for chunk in chunks] == list(range(len(chunks)))
    assert len({bytes(chunk.session_id.uuid) for chunk in chunks}) == 1
    epochs = {chunk.policy_id: chunk.policy_epoch for chunk in chunks}
    assert epochs[policy_id] == epochs[moving.first[1]] + 1
    values = {entry.key: entry.value for entry in moving.probe.infos[-1].values}
    assert (values['policy_id'], values['provider']) == (policy_id, 'cpu')


def test_a_corrupted_bundle_and_one_of_another_robot_leave_the_policy_in_force(moving, bundles):
    path, _ = bundles('corrupted')
    model = Path(path) / 'policy.onnx'
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    foreign, _ = bundles('foreign', joint_names=tuple(reversed(ROBOT.joint_names)))
    since = len(moving.states)
    for wrong, reason in ((path, 'policy.onnx'), (foreign, 'another joint order'),
                          (f'{path}/nowhere', 'no bundle')):
        answer = load(moving, wrong)
        assert not answer.success
        assert reason in answer.message
        assert answer.policy_id == moving.first[1]
    goes_on(moving, moving.first[1])
    unbroken(moving, since)


def test_a_policy_whose_first_plan_is_not_finite_is_rolled_back(moving, bundles):
    # Finite at the home pose, where it is warmed up, but not where the arm is.
    path, _ = bundles('broken', nan_above=float(ROBOT.home[0]))
    assert moving.pose[0] > ROBOT.home[0] + 0.01
    moving.probe.wait_for(lambda: len(moving.probe.chunks) > 1, 'chunks')
    since = len(moving.states)
    answer = load(moving, path)
    assert not answer.success
    assert answer.message == 'rolled back at its first chunk: plan blocked: not finite'
    assert answer.policy_id == moving.first[1]
    goes_on(moving, moving.first[1])
    unbroken(moving, since)
    assert {chunk.policy_id for chunk in moving.probe.chunks} == {moving.first[1]}


def test_a_second_request_is_refused_while_one_is_under_way(moving, bundles):
    path, _ = bundles('large', work=8)
    answers: list[LoadPolicy.Response] = []
    asking = threading.Thread(target=lambda: answers.append(load(moving, path)))
    asking.start()
    refusals = []
    while not answers:
        refusals.append(load(moving, moving.first[0]))
    asking.join(LIMIT_S)
    # Whichever of the two came first is served.
    told = [*answers, *refusals]
    assert any(answer.success for answer in told), told
    assert any('is being loaded; ask again when it is done' in answer.message
               and not answer.success for answer in told), told


def test_inference_slower_than_its_horizon_is_a_smooth_stop_and_a_reported_miss(moving, bundles):
    # 20 ms of motion per chunk from a model that multiplies large matrices for longer than that.
    path, policy_id = bundles('slow', work=16, horizon=2, step_s=0.01)
    since = len(moving.states)
    answer = load(moving, path)
    assert answer.success, answer.message
    moving.probe.wait_for(lambda: moving.mode is Mode.HOLD, 'hold')
    finding = moving.probe.wait_for(lambda: next((
        status for array in moving.probe.findings for status in array.status
        if status.name == '/inference' and 'longer than its horizon' in status.message), None),
        'report of the miss')
    assert finding.level == DiagnosticStatus.WARN
    values = {entry.key: entry.value for entry in finding.values}
    assert int(values['budget_misses']) > 0
    assert values['policy_id'] == policy_id
    points = [state.command for state in moving.states[since:]]
    limits = ROBOT.limits
    for kind, limit in (('velocities', limits.velocity), ('accelerations', limits.acceleration)):
        assert (np.abs([getattr(point, kind) for point in points]) <= 1.001 * limit).all(), kind
    assert moving.states[-1].clamps == moving.states[since].clamps
