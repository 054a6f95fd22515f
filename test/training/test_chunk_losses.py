"""Rules of values regressed, by numbers worked out by hand."""

import math

import pytest
import torch

from chunked_vla_ros.training.chunk_losses import (
    value_regression,
    ValueKind,
    with_tail,
)


def test_a_free_value_is_wrong_by_its_square_and_uncounted_ones_are_zeros_in_the_mean() -> None:
    outputs = torch.tensor([[1.0, 2.0], [3.0, 9.0]])
    loss = value_regression(outputs, torch.tensor([0.0, 2.0]), torch.tensor([True, False]))
    assert float(loss) == (1.0 + 9.0) / 4.0


def test_a_unit_value_is_wrong_by_its_cross_entropy() -> None:
    outputs = torch.tensor([[0.0]])
    assert float(ValueKind.UNIT.values(outputs)) == 0.5
    loss = value_regression(outputs, torch.tensor([1.0]), torch.tensor([True]), ValueKind.UNIT)
    assert float(loss) == pytest.approx(math.log(2.0))


def test_only_what_follows_the_end_is_replaced() -> None:
    actions, tail = torch.tensor([[[1.0], [2.0], [2.0]]]), torch.tensor([[[7.0], [8.0], [9.0]]])
    shown = with_tail(actions, torch.tensor([[True, True, False]]), tail)
    assert shown[0, :, 0].tolist() == [1.0, 2.0, 9.0]
