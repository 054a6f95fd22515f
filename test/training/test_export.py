"""A checkpoint becomes a bundle that plans as the network does, or nothing is written."""

from dataclasses import dataclass, replace
import json
from pathlib import Path

import numpy as np
import pytest

# torch itself is conftest's matter.
pytest.importorskip('onnxscript', reason='onnxscript is not installed (extra train)')
pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')

from safetensors.torch import load
import torch

from chunked_vla_ros.cli import main
from chunked_vla_ros.core.bundle_manifest import BundleError
from chunked_vla_ros.core.types import CameraFrame, JointSample, Observation
from chunked_vla_ros.data.policy_bundle import Bundle, read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy
from chunked_vla_ros.training import export
from chunked_vla_ros.training.checkpoint import MEAN, MODEL, read_policy, training_contents
from chunked_vla_ros.training.checkpoint_files import write_contents
from chunked_vla_ros.training.export_graph import graph_inputs
from chunked_vla_ros.training.export_parity import compare, drawn_questions, seen_questions
from chunked_vla_ros.training.rl_config import RlConfig
from chunked_vla_ros.training.vla import build_vla

# Tracing takes ten seconds of a core, several times that beside other work.
pytestmark = pytest.mark.timeout(600)

HORIZON, MAX_DELAY, SIDE = 4, 2, 32    # test/training/conftest.py
EYES = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)


@dataclass(frozen=True)
class Exported:
    """A bundle, the checkpoint it comes from, and what the command said."""

    checkpoint: Path
    bundle: Bundle
    report: dict
    said: str
    robot: str


def checkpoint_of(material, folder):
    """Write a checkpoint of drawn weights: fresh ones answer nothing but their noise."""
    origin = material.origin
    torch.manual_seed(0)
    vla = build_vla(origin.config.policy, origin.shape, origin.normalisation)
    torch.nn.init.normal_(vla.expert.out.weight, std=0.5)
    return write_contents(folder, 7, training_contents(
        origin, 7, {MODEL: vla.state_dict(), MEAN: {}}, {}, {}))


@pytest.fixture(scope='module')
def checkpoint(make_material_of, tmp_path_factory):
    return checkpoint_of(make_material_of(), tmp_path_factory.mktemp('untrained'))


@pytest.fixture(scope='module')
def exported(checkpoint, make_material_of, place, tmp_path_factory):
    """Return what ``chunked-vla export`` made: tracing takes seconds, so it is made once."""
    folder = tmp_path_factory.mktemp('exported')
    with pytest.MonkeyPatch.context() as patch:
        spoken = []
        patch.setattr('builtins.print', lambda *words, **_: spoken.append(' '.join(words)))
        code = main(['export', str(checkpoint), '--out', str(folder / 'mine'), '--data',
                     str(place.data), '--with-weights', '--json', str(folder / 'report.json')])
    assert (code, len(spoken)) == (0, 4), spoken
    return Exported(checkpoint, read_bundle(folder / 'mine'),
                    json.loads((folder / 'report.json').read_text()), '\n'.join(spoken),
                    make_material_of().origin.config.robot)


@pytest.fixture(scope='module')
def policy(checkpoint):
    return read_policy(checkpoint)


def open_policy(exported):
    bundle = exported.bundle
    return OnnxPolicy(bundle.manifest, bundle.model, bundle.tokenizer, bundle.policy_id,
                      load_robot(exported.robot), OnnxOptions(execution_provider='cpu', seed=5))


def seen(instruction='lift it', committed=None):
    return Observation(7, JointSample(7, np.array([0.2, 0.0]), np.zeros(2)),
                       {'front': CameraFrame(7, EYES)}, instruction,
                       committed=None if committed is None else np.array(committed))


def test_the_running_bundle_plans_what_the_network_samples(exported, policy):
    noise = np.random.default_rng(5).standard_normal((1, HORIZON, 2), np.float32)
    ids = {'lift': 0, 'it': 0}
    for word in ids:
        vocabulary = json.loads(policy.tokenizer)['model']['vocab']
        ids[word] = vocabulary[word]
    with torch.inference_mode():
        expected = policy.vla.sample(
            [torch.from_numpy(EYES[None])], torch.tensor([[0.2, 0.0]]),
            torch.tensor([[ids['lift'], ids['it'], 0, 0]]), torch.tensor([[1, 1, 0, 0]]),
            torch.from_numpy(noise))[0].numpy()
    assert open_policy(exported).plan(seen()).positions == pytest.approx(expected, abs=1e-5)


