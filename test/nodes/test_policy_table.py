"""Making policies by name: what is missing is said in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.nodes.policy_table import make_policy, PolicyOptions, PolicyUnavailable


@pytest.fixture
def robot(make_robot: Callable[..., RobotSpec]) -> RobotSpec:
    return make_robot()


def test_an_unknown_policy_says_which_there_are(robot: RobotSpec) -> None:
    with pytest.raises(PolicyUnavailable, match="policy 'vla', expected one of replay, expert"):
        make_policy('vla', robot)


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
    policy = make_policy('replay', robot, PolicyOptions(demonstration=str(tmp_path)))
    assert policy.spec.policy_id == 'replay still.npy'
    assert (policy.spec.step_s, policy.spec.horizon) == (0.05, 16)
    faster = PolicyOptions(demonstration=str(tmp_path), replay_rate_hz=50.0)
    assert make_policy('replay', robot, faster).spec.step_s == pytest.approx(0.02)


def test_onnx_without_a_bundle_says_which_parameter_is_missing(robot: RobotSpec) -> None:
    with pytest.raises(PolicyUnavailable, match='needs the parameter bundle'):
        make_policy('onnx', robot)
