"""The bundle that comes along is whole, small, fits its robot, and was measured itself."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')

from chunked_vla_ros.core.types import CameraFrame, JointSample, Observation
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / 'models' / 'ur5e_pick_place'
MOST_BYTES = 12_000_000


@pytest.fixture(scope='module')
def bundle():
    return read_bundle(SHIPPED)    # checks the hash of every file


def test_it_plans_a_chunk_for_its_robot(bundle):
    robot = load_robot('ur5e_sim')
    policy = OnnxPolicy(bundle.manifest, bundle.model, bundle.tokenizer, bundle.policy_id, robot,
                        OnnxOptions(execution_provider='cpu', intra_op_threads=1))
    grey = {camera.name: CameraFrame(0, np.full(camera.frame_shape, 128, np.uint8))
            for camera in robot.cameras}
    plan = policy.plan(Observation(
        0, JointSample(0, robot.home, np.zeros(len(robot.joints))), grey,
        'put the red cube on the left pad'))
    assert plan.positions.shape == (20, 7)
    assert np.isfinite(plan.positions).all()
    # Nothing is to be seen: it stays within half a turn of where it is.
    assert np.abs(plan.positions[:, :6] - robot.home[:6]).max() < np.pi
    assert policy.spec.replan_period_s == pytest.approx(0.85)


def test_it_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= MOST_BYTES


@pytest.mark.parametrize('name', ['evaluate_ur5e_pick_place', 'evaluate_through_ros'])
def test_the_results_are_its_own(bundle, name):
    found = json.loads((ROOT / 'docs' / 'results' / f'{name}.json').read_text())
    assert found['complete']
    assert bundle.policy_id in {policy['policy_id'] for policy in found['policies']}


def test_no_gap_is_left_in_what_was_measured():
    text = (ROOT / 'docs' / 'results.md').read_text()
    assert '_PARAGRAPH' not in text
