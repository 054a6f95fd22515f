"""Where something is in a map, and how large images are shrunk."""

import pytest
import torch

from chunked_vla_ros.training.backbones.image_features import (
    channels_first,
    shrunk_size,
    soft_places,
)


@pytest.mark.parametrize(('row', 'column', 'x', 'y'), [
    (0, 0, -1.0, -1.0), (0, 4, 1.0, -1.0), (2, 2, 0.0, 0.0), (4, 1, -0.5, 1.0)])
def test_a_place_is_where_its_map_is_high_however_little(
        row: int, column: int, x: float, y: float) -> None:
    maps = torch.zeros(1, 1, 5, 5)
    maps[:, :, row, column] = 0.1
    assert soft_places(maps, torch.tensor(4.0))[0] == pytest.approx([x, y], abs=1e-3)


def test_between_two_alike_it_is_the_middle_and_nowhere_it_is_the_centre() -> None:
    maps = torch.zeros(1, 2, 5, 5)
    maps[0, 0, 2, 0] = maps[0, 0, 2, 2] = 1.0
    assert soft_places(maps, torch.tensor(9.0))[0] == pytest.approx([-0.5, 0, 0, 0], abs=1e-3)


def test_an_image_is_shrunk_by_whole_squares() -> None:
    image = torch.tensor([0.0, 1.0, 0.0, 1.0]).reshape(1, 2, 2, 1).expand(1, 2, 2, 3)
    assert channels_first(image, 1).flatten().tolist() == [0.5, 0.5, 0.5]
    assert channels_first(image, 2).shape == (1, 3, 2, 2)
    assert shrunk_size(640, 480, 224) == (320, 240)
