"""The policy that inference is measured with: the compact one, the same every time."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra train)')
pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')

import torch

from chunked_vla_ros.bench.vla_model import compare, drawn_policy, export_vla
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy


@pytest.fixture(scope='module')
def robot():
    return load_robot('ur5e_sim')


def test_the_measured_policy_is_the_compact_one_with_the_same_weights_every_time(robot):
    one, other = drawn_policy(robot), drawn_policy(robot)
    assert one.config.policy.backbone == 'compact'
    assert one.shape.joint_names == robot.joint_names
    assert [camera.name for camera in one.shape.cameras] == [
        camera.name for camera in robot.cameras]
    assert sum(weights.numel() for weights in one.vla.parameters()) <= 2_500_000
    for name, weights in one.vla.state_dict().items():
        assert torch.equal(weights, other.vla.state_dict()[name])
    assert all(weights.any() for weights in one.vla.parameters())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_bundle_runs_as_fast_as_can_be_compared(robot, tmp_path):
    parameters = export_vla(tmp_path / 'bundle', robot)
    bundle = read_bundle(tmp_path / 'bundle')
    assert 4 * parameters < len(bundle.model) < 12_000_000
    OnnxPolicy(bundle.manifest, bundle.model, bundle.tokenizer, bundle.policy_id, robot,
               OnnxOptions(execution_provider='cpu')).warm_up()
    by_onnx, by_torch, difference = compare(robot, bundle.model, 1, 2, 3)
    assert [len(block) for block in (*by_onnx, *by_torch)] == [3, 3, 3, 3]
    assert min(min(block) for block in (*by_onnx, *by_torch)) > 0.0
    assert difference <= 1e-4
