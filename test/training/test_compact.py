"""Rules of the compact backbone: places in the image, and words that select."""

import pytest
import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.backbones.compact import (
    ASKED,
    ColourPlaces,
    CompactBackbone,
    PATCHES,
    PLACE_GAIN,
    SHADES,
    shades_of,
    ShapeEncoder,
)
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (48, 64), (45, 37), (224, 224)])
def test_images_of_any_size_become_as_many_places_and_tokens(height: int, width: int) -> None:
    image, gist = torch.rand(2, height, width, 3), torch.zeros(2, 16)
    assert ColourPlaces(16)(image, gist).shape == (2, 2 * ASKED)
    assert ShapeEncoder(16)(image, gist).shape == (2, PATCHES * PATCHES + 1, 16)


@pytest.mark.parametrize('shapes', [False, True])
def test_shapes_are_seen_where_they_are_wished_for(shapes: bool) -> None:
    shape = PolicyShape(('a',), (DimKind.CONTINUOUS,), (BundleCamera('front', 32, 32),),
                        4, 0.05, 3, 10)
    seen = CompactBackbone(VlaConfig(width=16, heads=2, shapes=shapes), shape)(
        [torch.rand(1, 32, 32, 3)], torch.tensor([[True]]), torch.tensor([[4, 5, 0]]),
        torch.tensor([[True, True, False]]))
    assert seen.tokens.shape[1] == 5 + (PATCHES * PATCHES + 1 if shapes else 0)
    assert seen.places.shape == (1, 1, 2 * ASKED)


def test_colours_are_told_apart_by_a_lattice_of_them() -> None:
    # Red, and half way from black to a third of white: between the first two shades of each.
    image = torch.tensor([[1.0, 0.0, 0.0], [1 / 6, 1 / 6, 1 / 6]]).T[None, :, None]
    red, grey = shades_of(image)[0, :, 0].T
    assert red.nonzero().flatten().tolist() == [(SHADES - 1) * SHADES ** 2]
    assert red.sum() == grey.sum() == 1.0
    assert grey[grey > 0].tolist() == pytest.approx([1 / 8] * 8)


def test_what_is_asked_for_is_found_wherever_it_is() -> None:
    look, gist = ColourPlaces(16), torch.zeros(1, 16)
    with torch.no_grad():
        look.heat.fill_(9.0)
        look.questions.bias.zero_()
        look.questions.bias[(SHADES - 1) * SHADES ** 2] = 1.0    # the first asks for red
    image = torch.full((1, 40, 40, 3), 0.5)
    image[:, 10:12, 30:32] = torch.tensor([1.0, 0.0, 0.0])
    places = look(image, gist)[0].detach() / PLACE_GAIN
    # Middle of columns 30 and 31 of 0..39, on -1..1; likewise down.
    assert places[0] == pytest.approx(30.5 / 19.5 - 1, abs=1e-3)
    assert places[ASKED] == pytest.approx(10.5 / 19.5 - 1, abs=1e-3)


def test_words_ask_for_places() -> None:
    torch.manual_seed(0)
    look, image = ColourPlaces(16), torch.rand(1, 32, 32, 3)
    assert not torch.allclose(look(image, torch.zeros(1, 16)), look(image, torch.ones(1, 16)))


def test_words_and_cameras_are_masked_where_they_are_not() -> None:
    shape = PolicyShape(('a',), (DimKind.CONTINUOUS,),
                        (BundleCamera('front', 32, 32), BundleCamera('wrist', 32, 32)),
                        4, 0.05, 3, 10)
    backbone = CompactBackbone(VlaConfig(width=16, heads=2), shape)
    images = [torch.rand(1, 32, 32, 3)] * 2
    context, mask, places = backbone(
        images, torch.tensor([[False, True]]), torch.tensor([[4, 5, 0]]),
        torch.tensor([[True, True, False]]))
    per_camera = PATCHES * PATCHES + 2
    assert context.shape == (1, 4 + 2 * per_camera, 16)
    # One token stands for silence and is always there.
    assert mask[0].tolist() == (
        [True, True, True, False] + [False] * per_camera + [True] * per_camera)
    # A camera that is not there finds nothing.
    assert places[0, 0].tolist() == [0.0] * (2 * ASKED)
    assert places[0, 1].abs().min() > 0
