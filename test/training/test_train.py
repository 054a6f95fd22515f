"""A training: the same curve however often it is interrupted, and what it leaves behind."""

from dataclasses import replace
import json

from accelerate import Accelerator
import numpy as np
import pytest
from safetensors.torch import load_file
import torch

from chunked_vla_ros.data.checkpoint_folder import checkpoints, newest_checkpoint
from chunked_vla_ros.training.checkpoint import read_policy
from chunked_vla_ros.training.train import run_training, TrainingError


@pytest.fixture(scope='module')
def whole(make_material_of, tmp_path_factory):
    """Return the folder of a training that nothing interrupted, and its losses."""
    out, losses = tmp_path_factory.mktemp('whole'), []
    outcome = run_training(
        make_material_of(), out, False,
        lambda standing: losses.append(standing.metrics.get('loss')))
    assert (outcome.step, outcome.stopped) == (4, False)
    return out, [loss for loss in losses if loss is not None]


def weights_of(folder):
    return {path.name: load_file(path) for path in sorted(folder.glob('*.safetensors'))}


def test_what_a_training_leaves_behind(whole):
    out, losses = whole
    assert len(losses) == 4
    assert all(np.isfinite(losses))
    assert {path.name for path in out.iterdir()} == {
        '.lock', 'checkpoints', 'config.yaml', 'split.json', 'report.html', 'tensorboard'}
    assert {path.name for path in newest_checkpoint(out).iterdir()} == {
        'model.safetensors', 'ema.safetensors', 'optimizer.safetensors', 'random.safetensors',
        'state.json', 'history.json', 'tokenizer.json'}
    split = json.loads((out / 'split.json').read_text())
    assert sorted(split['training'] + split['validation']) == ['small#0', 'small#1', 'small#2']
    assert len(split['validation']) == 1
    assert list((out / 'tensorboard').iterdir())
    page = (out / 'report.html').read_text()
    for word in ('Trained to the end', 'validation loss', 'arm_joint', 'policy.width',
                 split['validation'][0]):
        assert word in page
    history = json.loads((newest_checkpoint(out) / 'history.json').read_text())
    assert history['training']['step'] == [1, 2, 3, 4]
    assert history['training']['loss'] == losses
    assert history['validation']['step'] == [2, 4]


@pytest.mark.parametrize('stop_after', [1, 2])
def test_gone_on_from_a_checkpoint_the_curve_is_the_same_to_the_last_bit(
        whole, make_material_of, tmp_path, told, stop_after):
    material = make_material_of()
    first = run_training(material, tmp_path, False, told, lambda: len(told.losses) >= stop_after)
    # One more step is taken: the request is heard at its beginning.
    assert (first.step, first.stopped) == (stop_after + 1, True)
    torch.manual_seed(1234)    # whatever was drawn in between
    second = run_training(material, tmp_path, True, told)
    assert (second.step, second.stopped) == (4, False)
    assert told.losses == whole[1]
    expected, found = (weights_of(newest_checkpoint(out)) for out in (whole[0], tmp_path))
    for file, tensors in expected.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, found[file][name]), f'{file} {name}'
    before, after = (json.loads((newest_checkpoint(out) / 'history.json').read_text())
                     for out in (whole[0], tmp_path))
    assert before['validation'] == after['validation']


def test_going_on_where_nothing_is_begins_and_at_the_end_there_is_nothing_to_do(
        whole, make_material_of, tmp_path, told):
    material = make_material_of()
    assert run_training(material, tmp_path / 'new', True, told).step == 4
    assert told.losses == whole[1]
    again = run_training(material, tmp_path / 'new', True, told)
    assert (again.step, again.checkpoint) == (4, newest_checkpoint(tmp_path / 'new'))
    assert told.losses == whole[1]


def test_the_last_look_at_held_out_episodes_is_told(make_material_of, tmp_path, told):
    run_training(make_material_of('steps=2', 'validate_every=99'), tmp_path, False, told)
    assert 'validation_loss' not in told[-2].metrics
    history = json.loads((newest_checkpoint(tmp_path) / 'history.json').read_text())
    assert [told[-1].metrics['validation_loss']] == history['validation']['validation_loss']


def test_the_other_processes_end_when_the_checkpoint_is_written(
        make_material_of, tmp_path, told, monkeypatch):
    waits = []
    monkeypatch.setattr(Accelerator, 'wait_for_everyone', lambda accelerator: waits.append(
        (newest_checkpoint(tmp_path).name, (tmp_path / 'nan_step_2').exists())))
    material = make_material_of('imitation.max_delay_steps=0')
    action = material.rows.action.copy()
    broken = replace(material, rows=replace(material.rows, action=action))
    run_training(broken, tmp_path, False, told, lambda: len(told.losses) >= 1)
    action[:, 0] = np.nan
    with pytest.raises(TrainingError, match='loss is nan at step 2'):
        run_training(broken, tmp_path, True, told)
    assert waits == [('step_000002', False), ('step_000002', True)]


def test_a_training_is_not_begun_over_another(whole, make_material_of, told):
    with pytest.raises(TrainingError, match=r'at step 4: go on with --resume, or name another'):
        run_training(make_material_of(), whole[0], False, told)


