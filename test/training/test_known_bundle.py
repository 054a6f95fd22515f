"""A bundle that is there already is taken for a training's own only if it is."""

from dataclasses import replace

import pytest

from chunked_vla_ros.core.bundle_manifest import MODEL_FILE
from chunked_vla_ros.data.policy_bundle import write_bundle
from chunked_vla_ros.training.checkpoint import read_policy
from chunked_vla_ros.training.export_manifest import manifest_of
from chunked_vla_ros.training.known_bundle import check_is_of
from chunked_vla_ros.training.train import run_training


@pytest.fixture(scope='module')
def checkpoint(make_material_of, tmp_path_factory):
    """Return the checkpoint of a training of one step."""
    return run_training(make_material_of('steps=1'), tmp_path_factory.mktemp('out'), False,
                        lambda standing: None).checkpoint


def bundle_of(checkpoint, folder, training=(), **changes):
    """Return a bundle whose manifest is that of the checkpoint's, but for what is given."""
    policy = read_policy(checkpoint)
    manifest = manifest_of(policy, 'mine')
    manifest = replace(manifest, training={**manifest.training, **dict(training)}, **changes)
    write_bundle(folder, manifest, {
        MODEL_FILE: b'a graph', policy.tokenizer_spec.file: policy.tokenizer})
    return folder


def refusal(bundle, checkpoint) -> str:
    with pytest.raises(ValueError, match='expected a new folder for --bundle') as refused:
        check_is_of(bundle, checkpoint)
    message = str(refused.value)
    assert '\n' not in message
    return message


def test_its_own_bundle_is_known_again(checkpoint, tmp_path):
    check_is_of(bundle_of(checkpoint, tmp_path / 'bundle'), checkpoint)


def test_the_bundle_of_another_training_is_refused(checkpoint, tmp_path):
    bundle = bundle_of(checkpoint, tmp_path / 'other', {'step': '9', 'config_sha256': 'f' * 64})
    message = refusal(bundle, checkpoint)
    assert message.startswith(
        f'{bundle}: exists already and is of another training (step is 9, here 1, '
        f'config_sha256 is {"f" * 60}, here ')
    mean = manifest_of(read_policy(checkpoint), 'mine').action_statistics
    bundle = bundle_of(checkpoint, tmp_path / 'same_names', action_statistics=replace(
        mean, mean=(mean.mean[0] + 0.01, *mean.mean[1:])))
    assert '(the mean of its actions is another)' in refusal(bundle, checkpoint)


def test_what_is_no_bundle_is_refused(checkpoint, tmp_path):
    assert f'{tmp_path}: exists already and is no whole bundle (' in refusal(tmp_path, checkpoint)
