"""Two tiny pictures, a few words, and two steps of training, for every backbone."""

from collections.abc import Callable
from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.batches import Batch
from chunked_vla_ros.training.flow_matching import FlowDraws
from chunked_vla_ros.training.imitation_config import ImitationConfig
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.tokenizer import word_tokenizer
from chunked_vla_ros.training.vla import build_vla, Vla
from chunked_vla_ros.training.vla_config import VlaConfig

WIDTH = 16
# Of the models: tokens around a picture, all tokens, sides of a picture.
OPEN, CLOSE, WORDS, SIZE = 38, 39, 40, 28
TOWERS = {
    'text_config': {
        'vocab_size': WORDS, 'max_position_embeddings': 32, 'hidden_size': 16,
        'intermediate_size': 32, 'num_hidden_layers': 1, 'num_attention_heads': 2,
        'projection_size': 16},
    'vision_config': {
        'hidden_size': 16, 'intermediate_size': 32, 'num_hidden_layers': 1,
        'num_attention_heads': 2, 'image_size': SIZE, 'patch_size': 14}}
# Its dropout is left as published: 0.1.
KOSMOS = {
    'latent_query_num': 4, 'vision_config': TOWERS['vision_config'],
    'text_config': {'vocab_size': WORDS, 'max_position_embeddings': 64, 'embed_dim': 16,
                    'layers': 1, 'ffn_dim': 32, 'attention_heads': 2}}


@pytest.fixture(autouse=True)
def one_thread_and_one_seed() -> None:
    """Tiny tensors gain nothing by threads, and every test starts from the same numbers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a folder with random weights for each architecture of transformers that is known."""
    transformers = pytest.importorskip(
        'transformers', reason='requirements/hf.txt is not installed')
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    configs = {
        'kosmos-2': transformers.Kosmos2Config(**KOSMOS),
        'clip': transformers.CLIPConfig(projection_dim=16, **TOWERS),
        'siglip': transformers.SiglipConfig(**TOWERS)}
    found = {}
    for kind, config in configs.items():
        found[kind] = tmp_path_factory.mktemp(kind)
        transformers.AutoModel.from_config(config).save_pretrained(found[kind])
    (found['kosmos-2'] / 'tokenizer.json').write_text(tokenizer())
    return found


def tokenizer() -> str:
    """Return a tokenizer with all the tokens of the models, the last two around pictures."""
    around = {'<image>': OPEN, '</image>': CLOSE}
    said = json.loads(word_tokenizer([f'w{index}' for index in range(OPEN - 2)]))
    said['model']['vocab'].update(around)
    said['added_tokens'] = [
        {'id': number, 'content': content, 'single_word': False, 'lstrip': False, 'rstrip': False,
         'normalized': False, 'special': True} for content, number in around.items()]
    return json.dumps(said)


@dataclass(frozen=True)
class Look:
    """What a backbone takes: two cameras of different sizes, and two instructions."""

    images: list[torch.Tensor]
    present: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor

    def through(self, backbone: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            seen = backbone(self.images, self.present, self.tokens, self.mask)
            return seen.tokens, seen.mask


@pytest.fixture
def shape() -> PolicyShape:
    return PolicyShape(
        ('lift', 'grip'), (DimKind.CONTINUOUS, DimKind.BINARY),
        (BundleCamera('front', 40, 32), BundleCamera('wrist', 32, 32)), 3, 0.1, 4, 12)


@pytest.fixture
def look(shape: PolicyShape) -> Look:
    images = [torch.rand(2, camera.height, camera.width, 3) for camera in shape.cameras]
    return Look(
        images, torch.ones(2, 2, dtype=torch.bool), torch.tensor([[4, 5, 6, 1], [7, 8, 1, 1]]),
        torch.tensor([[True, True, True, False], [True, True, False, False]]))


@pytest.fixture
def make_vla(shape: PolicyShape) -> Callable[..., Vla]:
    """Return what makes a policy with a backbone; its numbers need no normalisation."""
    joints, horizon = len(shape.joint_names), shape.horizon
    zeros, ones = np.zeros(joints), np.ones(joints)
    normalisation = Normalisation(
        zeros, ones, np.zeros((horizon, joints)), np.ones((horizon, joints)),
        np.array([True, False]), zeros, ones, zeros, ones, zeros, ones)

    def make(**config: object) -> Vla:
        return build_vla(
            VlaConfig(width=WIDTH, heads=2, layers=1, expert_layers=1, flow_steps=2, **config),
            shape, normalisation)
    return make


@pytest.fixture
def train(shape: PolicyShape, look: Look) -> Callable[[Vla], float]:
    """
    Return what trains a policy by two steps and leaves the gradients of the second.

    The first moves the action expert alone, which starts with an answer of zero.
    """
    def two_steps(vla: Vla) -> float:
        pixels = {camera.name: (image * 255).to(torch.uint8)
                  for camera, image in zip(shape.cameras, look.images, strict=True)}
        batch = Batch(pixels, look.present, torch.rand(2, 2), look.tokens, look.mask.long(),
                      torch.rand(2, 3, 2), torch.ones(2, 3, dtype=torch.bool), torch.rand(2, 2),
                      torch.ones(2, dtype=torch.bool))
        draws = FlowDraws.draw(torch.Generator().manual_seed(1), 2, shape, ImitationConfig())
        optimizer = torch.optim.AdamW(
            [weight for weight in vla.parameters() if weight.requires_grad], lr=1e-3)
        vla.train()
        for _ in range(2):
            optimizer.zero_grad()
            loss, _ = vla(batch, draws)
            loss.backward()
            optimizer.step()
        return float(loss.detach())
    return two_steps