def test_another_configuration_is_refused_and_the_differences_are_named(
        whole, make_material_of, told):
    material = make_material_of('batch_size=3', 'policy.layers=2', 'keep=7')
    with pytest.raises(TrainingError) as refused:
        run_training(material, whole[0], True, told)
    assert str(refused.value) == (
        f'{whole[0]}: its training has another configuration: policy.layers was 1, is 2, '
        'batch_size was 4, is 3; give it the same, or name another folder')


def test_other_data_are_refused(whole, make_material_of, make_training_data, told):
    with pytest.raises(TrainingError, match=r'other data: 3 episodes with 36 rows of small then, '
                                            r'4 episodes with 48 rows of of_4 now'):
        run_training(make_material_of(data=make_training_data(4)), whole[0], True, told)


def test_the_newest_and_the_best_checkpoint_are_kept(make_material_of, tmp_path, told):
    material = make_material_of(
        'steps=6', 'checkpoint_every=1', 'validate_every=1', 'keep=2', 'learning_rate=0')
    run_training(material, tmp_path, False, told)
    # Nothing is learnt, so that the first is as good as any, and none is better.
    assert [path.name for path in checkpoints(tmp_path)] == [
        'step_000001', 'step_000005', 'step_000006']
    assert not list((tmp_path / 'checkpoints').glob('.*'))


def test_a_loss_that_is_no_number_stops_at_once_with_its_batch(make_material_of, tmp_path, told):
    material = make_material_of('imitation.max_delay_steps=0')
    action = material.rows.action.copy()
    broken = replace(material, rows=replace(material.rows, action=action))
    run_training(broken, tmp_path, False, told, lambda: len(told.losses) >= 1)
    action[:, 0] = np.nan
    with pytest.raises(TrainingError) as stopped:
        run_training(broken, tmp_path, True, told)
    good = tmp_path / 'checkpoints' / 'step_000002'
    assert str(stopped.value).startswith(
        f'loss is nan at step 2: stopped before the weights took it; its batch is in '
        f'{tmp_path / "nan_step_2"}, the last good checkpoint is {good};')
    about = json.loads((tmp_path / 'nan_step_2' / 'batch.json').read_text())
    assert 'actions' in about['not_finite']
    assert 'state' not in about['not_finite']
    assert (about['step'], about['why'], len(about['windows'])) == (2, 'loss is nan', 4)
    assert set(about['episodes']) <= {'small#0', 'small#1', 'small#2'}
    batch = load_file(tmp_path / 'nan_step_2' / 'batch.safetensors')
    assert batch['image.front'].shape == (4, 32, 32, 3)
    assert batch['draws.noise'].shape == (4, 2, 4, 2)
    assert newest_checkpoint(tmp_path) == good
    assert read_policy(tmp_path).step == 2


def test_one_episode_is_learnt_without_validation_and_that_is_said(
        make_material_of, make_training_data, tmp_path, told):
    material = make_material_of('steps=1', data=make_training_data(1))
    assert material.split.note == 'one episode only: no validation'
    assert run_training(material, tmp_path, False, told).step == 1
    page = (tmp_path / 'report.html').read_text()
    assert 'one episode only: no validation' in page
    assert 'Chunks that were learnt' in page
    assert 'validation_loss' not in told[-1].metrics


def test_joints_that_never_move_are_learnt_without_a_fault(
        make_material_of, make_training_data, tmp_path, told):
    run_training(make_material_of('steps=2', data=make_training_data(2, still=True)), tmp_path,
                 False, told)
    assert all(np.isfinite(told.losses))
    weights = weights_of(newest_checkpoint(tmp_path))['model.safetensors']
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_what_is_read_back_is_the_running_mean_in_evaluation_mode(whole, make_material_of):
    policy = read_policy(whole[0])
    saved = weights_of(newest_checkpoint(whole[0]))
    mean, last = saved['ema.safetensors'], saved['model.safetensors']
    weights = policy.vla.state_dict()
    assert set(weights) == set(last)
    assert all(torch.equal(weights[name], tensor) for name, tensor in mean.items())
    assert any(not torch.equal(tensor, last[name]) for name, tensor in mean.items())
    assert not policy.vla.training
    assert (policy.step, policy.tokenizer_spec.max_length) == (4, 4)
    assert policy.config == make_material_of().origin.config
    assert policy.provenance['datasets'] == 'small'


@pytest.fixture
def other_precision():
    """Let a test choose a precision: accelerate keeps the first one of a process."""
    from accelerate.state import AcceleratorState
    forget = AcceleratorState._reset_state    # as in its own tests
    forget(reset_partial_state=True)
    yield lambda: forget(reset_partial_state=True)
    forget(reset_partial_state=True)


def test_mixed_precision_learns_much_the_same_and_resumes_the_same(
        make_material_of, tmp_path, told, other_precision):
    plain, mixed = [], []
    for losses, override in ((plain, 'precision=no'), (mixed, 'precision=bf16')):
        other_precision()
        told[:] = []
        run_training(make_material_of('steps=4', override), tmp_path / override, False, told)
        losses += told.losses
    # bf16 keeps 8 bits: about 0.4 % of each number.
    assert mixed != plain
    assert mixed == pytest.approx(plain, rel=0.05, abs=0.02)
    told[:] = []
    half = make_material_of('steps=4', 'precision=bf16')
    run_training(half, tmp_path / 'parts', False, told, lambda: len(told.losses) >= 1)
    run_training(half, tmp_path / 'parts', True, told)
    assert told.losses == mixed
