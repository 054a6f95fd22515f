"""Rules of the compact backbone: places in the image, and words that select."""

import pytest
import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.backbones.compact import (
    CameraEncoder,
    CompactBackbone,
    PATCHES,
)
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (48, 64), (45, 37), (224, 224)])
def test_images_of_any_size_become_as_many_tokens(height: int, width: int) -> None:
    encoder = CameraEncoder(16)
    tokens = encoder(torch.rand(2, height, width, 3), torch.zeros(2, 16))
    assert tokens.shape == (2, PATCHES * PATCHES + 1, 16)


def test_words_ask_for_places() -> None:
    torch.manual_seed(0)
    encoder, image = CameraEncoder(16), torch.rand(1, 32, 32, 3)
    # Fresh convolutions are not told anything yet: what differs is what is asked for.
    one, other = (encoder(image, gist) for gist in (torch.zeros(1, 16), torch.ones(1, 16)))
    assert torch.equal(one[:, 1:], other[:, 1:])
    assert not torch.allclose(one[:, 0], other[:, 0])


def test_words_and_cameras_are_masked_where_they_are_not() -> None:
    shape = PolicyShape(('a',), (DimKind.CONTINUOUS,),
                        (BundleCamera('front', 32, 32), BundleCamera('wrist', 32, 32)),
                        4, 0.05, 3, 10)
    backbone = CompactBackbone(VlaConfig(width=16, heads=2), shape)
    images = [torch.rand(1, 32, 32, 3)] * 2
    context, mask = backbone(
        images, torch.tensor([[False, True]]), torch.tensor([[4, 5, 0]]),
        torch.tensor([[True, True, False]]))
    per_camera = PATCHES * PATCHES + 1
    assert context.shape == (1, 4 + 2 * per_camera, 16)
    # One token stands for silence and is always there.
    assert mask[0].tolist() == (
        [True, True, True, False] + [False] * per_camera + [True] * per_camera)