def test_what_is_committed_is_kept_and_what_follows_continues_it(exported):
    plans = [open_policy(exported).plan(seen(committed=rows)).positions
             for rows in (None, [[0.5, 0.8]], [[0.5, 0.8], [0.6, 0.8]])]
    assert plans[1][0] == pytest.approx([0.5, 0.8])
    assert plans[2][:2] == pytest.approx(np.array([[0.5, 0.8], [0.6, 0.8]]))
    assert not np.allclose(plans[1][1:], plans[0][1:], atol=1e-4)


def test_a_prefix_longer_than_any_in_training_is_heeded_as_far_as_those_were(exported):
    told = [[0.5, 0.8], [0.6, 0.8], [0.7, 0.8], [0.8, 0.8]]
    all_of_it, part = (open_policy(exported).plan(seen(committed=rows)).positions
                       for rows in (told, told[:MAX_DELAY]))
    assert np.array_equal(all_of_it, part)


def test_words_reach_the_plan(exported):
    plans = [open_policy(exported).plan(seen(words)).positions
             for words in ('lift it', 'put it down')]
    assert np.abs(plans[0] - plans[1]).max() > 1e-4


def test_the_command_says_what_it_wrote_and_how_near_the_graph_is(exported):
    report = exported.report
    assert report['policy_id'] == exported.bundle.policy_id
    assert report['policy_id'].startswith('mine@')
    assert report['size_bytes'] == len(exported.bundle.model)
    assert 0.0 <= report['parity'] <= 1e-4
    assert (report['step'], report['observations']) == (7, '8 seen')
    assert f'differ by at most {report["parity"]:.1e} on 8 seen observations' in exported.said


def test_the_manifest_tells_shape_statistics_and_origin(exported, policy):
    manifest, norm = exported.bundle.manifest, policy.normalisation
    assert manifest.joint_names == ('arm_joint', 'finger_joint')
    assert (manifest.horizon, manifest.step_s, manifest.needs_instruction) == (HORIZON, 0.1, True)
    assert manifest.state_statistics.max == tuple(norm.state_max)
    assert manifest.action_statistics.mean == tuple(norm.action_raw_mean)
    facts = manifest.training
    assert (facts['datasets'], facts['episodes'], facts['seed'], facts['step']) == (
        'small', '3', '3', '7')
    assert facts['exported_by'].startswith('chunked_vla_ros ')
    assert facts['parity'] == f'{exported.report["parity"]:.1e} on 8 seen observations'
    assert json.loads(facts['config'])['imitation']['max_delay_steps'] == MAX_DELAY


@pytest.mark.parametrize(('method', 'selection', 'said'), [
    ('imitation', 'keep', {}), ('advantage', 'all', {'critic_steps': '0', 'policy_updates': '45'}),
    ('advantage', 'keep', {'critic_steps': '30', 'policy_updates': '15'}),
    ('co_rft', 'keep', {'critic_steps': '30', 'policy_updates': '7'}),
    ('qc', 'keep', {'critic_steps': '50', 'policy_updates': '0'})])
def test_a_bundle_of_rl_tells_how_long_critic_and_policy_learnt(policy, method, selection, said):
    config = replace(policy.config, method=method, steps=50,
                     rl=RlConfig(selection=selection, critic_steps=30))
    assert export._control(replace(policy, config=config, step=45)) == said


def test_the_graph_tells_nothing_of_the_machine_it_was_made_on(exported):
    for word in (b'stack_trace', b'site-packages', str(Path.cwd()).encode()):
        assert word not in exported.bundle.model


def test_the_weights_lie_beside_the_graph_if_they_are_wished_for(exported, policy):
    weights = load((exported.bundle.directory / 'weights.safetensors').read_bytes())
    assert weights.keys() == policy.vla.state_dict().keys()
    assert torch.equal(weights['expert.out.weight'], policy.vla.expert.out.weight)
    described = json.loads((exported.bundle.directory / 'weights.json').read_text())
    assert described['shape'] == policy.shape.to_dict()


