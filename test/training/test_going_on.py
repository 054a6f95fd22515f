"""Going on with a training: only with the same one, only one at a time, also after a damage."""

from dataclasses import replace
import json
import shutil

import pytest

from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.checkpoint_folder import checkpoints, newest_checkpoint
from chunked_vla_ros.training.checkpoint_files import CheckpointError
from chunked_vla_ros.training.folder_lock import hold_folder
from chunked_vla_ros.training.train import run_training, TrainingError


@pytest.fixture(scope='module')
def finished(make_material_of, tmp_path_factory):
    """Return the folder of a training with a checkpoint at each of its two steps."""
    out = tmp_path_factory.mktemp('finished')
    run_training(make_material_of('steps=2', 'checkpoint_every=1'), out, False,
                 lambda standing: None)
    return out


@pytest.fixture
def out(finished, tmp_path):
    """Return a copy of it."""
    return shutil.copytree(finished, tmp_path / 'out')


@pytest.fixture
def material(make_material_of):
    return make_material_of('steps=2', 'checkpoint_every=1')


def refusal(material, out) -> str:
    with pytest.raises((TrainingError, CheckpointError)) as refused:
        run_training(material, out, True, lambda standing: None)
    message = str(refused.value)
    assert '\n' not in message
    return message


def test_only_one_training_at_a_time_is_in_a_folder(make_material_of, tmp_path):
    halves = tmp_path / 'checkpoints' / '.step_000002.partial'
    halves.mkdir(parents=True)    # of the other one, which is writing it
    with hold_folder(tmp_path) as free:
        assert free
        assert refusal(make_material_of(), tmp_path) == (
            f'{tmp_path}: another training is at work there: wait until it has ended, or name '
            'another folder')
        assert halves.is_dir()
        assert not (tmp_path / 'config.yaml').exists()
    assert run_training(make_material_of('steps=1'), tmp_path, True,
                        lambda standing: None).step == 1
    assert not halves.exists()


def test_a_training_holds_its_folder_until_it_ends(make_material_of, tmp_path):
    seen = []

    def tell(standing):
        with hold_folder(tmp_path) as free:
            seen.append((standing.step, free))

    run_training(make_material_of('steps=2'), tmp_path, False, tell)
    assert seen == [(0, True), (1, False), (2, False)]
    with hold_folder(tmp_path) as free:
        assert free


def test_what_another_training_wrote_while_this_one_began_is_not_overlooked(
        finished, material, tmp_path):
    def tell(standing):
        if standing.step == 0:
            shutil.copytree(finished, tmp_path / 'out')

    with pytest.raises(TrainingError, match='another training has just written there: go on with'):
        run_training(material, tmp_path / 'out', False, tell)


def test_a_damaged_checkpoint_is_named_with_what_follows_from_removing_it(
        finished, out, material):
    first, second = checkpoints(out)
    model = second / 'model.safetensors'
    model.write_bytes(model.read_bytes()[:1000])
    # It has the steps that there are, so that nothing would be done; it is looked at all the same.
    message = refusal(material, out)
    assert message.startswith(f'{model}: has 1000 bytes, expected ')
    assert message.endswith(f': cut off; remove {second}: --resume then takes step 1')
    shutil.rmtree(second)
    assert run_training(material, out, True, lambda standing: None).step == 2
    written, expected = ((newest_checkpoint(root) / 'ema.safetensors').read_bytes()
                         for root in (out, finished))
    assert written == expected
    shutil.rmtree(second)
    (first / 'history.json').unlink()
    assert refusal(material, out).endswith(
        f'history.json: is missing; remove {first}: --resume then begins anew')


def test_what_is_no_checkpoint_does_not_stop_one_of_its_name(out, material):
    second = newest_checkpoint(out)
    (second / 'state.json').unlink()
    assert run_training(material, out, True, lambda standing: None).checkpoint == second
    assert (second / 'state.json').is_file()
    assert not list((out / 'checkpoints').glob('.*'))


def test_another_kind_of_a_joint_is_refused_and_named(out, material):
    origin = material.origin
    kinds = (DimKind.CONTINUOUS, DimKind.CONTINUOUS)
    other = replace(material, origin=replace(origin, shape=replace(
        origin.shape, dim_kinds=kinds)))
    assert refusal(other, out) == (
        f'{out}: its training has another robot contract or vocabulary: finger_joint was binary, '
        'is continuous; give it the same, or name another folder')


def test_another_vocabulary_is_refused_and_named(out, material):
    origin = material.origin
    words = origin.shape.vocabulary
    other = replace(material, origin=replace(origin, shape=replace(
        origin.shape, vocabulary=words + 1)))
    assert f'vocabulary was {words}, is {words + 1}; give it' in refusal(other, out)


def test_other_statistics_are_refused_but_not_for_their_last_digit(out, material):
    origin = material.origin
    def with_std(std):
        return replace(material, origin=replace(origin, normalisation=replace(
            origin.normalisation, state_std=std)))
    std = origin.normalisation.state_std
    assert run_training(with_std(std * (1 + 1e-9)), out, True, lambda standing: None).step == 2
    assert 'other statistics of the same data: state_std; it is of' in refusal(
        with_std(std * 1.01), out)


def test_a_validation_loss_that_is_infinite_costs_no_checkpoint(
        make_material_of, tmp_path, told):
    material = make_material_of('validate_every=1', 'checkpoint_every=1')
    action = material.rows.action.copy()
    held = material.split.validation[0]
    first = material.rows.episode_starts[held]
    # The square of it is too much for a float32.
    action[first:first + material.rows.episode_lengths[held]] = 1e30
    broken = replace(material, rows=replace(material.rows, action=action))
    run_training(broken, tmp_path, False, told, lambda: len(told.losses) >= 1)
    assert newest_checkpoint(tmp_path).name == 'step_000002'
    run_training(broken, tmp_path, True, told)
    newest = newest_checkpoint(tmp_path)
    assert newest.name == 'step_000004'
    assert json.loads((newest / 'state.json').read_text())['validation_loss'] is None
    history = json.loads((newest / 'history.json').read_text())
    assert history['validation']['validation_loss'] == [None] * 4
    assert None not in history['validation']['hold_error']
    assert not list((tmp_path / 'checkpoints').glob('.*'))
    assert (tmp_path / 'report.html').is_file()
