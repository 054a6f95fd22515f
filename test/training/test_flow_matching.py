"""Rules of flow matching on chunks: the path, the prefix, the masks, the draws."""

import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.flow_matching import (
    flow_loss,
    FlowDraws,
    is_prefix,
    on_the_path,
    shown_cameras,
)
from chunked_vla_ros.training.imitation_config import ImitationConfig
from chunked_vla_ros.training.policy_shape import PolicyShape

SHAPE = PolicyShape(('a', 'b'), (DimKind.CONTINUOUS, DimKind.BINARY),
                    (BundleCamera('front', 8, 8), BundleCamera('wrist', 8, 8)), 4, 0.05, 5, 10)


def drawn(count=6, seed=0, **config):
    return FlowDraws.draw(
        torch.Generator().manual_seed(seed), count, SHAPE, ImitationConfig(**config))


def test_the_path_begins_at_noise_and_ends_at_the_action() -> None:
    actions, noise = torch.full((1, 1, 3, 2), 8.0), torch.zeros(1, 1, 3, 2)
    time = torch.tensor([[[0.0, 0.25, 1.0]]])
    assert on_the_path(actions, noise, time)[0, 0, :, 0].tolist() == [0.0, 2.0, 8.0]


def test_the_right_velocity_costs_nothing_and_a_wrong_one_its_square() -> None:
    actions, noise = torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)
    counted = torch.tensor([[[True, True]]])
    assert flow_loss(torch.full((1, 1, 2, 2), 2.0), actions, noise, counted)[0] == 0.0
    total, count, by_joint = flow_loss(
        torch.full((1, 1, 2, 2), 5.0), actions, noise, counted)
    assert (total, count, by_joint.tolist()) == (36.0, 4, [18.0, 18.0])


def test_what_is_not_counted_costs_nothing_however_wrong() -> None:
    actions = noise = torch.zeros(1, 1, 2, 2)
    velocity = torch.tensor([[[[1.0, 1.0], [1e6, 1e6]]]])
    total, count, _ = flow_loss(velocity, actions, noise, torch.tensor([[[True, False]]]))
    assert (total, count) == (2.0, 2)


def test_a_delay_of_two_commits_the_first_two_points() -> None:
    assert is_prefix(torch.tensor([[0, 2]]), 4).tolist() == [
        [[False] * 4, [True, True, False, False]]]


def test_a_part_of_the_draws_is_what_one_process_of_several_sees() -> None:
    whole, rows = drawn(instruction_dropout=0.5, max_delay_steps=3), slice(2, 4)
    part = whole.part(rows)
    for name in ('noise', 'time', 'delay', 'keep_instruction', 'keep_camera',
                 'keep_state', 'state_blur', 'state_error'):
        assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name


def test_the_seed_decides() -> None:
    assert torch.equal(drawn(seed=3).noise, drawn(seed=3).noise)
    assert not torch.equal(drawn(seed=3).noise, drawn(seed=4).noise)


def test_one_camera_is_always_left() -> None:
    kept = drawn(count=200, camera_dropout=1.0).keep_camera
    assert kept.sum(dim=1).tolist() == [1] * 200
    assert kept.any(dim=0).tolist() == [True, True]


def test_where_no_kept_camera_is_present_all_that_are_present_are_shown() -> None:
    present = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    keep = torch.tensor([[False, True], [False, True], [True, True], [True, True]])
    assert shown_cameras(present, keep).tolist() == [
        [False, True], [True, False], [True, False], [False, False]]


def test_by_default_nothing_is_withheld_disturbed_or_committed() -> None:
    draws = drawn()
    assert draws.keep_instruction.all()
    assert draws.keep_camera.all()
    assert draws.keep_state.all()
    assert draws.delay is None
    assert not draws.state_blur.any()
    assert not draws.state_error.any()


def test_delays_are_drawn_up_to_the_longest() -> None:
    assert drawn(count=200, max_delay_steps=2).delay.unique().tolist() == [0, 1, 2]