def test_a_policy_without_a_prefix_in_training_takes_none(policy):
    told = graph_inputs(policy.shape, takes_prefix=True)
    plain = graph_inputs(policy.shape, takes_prefix=False)
    assert list(plain) == ['image.front', 'state', 'tokens', 'tokens_mask', 'noise']
    assert list(told)[5:] == ['prefix', 'prefix_mask']


def test_questions_come_from_all_over_the_data_with_every_length_of_prefix(
        policy, make_material_of):
    rows = make_material_of().rows
    questions = seen_questions(policy, rows)
    assert questions[0]['state'][0] == pytest.approx(rows.state[0])
    assert questions[-1]['state'][0] == pytest.approx(rows.state[-1])
    assert np.array_equal(questions[-1]['image.front'], rows.frames.read([len(rows.state) - 1], 0))
    # The instruction of episodes 0 and 2 has three words, that of episode 1 two.
    assert {int(each['tokens_mask'].sum()) for each in questions} == {2, 3}
    for ask in (questions, drawn_questions(policy)):
        assert [int(each['prefix_mask'].sum()) for each in ask] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_a_graph_that_answers_otherwise_is_not_written(
        exported, policy, tmp_path, monkeypatch):
    other = read_policy(exported.checkpoint)
    with torch.no_grad():
        other.vla.expert.out.bias += 0.01
    monkeypatch.setattr(export, 'to_onnx', lambda *_: exported.bundle.model)
    with pytest.raises(export.ExportError, match=r'graph and network differ by \d.\de-0\d on 8 '):
        export.export_trained(other, tmp_path / 'bundle')
    assert list(tmp_path.iterdir()) == []
    with torch.no_grad():
        other.vla.expert.out.bias.fill_(np.nan)
    with pytest.raises(export.ExportError, match=r'differ by nan on 8 .* nothing was written'):
        export.export_trained(other, tmp_path / 'bundle')


def test_a_graph_of_another_shape_is_refused_as_the_inference_node_would(exported, policy):
    manifest = replace(exported.bundle.manifest, horizon=HORIZON + 1)
    with pytest.raises(BundleError, match=r"policy\.onnx: input 'noise' is"):
        compare(policy, policy.vla, manifest, exported.bundle.model, [])


def test_what_would_be_refused_is_found_before_the_long_part(policy, tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'to_onnx', lambda *_: pytest.fail('the graph was made'))
    with pytest.raises(BundleError, match=r'a name of letters, digits'):
        export.export_trained(policy, tmp_path / 'bundle', 'no name!')
    long = replace(policy, shape=replace(policy.shape, horizon=101))
    with pytest.raises(BundleError, match=r'action\.horizon is 101, expected .* from 1 to 100'):
        export.export_trained(long, tmp_path / 'bundle')


def test_a_policy_beyond_two_gigabytes_is_refused_with_its_number():
    export._check_size(499_000_000, export.LARGEST_FILE)
    with pytest.raises(export.ExportError, match=r'1600 M parameters, 6\.4 GB, more than the '
                       r'2\.0 GB of a bundle; choose a smaller backbone'):
        export._check_size(1_600_000_000, export.LARGEST_FILE)


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'CHECKPOINT is missing: chunked-vla export CHECKPOINT --out BUNDLE'),
    (['{checkpoint}'], '--out is missing'),
    (['{tmp}/none', '--out', '{tmp}/bundle'], '{tmp}/none'),
    (['{checkpoint}', '--out', '{tmp}'], '{tmp}: exists already, expected a new directory'),
    (['{checkpoint}', '--out', '{tmp}/b', '--data', '{tmp}/none'], '{tmp}/none: does not exist')])
def test_a_mistake_is_one_line(checkpoint, tmp_path, capsys, arguments, message):
    places = {'checkpoint': checkpoint, 'tmp': tmp_path}
    assert main(['export', *(word.format(**places) for word in arguments)]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message.format(**places) in line


def test_data_of_other_cameras_are_refused(policy, make_material_of):
    rows = make_material_of().rows
    with pytest.raises(ValueError, match=r'small#0 has cameras \(\), the policy was trained with'):
        seen_questions(policy, replace(rows, cameras=()))
