"""Augmentation: what is drawn is what happens, the same on every device and in every process."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import torch

from chunked_vla_ros.training.augmentation import (
    augment,
    AugmentationDraws,
    on_device,
)
from chunked_vla_ros.training.augmentation_config import AugmentationConfig
from chunked_vla_ros.training.batches import Batch

STILL = AugmentationConfig(0, 0.0, 0.0, 0.0, 0.0)
NAMES = ('front', 'wrist')


def batch_of(seed: int = 0, count: int = 3, height: int = 8, width: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8,
                                  generator=generator) for name in NAMES}
    return Batch(images, torch.ones(count, 2, dtype=torch.bool), torch.zeros(count, 2),
                 *(torch.zeros(count, 4, dtype=torch.int64) for _ in range(2)),
                 torch.zeros(count, 5, 2), torch.ones(count, 5, dtype=torch.bool),
                 torch.zeros(count, 2), torch.ones(count, dtype=torch.bool))


def draws_of(config: AugmentationConfig, seed: int = 0, count: int = 3) -> AugmentationDraws:
    return AugmentationDraws.draw(torch.Generator().manual_seed(seed), count, config, len(NAMES))


def moved(down: int, right: int, count: int = 1) -> AugmentationDraws:
    """Return draws that move every image so far and leave its colours."""
    keep = torch.eye(3, 4).expand(count, len(NAMES), 3, 4)
    return AugmentationDraws(torch.tensor([down, right]).expand(count, len(NAMES), 2), keep)


def test_nothing_asked_for_changes_nothing():
    batch = batch_of()
    changed = augment(batch, draws_of(STILL))
    for name in NAMES:
        assert torch.equal(changed.images[name], batch.images[name])
    assert changed.state is batch.state


def test_a_moved_image_repeats_its_border():
    batch = batch_of(count=1, height=3, width=4)
    batch.images['front'][0, :, :, 0] = torch.tensor(
        [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    down_right = augment(batch, moved(1, 2)).images['front'][0, :, :, 0]
    assert down_right.tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [5, 5, 5, 6]]
    up_left = augment(batch, moved(-1, -2)).images['front'][0, :, :, 0]
    assert up_left.tolist() == [[7, 8, 8, 8], [11, 12, 12, 12], [11, 12, 12, 12]]
    far = augment(batch, moved(-9, 9)).images['front'][0, :, :, 0]
    assert far.tolist() == [[9] * 4] * 3


def test_brightness_scales_and_is_cut_off_at_white():
    batch = batch_of(count=1)
    batch.images['front'][:] = torch.tensor([10, 100, 200], dtype=torch.uint8)
    draws = moved(0, 0)
    brighter = AugmentationDraws(draws.shift, 1.5 * draws.colour)
    assert augment(batch, brighter).images['front'][0, 0, 0].tolist() == [15, 150, 255]


@pytest.mark.parametrize(('config', 'unchanged'), [
    (AugmentationConfig(0, 0.0, 0.5, 0.0, 0.0), (127.5, 127.5, 127.5)),    # contrast: middle grey
    (AugmentationConfig(0, 0.0, 0.0, 0.9, 0.0), (90.0, 90.0, 90.0)),       # saturation: any grey
    (AugmentationConfig(0, 0.9, 0.0, 0.0, 0.9), (0.0, 0.0, 0.0))])         # the others: black
def test_each_change_leaves_its_own_colour_alone(config, unchanged):
    matrices = draws_of(config, count=50).colour
    assert matrices[..., :3].std(dim=0).max() > 0.01
    found = matrices @ torch.tensor([*unchanged, 1.0])
    assert (found - torch.tensor(unchanged)).abs().max() < 1e-3


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**30), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
def test_a_gpus_way_and_a_cpus_differ_by_a_level_at_most(seed, shift_px, height, width):
    batch = batch_of(seed, 4, height, width)
    draws = draws_of(AugmentationConfig(shift_px, 0.3, 0.3, 0.3, 0.1), seed, 4)
    changed = augment(batch, draws)
    for number, name in enumerate(NAMES):
        other = on_device(batch.images[name], draws.shift[:, number], draws.colour[:, number])
        assert (other.int() - changed.images[name].int()).abs().max() <= 1


@given(st.integers(0, 2**30), st.integers(1, 7))
@settings(deadline=None, max_examples=30)
def test_two_processes_draw_what_one_would_have_drawn(seed, first):
    batch, draws = batch_of(count=8), draws_of(AugmentationConfig(), seed, 8)
    whole = augment(batch, draws)
    for which in (slice(0, first), slice(first, 8)):
        part = augment(batch.part(which), draws.part(which))
        for name in NAMES:
            assert torch.equal(part.images[name], whole.images[name][which])


def test_a_seed_is_a_draw_and_examples_and_cameras_differ():
    config = AugmentationConfig()
    assert torch.equal(draws_of(config, 1).colour, draws_of(config, 1).colour)
    assert not torch.equal(draws_of(config, 1).colour, draws_of(config, 2).colour)
    colour = draws_of(config, count=2).colour
    assert not torch.equal(colour[0], colour[1])
    assert not torch.equal(colour[:, 0], colour[:, 1])
    shift = draws_of(config, count=1000).shift
    assert (shift.min(), shift.max()) == (-8, 8)


def test_a_camera_that_is_not_there_stays_black():
    batch = batch_of(count=2)
    batch.images['wrist'][1] = 0
    batch.present[1, 1] = False
    changed = augment(batch, draws_of(AugmentationConfig(contrast=0.9), count=2))
    assert changed.images['wrist'][1].max() == 0
    assert changed.images['wrist'][0].max() > 0


def test_the_original_is_not_touched():
    batch = batch_of()
    before = batch.images['front'].clone()
    augment(batch, draws_of(AugmentationConfig()))
    assert torch.equal(batch.images['front'], before)
