"""Making policies by name: what is missing is said in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import CameraSpec, RobotSpec, StreamSpec, TimeBase
from chunked_vla_ros.graph import deploy, record
from chunked_vla_ros.nodes.policy_table import (
    EXECUTION_PROVIDERS,
    make_policy,
    POLICIES,
    PolicyOptions,
    PolicyUnavailable,
)
from chunked_vla_ros.policies.execution_provider import CHAINS
from chunked_vla_ros.sim.quality_dial import QUALITIES


@pytest.fixture
def robot(make_robot: Callable[..., RobotSpec]) -> RobotSpec:
    return make_robot()


def test_an_unknown_policy_says_which_there_are(robot: RobotSpec) -> None:
    with pytest.raises(PolicyUnavailable, match="policy 'vla', expected one of replay, expert"):
        make_policy('vla', robot)


def test_the_graph_offers_what_inference_knows() -> None:
    assert set(deploy.POLICIES) == set(POLICIES)
    assert QUALITIES == record.QUALITIES
    assert set(deploy.EXECUTION_PROVIDERS) == set(EXECUTION_PROVIDERS) == set(CHAINS)


def test_replay_without_a_recording_says_which_parameter_is_missing(robot: RobotSpec) -> None:
    with pytest.raises(PolicyUnavailable, match='needs the parameter demonstration'):
        make_policy('replay', robot)


def test_the_expert_takes_no_recording(robot: RobotSpec) -> None:
    with pytest.raises(PolicyUnavailable, match='takes no demonstration'):
        make_policy('expert', robot, PolicyOptions(demonstration='recording.npy'))


def test_replay_reads_and_retargets_its_recording(
        robot: RobotSpec, tmp_path: Path) -> None:
    rows = np.zeros((2000, 42))
    rows[:, 0] = 1.7e18 + 1e6 * np.arange(2000)
    rows[:, 1] = 2.0
    np.save(tmp_path / 'still.npy', rows)
    with pytest.raises(PolicyUnavailable, match=r'still\.npy is not of small: .* replay_moved'):
        make_policy('replay', robot, PolicyOptions(demonstration=str(tmp_path)))
    policy = make_policy(
        'replay', robot, PolicyOptions(demonstration=str(tmp_path), replay_moved=True))
    assert policy.facts['replay_moved'] == 'true'
    assert policy.spec.policy_id == 'replay still.npy'
    assert (policy.spec.step_s, policy.spec.horizon) == (0.05, 16)
    faster = PolicyOptions(
        demonstration=str(tmp_path), replay_rate_hz=50.0, replay_moved=True)
    assert make_policy('replay', robot, faster).spec.step_s == pytest.approx(0.02)


@pytest.mark.parametrize(('wanted', 'cameras'), [(False, ()), (True, ('wrist',))])
def test_replay_waits_for_the_cameras_of_the_contract_only_if_told_to(
        robot: RobotSpec, tmp_path: Path, wanted: bool, cameras: tuple[str, ...]) -> None:
    rows = np.zeros((2000, 42))
    rows[:, 0] = 1.7e18 + 1e6 * np.arange(2000)
    np.save(tmp_path / 'still.npy', rows)
    seeing = replace(robot, cameras=(CameraSpec(
        'wrist', StreamSpec('wrist/image', 20.0, TimeBase.HEADER, 0.2), 'wrist/info', 2, 2,
        'rgb8'),))
    policy = make_policy('replay', seeing, PolicyOptions(
        str(tmp_path), replay_cameras=wanted, replay_moved=True))
    assert policy.spec.cameras == cameras


def test_onnx_without_a_bundle_says_which_parameter_is_missing(robot: RobotSpec) -> None:
    with pytest.raises(PolicyUnavailable, match='needs the parameter bundle'):
        make_policy('onnx', robot)
