"""Vision-language models from a folder: what they see, what is trained, what is refused."""

from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
import pickle
import socket
import sys
from typing import Any

import pytest

pytest.importorskip('transformers', reason='requirements/hf.txt is not installed')
pytest.importorskip('peft', reason='requirements/hf.txt is not installed')

import torch
import transformers

from chunked_vla_ros.training.checkpoint import read_policy
from chunked_vla_ros.training.train import run_training

BEGIN, OPEN, CLOSE = 0, 38, 39
SIZE, LATENTS = 28, 4
PATCHES = (SIZE // 14) ** 2 + 1


@pytest.fixture(scope='module')
def kosmos(model_folders: dict[str, Path]) -> Path:
    return model_folders['kosmos-2']


@pytest.fixture
def make(make_vla: Callable[..., Any]) -> Callable[..., Any]:
    return lambda folder, **config: make_vla(
        backbone='transformers', model_path=str(folder), **config)


@pytest.fixture
def copied(kosmos: Path, tmp_path: Path) -> Path:
    """Return a copy of Kosmos-2's folder, to be damaged."""
    for path in kosmos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize('kind', ['kosmos-2', 'clip', 'siglip'])
def test_an_absent_camera_and_padding_have_no_part_in_what_is_seen(
        model_folders, make, look, kind: str) -> None:
    backbone = make(model_folders[kind]).backbone
    look.present[:, 1] = False
    context, mask = look.through(backbone)
    assert context.shape == (*mask.shape, 16)
    each = {'kosmos-2': LATENTS + 2}.get(kind, PATCHES - (kind == 'siglip'))
    assert mask.sum(dim=1).tolist() == [(kind == 'kosmos-2') + each + words for words in (3, 2)]
    look.images[1].fill_(0.7)
    look.tokens[~look.mask] = 9
    again, _ = look.through(backbone)
    torch.testing.assert_close(again[mask], context[mask])
    look.images[0].fill_(0.7)
    assert not torch.allclose(look.through(backbone)[0][mask], context[mask])


@pytest.mark.parametrize('kind', ['kosmos-2', 'clip', 'siglip'])
def test_whole_training_moves_every_weight_of_vision_and_text(
        model_folders, make, train, kind: str) -> None:
    vla = make(model_folders[kind])
    assert train(vla) > 0.0
    trained = {name: weight for name, weight in vla.backbone.named_parameters()
               if weight.requires_grad}
    assert all(weight.grad.isfinite().all() for weight in trained.values())
    # What is added to every key alike changes no attention.
    still = {name for name, weight in trained.items() if weight.grad.abs().max() < 1e-12}
    assert all('k_proj.bias' in name for name in still)
    assert any('.vision' in name for name in set(trained) - still)
    assert any('.text' in name for name in set(trained) - still)


@pytest.mark.parametrize('kind', ['kosmos-2', 'siglip'])
def test_low_rank_training_moves_its_matrices_and_our_heads_alone(
        model_folders, make, train, kind: str) -> None:
    vla = make(model_folders[kind], lora_rank=2)
    before = {name: weight.detach().clone() for name, weight in vla.named_parameters()}
    train(vla)
    moved = {name for name, weight in vla.named_parameters()
             if not torch.equal(weight, before[name])}
    of_the_model = {name for name in moved if '.reader.model.' in name}
    assert of_the_model
    assert all('lora_' in name for name in of_the_model)
    assert any('vision' in name for name in of_the_model)
    assert any('text' in name for name in of_the_model)
    assert any(name.startswith('backbone.reader.project') for name in moved)
    assert any(name.startswith('expert.') for name in moved)


def test_low_rank_matrices_start_as_no_change(kosmos: Path, make, look) -> None:
    torch.manual_seed(3)
    whole = make(kosmos).backbone
    adapted = make(kosmos, lora_rank=2).backbone
    adapted.reader.project.load_state_dict(whole.reader.project.state_dict())
    torch.testing.assert_close(look.through(adapted)[0], look.through(whole)[0])


def test_kosmos_reads_its_own_prompt(kosmos: Path, make, look) -> None:
    """Our way through the parts gives what the model's own forward gives."""
    backbone = make(kosmos).backbone
    backbone.reader.project = torch.nn.Identity()
    one = replace(look, images=look.images[:1], present=look.present[:, :1])
    context, _ = one.through(backbone)
    prompt = [BEGIN, OPEN, *[OPEN] * LATENTS, CLOSE]
    tokens = torch.cat([torch.tensor([prompt, prompt]), look.tokens], dim=1)
    there = torch.cat([torch.ones(2, len(prompt)), look.mask], dim=1)
    is_picture = torch.zeros_like(tokens)
    is_picture[:, 2:2 + LATENTS] = 1
    own = transformers.AutoModel.from_pretrained(kosmos).eval()
    with torch.no_grad():
        expected = own(
            pixel_values=backbone._picture(look.images[0]), input_ids=tokens,
            attention_mask=there, image_embeds_position_mask=is_picture).last_hidden_state
    seen = there.bool()
    torch.testing.assert_close(context[seen], expected[seen])


def test_in_training_nothing_is_dropped_by_chance(kosmos: Path, make, look) -> None:
    backbone = make(kosmos).backbone.train()
    assert backbone.training
    assert backbone.reader.model.config.text_config.dropout == 0.1
    torch.testing.assert_close(look.through(backbone)[0], look.through(backbone)[0])
    fresh = make(kosmos, pretrained=False).backbone    # transformers makes it for training
    torch.testing.assert_close(look.through(fresh)[0], look.through(fresh)[0])


def test_a_checkpoint_fills_a_model_whose_weights_are_not_read_again(
        copied: Path, make, train, look) -> None:
    trained = make(copied, lora_rank=2)
    train(trained)
    (copied / 'model.safetensors').unlink()
    again = make(copied, lora_rank=2, pretrained=False)
    again.load_state_dict(trained.state_dict())    # strict
    torch.testing.assert_close(
        look.through(again.backbone)[0], look.through(trained.backbone)[0])


def test_a_low_rank_training_goes_on_where_it_was_left_without_the_models_weights(
        copied: Path, make_material_of, tmp_path_factory, told) -> None:
    """What is frozen comes from the checkpoint too: the folder's file may be gone."""
    material = make_material_of(
        'policy.backbone=transformers', f'policy.model_path={copied}', 'policy.lora_rank=2',
        'steps=2', 'checkpoint_every=1')
    whole, halves = (tmp_path_factory.mktemp(name) for name in ('whole', 'halves'))
    run_training(material, whole, False, told)
    run_training(material, halves, False, told, lambda: len(told.losses) > 2)
    run_training(material, halves, True, told)
    assert len(told.losses) == 4
    assert told.losses[2:] == told.losses[:2]
    (copied / 'model.safetensors').unlink()
    once, twice = (read_policy(folder).vla.state_dict() for folder in (whole, halves))
    assert all(torch.equal(value, twice[name]) for name, value in once.items())


def test_weights_in_a_pickle_are_refused_and_never_opened(copied: Path, make) -> None:
    canary = copied / 'canary'
    (copied / 'pytorch_model.bin').write_bytes(pickle.dumps(Canary(canary)))
    make(copied)    # beside safetensors it is not looked at
    (copied / 'model.safetensors').unlink()
    with pytest.raises(ValueError, match=r'its weights in pytorch_model.bin, a pickle') as failure:
        make(copied)
    assert '\n' not in str(failure.value)
    assert not canary.exists()


def test_nothing_is_asked_of_the_network(
        kosmos: Path, make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError('a connection was tried')
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    make(kosmos, lora_rank=2)


def test_an_adapter_is_no_model(copied: Path, make) -> None:
    (copied / 'adapter_config.json').write_text('{"base_model_name_or_path": "some/where"}')
    with pytest.raises(ValueError, match=r'adapter_config.json: it holds an adapter, not a whole'):
        make(copied)


@pytest.mark.parametrize(('package', 'config'), [('transformers', {}), ('peft', {'lora_rank': 2})])
def test_a_package_that_is_not_installed_is_named_with_the_remedy(
        kosmos: Path, make, monkeypatch: pytest.MonkeyPatch, package: str,
        config: dict[str, int]) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf'not installed \({package}\); pip install -r requirem'):
        make(kosmos, **config)


def test_code_that_comes_with_a_model_is_never_run(tmp_path: Path, make) -> None:
    canary = tmp_path / 'canary'
    (tmp_path / 'evil.py').write_text(f'from pathlib import Path; Path({str(canary)!r}).touch()')
    (tmp_path / 'config.json').write_text(json.dumps({
        'model_type': 'evil', 'auto_map': {'AutoConfig': 'evil.C', 'AutoModel': 'evil.M'}}))
    with pytest.raises(ValueError, match=r'config.json names no model that transformers knows'):
        make(tmp_path)
    assert not canary.exists()


def test_truncated_and_incomplete_weights_are_refused(copied: Path, make) -> None:
    weights = copied / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'its weights cannot be read: .*; copy the folder again'):
        make(copied)
    from safetensors.torch import save_file
    save_file({'text_model.model.layer_norm.weight': torch.ones(16)}, weights)
    with pytest.raises(ValueError, match=r'lack \d+ of the weights of kosmos-2, such as image_to'):
        make(copied)


