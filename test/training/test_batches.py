"""Batches: what a window says, in one order whoever reads them, with the waiting measured."""

import threading

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.waypoints import Headings
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.frame_source import MappedFrames
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.training.batches import Batch, WindowLoader

TOKENS, MASKS = [[5, 6, 0], [7, 0, 0]], [[1, 1, 0], [1, 0, 0]]
LENGTHS = np.array([4, 6])
# Each episode's last row; the first three rows of each have only begun.
HEADINGS = Headings(np.array([3] * 4 + [9] * 6), np.array([1, 1, 1, 0, 1, 1, 1, 0, 0, 0], bool))


def rows_of(frames=None) -> TrainingRows:
    """Return two episodes of 4 and 6 rows; the frames' grey is the row, target row + 0.5."""
    number = np.arange(10, dtype=np.float32)
    state = np.stack([number, -number], axis=1)
    grey = np.zeros((10, 4, 6, 3), np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None, None]
    return TrainingRows(
        joint_names=('a', 'b'), cameras=(BundleCamera('front', 6, 4), BundleCamera('wrist', 6, 4)),
        fps=10.0, state=state, action=state + 0.5, episode_starts=np.array([0, 4]),
        episode_lengths=LENGTHS, episode_ids=('d#0', 'd#1'), instructions=('one', 'two'),
        instruction_of=np.array([1, 0]), present=np.array([[True, False], [True, True]]),
        frames=frames or MappedFrames([10], [[grey, grey + 100]], [(4, 6, 3)] * 2))


@pytest.fixture
def loader() -> WindowLoader:
    rows = rows_of()
    return WindowLoader(rows, rows.windows(3, 0.1), TOKENS, MASKS, HEADINGS)


def test_a_batch_says_what_the_windows_say(loader):
    batch = loader.batch([8, 2])
    assert len(batch) == 2
    assert list(batch.images) == ['front', 'wrist']
    assert batch.images['front'].shape == (2, 4, 6, 3)
    assert batch.images['front'].dtype == torch.uint8
    assert batch.images['front'][:, 0, 0, 0].tolist() == [8, 2]
    assert batch.images['wrist'][:, 0, 0, 0].tolist() == [108, 102]
    assert batch.present.tolist() == [[True, True], [True, False]]
    assert batch.state.tolist() == [[8.0, -8.0], [2.0, -2.0]]
    assert batch.state.dtype == batch.actions.dtype == torch.float32
    assert batch.tokens.tolist() == [[5, 6, 0], [7, 0, 0]]
    assert batch.tokens_mask.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert batch.tokens.dtype == batch.tokens_mask.dtype == torch.int64
    assert batch.actions[:, :, 0].tolist() == [[8.5, 9.5, 9.5], [2.5, 3.5, 3.5]]
    assert batch.valid.tolist() == [[True, True, False], [True, True, False]]
    assert batch.waypoint.tolist() == [[9.5, -8.5], [3.5, -2.5]]
    assert batch.begun.tolist() == [False, True]


def test_a_part_of_a_batch_is_those_examples(loader):
    batch = loader.batch([0, 1, 2, 3])
    part = batch.part(slice(1, 3))
    same(part, loader.batch([1, 2]))
    same(batch.to('cpu'), batch)


@pytest.mark.parametrize('workers', [0, 1, 3])
def test_steps_come_in_one_order_whoever_reads_ahead(workers):
    rows, order = rows_of(), WindowOrder(10, 4, seed=3)
    loader = WindowLoader(rows, rows.windows(3, 0.1), TOKENS, MASKS, HEADINGS, workers)
    with loader.steps(order, 2, 9) as stream:
        found = list(stream)
    assert len(found) == 7
    for step, batch in zip(range(2, 9), found, strict=True):
        same(batch, loader.batch(order.indices(step)))
    assert stream.waited_s > 0.0


def test_parts_of_two_processes_are_the_batch(loader):
    order = WindowOrder(10, 4, seed=3)
    with loader.steps(order, 5, 6) as whole, loader.steps(order, 5, 6, slice(0, 2)) as one, \
            loader.steps(order, 5, 6, slice(2, 4)) as other:
        batch = next(whole)
        same(batch.part(slice(0, 2)), next(one))
        same(batch.part(slice(2, 4)), next(other))


def test_leaving_early_ends_the_reading(loader):
    before = set(threading.enumerate())
    with loader.steps(WindowOrder(10, 4, 0), 0, 10**9) as stream:
        next(stream)
        assert set(threading.enumerate()) - before
    assert not set(threading.enumerate()) - before
    with pytest.raises(StopIteration):
        next(stream)


class _Unreadable:
    def read(self, rows, camera):
        raise DatasetError('file.mp4: frame 3 cannot be decoded')


@pytest.mark.parametrize('workers', [0, 2])
def test_a_frame_that_cannot_be_read_is_told_to_the_training(workers):
    rows = rows_of(_Unreadable())
    loader = WindowLoader(rows, rows.windows(3, 0.1), TOKENS, MASKS, HEADINGS, workers)
    with pytest.raises(DatasetError, match=r'file\.mp4'), \
            loader.steps(WindowOrder(10, 4, 0), 0, 3) as stream:
        next(stream)


def test_there_must_be_tokens_for_every_instruction():
    rows = rows_of()
    with pytest.raises(ValueError, match='2 instructions, 1 rows of tokens'):
        WindowLoader(rows, rows.windows(3, 0.1), TOKENS[:1], MASKS[:1], HEADINGS)


def same(one: Batch, other: Batch) -> None:
    assert one.images.keys() == other.images.keys()
    for name, image in one.images.items():
        assert torch.equal(image, other.images[name])
    for name in ('present', 'state', 'tokens', 'tokens_mask', 'actions', 'valid',
                 'waypoint'):
        assert torch.equal(getattr(one, name), getattr(other, name))
