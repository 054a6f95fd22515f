"""Rules of values regressed and chunks cloned, by numbers worked out by hand."""

import math

import pytest
import torch

from chunked_vla_ros.training.chunk_losses import (
    cloning_loss,
    value_regression,
    ValueKind,
    with_arbitrary_tail,
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


def test_returns_outside_what_a_kind_can_say_are_refused_before_training() -> None:
    ValueKind.FREE.refuse_unfit(torch.tensor([-20.0, 3.0]))
    ValueKind.UNIT.refuse_unfit(torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r'from -20 to 3, expected 0\.\.1 .* take kind free'):
        ValueKind.UNIT.refuse_unfit(torch.tensor([-20.0, 3.0]))
    with pytest.raises(ValueError, match='not finite'):
        ValueKind.FREE.refuse_unfit(torch.tensor([0.0, math.nan]))


def test_cloning_is_the_mean_square_over_what_the_data_have() -> None:
    said = torch.tensor([[[1.0, 1.0], [9.0, 9.0]]])
    loss = cloning_loss(said, torch.zeros(1, 2, 2), torch.tensor([[True, False]]))
    assert float(loss) == 1.0


def test_chunks_that_are_left_out_do_not_make_the_rest_count_less() -> None:
    said, valid = torch.tensor([[[2.0]], [[7.0]]]), torch.ones(2, 1, dtype=torch.bool)
    wanted = torch.zeros(2, 1, 1)
    assert float(cloning_loss(said, wanted, valid, torch.tensor([True, False]))) == 4.0
    assert float(cloning_loss(said, wanted, valid, torch.tensor([1.5, 0.5]))) == (6.0 + 24.5) / 2
    assert float(cloning_loss(said, wanted, valid, torch.tensor([False, False]))) == 0.0


def test_points_and_chunks_that_are_not_cloned_get_no_gradient() -> None:
    said = torch.ones(3, 2, 1, requires_grad=True)
    valid = torch.tensor([[True, False], [True, True], [True, True]])
    cloning_loss(said, torch.zeros(3, 2, 1), valid, torch.tensor([True, False, True])).backward()
    assert (said.grad[..., 0] != 0.0).tolist() == [[True, False], [False, False], [True, True]]


def test_only_what_follows_the_end_is_made_arbitrary() -> None:
    actions, tail = torch.tensor([[[1.0], [2.0], [2.0]]]), torch.tensor([[[7.0], [8.0], [9.0]]])
    shown = with_arbitrary_tail(actions, torch.tensor([[True, True, False]]), tail)
    assert shown[0, :, 0].tolist() == [1.0, 2.0, 9.0]