def test_an_architecture_that_is_not_known_is_refused_by_name(tmp_path: Path, make) -> None:
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r'bert is not known here; known: kosmos-2, clip, siglip'):
        make(tmp_path)


@pytest.mark.parametrize(('path', 'said'), [
    ('', 'policy.model_path is empty'), ('microsoft/kosmos-2', 'nothing is downloaded')])
def test_a_model_is_a_folder_here(make, path: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(path)


@pytest.mark.parametrize(('changed', 'said'), [
    ({'vocabulary': 41}, 'has 41 tokens, the model knows 40'),
    ({'token_length': 65}, 'token_length is 65, kosmos-2 .* reads at most 64')])
def test_words_that_the_model_cannot_read_are_refused(
        kosmos: Path, shape, changed: dict[str, int], said: str) -> None:
    from chunked_vla_ros.training.backbones.transformers_model import TransformersBackbone
    from chunked_vla_ros.training.vla_config import VlaConfig
    config = VlaConfig(backbone='transformers', model_path=str(kosmos))
    with pytest.raises(ValueError, match=said):
        TransformersBackbone(config, replace(shape, **changed))


def test_without_a_camera_there_is_nothing_to_see(kosmos: Path, shape) -> None:
    from chunked_vla_ros.training.backbones.transformers_model import TransformersBackbone
    from chunked_vla_ros.training.vla_config import VlaConfig
    config = VlaConfig(backbone='transformers', model_path=str(kosmos))
    with pytest.raises(ValueError, match=r'needs a camera, there is none.*backbone=compact'):
        TransformersBackbone(config, replace(shape, cameras=()))


@pytest.mark.parametrize('file', ['preprocessor_config.json', 'processor_config.json'])
def test_pictures_are_normalised_as_the_folder_says(copied: Path, make, file: str) -> None:
    said = {'image_mean': [0.1, 0.2, 0.3], 'image_std': [0.5, 0.5, 1.0]}
    (copied / file).write_text(json.dumps(
        {'image_processor': said} if file.startswith('processor') else said))
    picture = make(copied).backbone._picture(torch.full((1, 30, 40, 3), 0.6))
    assert picture.shape == (1, 3, SIZE, SIZE)
    assert picture[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.8, 0.3])
