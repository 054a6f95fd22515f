"""Where a motion is heading: who is asked, what they are told, and how joints count."""

import math
from typing import cast

import pytest

torch = pytest.importorskip('torch')

from chunked_vla_ros.core.bundle_manifest import BundleCamera  # noqa: E402
from chunked_vla_ros.core.types import DimKind  # noqa: E402
from chunked_vla_ros.training.backbones.backbone import Seen  # noqa: E402
from chunked_vla_ros.training.policy_shape import PolicyShape  # noqa: E402
from chunked_vla_ros.training.vla_config import VlaConfig  # noqa: E402
from chunked_vla_ros.training.waypoint_heads import (  # noqa: E402
    LEAST_SPREAD,
    LookingHead,
    make_waypoint_heads,
    PlacesHead,
    UNDER_WAY_WEIGHT,
    WaypointHead,
)

PLACES, WIDTH = 4, 8
SHAPE = PolicyShape(
    ('arm', 'hand'), (DimKind.CONTINUOUS, DimKind.BINARY),
    (BundleCamera('front', 8, 8), BundleCamera('wrist', 8, 8)), 4, 0.05, 4, 9)


def heads(*still: str, places: int = PLACES) -> list[WaypointHead]:
    torch.manual_seed(0)
    config = VlaConfig(width=WIDTH, heads=2, still_cameras=still)
    return cast(list[WaypointHead], list(make_waypoint_heads(config, SHAPE, places)))


def seen(seed: int = 0) -> Seen:
    torch.manual_seed(seed)
    return Seen(torch.randn(3, 5, WIDTH), torch.ones(3, 5, dtype=torch.bool),
                torch.randn(3, 2, PLACES))


def with_camera(index: int) -> Seen:
    """Return what `seen` says, but for one camera."""
    places = seen().places.clone()
    places[:, index] = seen(9).places[:, index]
    return seen()._replace(places=places)


FELT = torch.tensor([[0.1, -1.0], [0.2, -1.0], [0.3, 1.0]])
MOVED = FELT + torch.tensor([0.5, 0.0])
CLOSED = FELT + torch.tensor([0.0, 0.5])


def test_a_still_camera_is_asked_whatever_the_arm_does() -> None:
    head, _ = heads('front')
    pose = head.pose(seen(), FELT)
    assert pose.shape == (3, 2)
    assert torch.equal(head.pose(seen(), MOVED), pose)
    assert torch.equal(head.pose(with_camera(1), FELT), pose)
    assert not torch.equal(head.pose(seen(), CLOSED), pose)
    assert not torch.equal(head.pose(with_camera(0), FELT), pose)


def test_the_other_cameras_say_how_far_it_is_from_here() -> None:
    _, head = heads('front')
    pose = head.pose(seen(), FELT)
    assert torch.equal(head.pose(with_camera(0), FELT), pose)
    assert not torch.equal(head.pose(with_camera(1), FELT), pose)
    torch.nn.init.zeros_(head.answer[-1].weight)
    torch.nn.init.zeros_(head.answer[-1].bias)
    assert torch.equal(head.pose(seen(), FELT), FELT)


def test_where_no_camera_stands_still_one_head_is_told_all() -> None:
    head, = heads()
    pose = head.pose(seen(), FELT)
    for other in (head.pose(with_camera(0), FELT), head.pose(with_camera(1), FELT),
                  head.pose(seen(), MOVED), head.pose(seen(), CLOSED)):
        assert not torch.equal(other, pose)


def test_where_every_camera_stands_still_one_head_is_enough() -> None:
    head, = heads('front', 'wrist')
    assert isinstance(head, PlacesHead)
    assert torch.equal(head.pose(seen(), MOVED), head.pose(seen(), FELT))


def test_a_backbone_without_places_is_looked_at_as_a_whole() -> None:
    head, = heads(places=0)
    assert isinstance(head, LookingHead)
    pose, token = head(seen()._replace(places=None), FELT)
    assert (pose.shape, token.shape) == ((3, 2), (3, 1, WIDTH))


def test_a_camera_that_is_not_there_cannot_stand_still() -> None:
    with pytest.raises(ValueError, match=r'^policy\.still_cameras names side, expected of the '
                                         r'cameras front, wrist$'):
        heads('front', 'side')


def test_what_the_actions_would_like_to_hear_does_not_reach_the_pose() -> None:
    head, _ = heads('front')
    head(seen(), FELT)[1].sum().backward()
    assert head.answer[0].weight.grad is None
    assert head.tell.weight.grad is not None


def test_motions_under_way_count_little_where_they_could_be_copied() -> None:
    pose, aim = torch.zeros(3, 2), torch.ones(3, 2)
    begun, under_way = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    free, = heads()
    few, many = (free.missed(pose, aim, which).item() for which in (under_way, begun))
    assert few == pytest.approx(UNDER_WAY_WEIGHT * many)


def test_a_joint_counts_as_little_as_it_is_missed() -> None:
    head, _ = heads('front')
    with torch.no_grad():
        head.log_spread.copy_(torch.tensor([0.0, math.log(3.0)]))
    pose = torch.zeros(1, 2, requires_grad=True)
    head.missed(pose, torch.ones(1, 2), torch.ones(1, dtype=torch.bool)).backward()
    # 1 and 1/3, of mean 1: 1.5 and 0.5; each half of the mean over two joints.
    assert pose.grad is not None
    assert pose.grad[0].tolist() == pytest.approx([-0.75, -0.25])


def test_the_spread_that_is_learnt_is_the_mean_error() -> None:
    head, _ = heads('front')
    aim = torch.tensor([[0.2, 3.0], [-0.4, 1.0]])
    optimizer = torch.optim.Adam([head.log_spread], 0.05)
    for _ in range(400):
        optimizer.zero_grad()
        head.missed(torch.zeros(2, 2), aim, torch.ones(2, dtype=torch.bool)).backward()
        optimizer.step()
    assert head.log_spread.exp().tolist() == pytest.approx([0.3, 2.0], rel=0.01)


def test_a_joint_that_never_moves_does_not_swallow_all_weight() -> None:
    head, _ = heads('front')
    with torch.no_grad():
        head.log_spread.copy_(torch.tensor([-50.0, math.log(LEAST_SPREAD)]))
    pose = torch.zeros(1, 2, requires_grad=True)
    lost = head.missed(pose, torch.ones(1, 2), torch.ones(1, dtype=torch.bool))
    lost.backward()
    assert math.isfinite(lost.item())
    assert pose.grad is not None
    assert pose.grad[0].tolist() == pytest.approx([-0.5, -0.5])
