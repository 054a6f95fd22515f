"""
Where the motion is heading, from what is seen and said: the heads that answer, and their loss.

The way ahead can mostly be guessed from the joints in motion, so that imitation by itself teaches
seeing slowly ("copycat", de Haan et al. 2019). The next turning point cannot: asking for it makes
images and words matter. What a head says is one more context token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.backbones.backbone import Seen
from chunked_vla_ros.training.layers import Attention, PLACES_PACE
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla_config import VlaConfig

# A motion under way is told from the joints, and from the arm in the images, which keeps a network
# from looking at what it is for: such samples count little where either is shown.
UNDER_WAY_WEIGHT = 0.1
# Of a head that is given places: so few features find no way to tell scenes apart by heart.
FEW_FEATURES = 32
# Joints are not told apart more finely than this [standard deviations].
LEAST_SPREAD = 0.01


class WaypointHead(nn.Module):
    """
    The pose where the motion is heading, and the token that tells it.

    Joints that cannot be foreseen, such as a wrist that turns to a cube it has yet to look at,
    count as little as they are missed: asked for like the others they would be learnt by heart,
    scene by scene. The scale of each joint's error is learnt (Kendall and Gal 2017, of a Laplace
    distribution).

    :ivar under_way: How much a sample counts whose motion is under way.
    """

    def __init__(self, width: int, joints: int, under_way: float) -> None:
        super().__init__()
        self.under_way = under_way
        self.tell = nn.Linear(joints, width)
        self.log_spread = nn.Parameter(torch.zeros(joints))

    def pose(self, seen: Seen, felt: torch.Tensor) -> torch.Tensor:
        """Return the normalised pose (B, J); ``felt`` (B, J) are normalised joint positions."""
        raise NotImplementedError

    def forward(self, seen: Seen, felt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the normalised pose (B, J) and its token (B, 1, width); ``felt`` (B, J)."""
        pose = self.pose(seen, felt)
        # It is to stay a pose: what the actions would like it to say does not reach it.
        return pose, self.tell(pose.detach())[:, None]

    def missed(self, pose: torch.Tensor, aim: torch.Tensor, begun: torch.Tensor) -> torch.Tensor:
        """
        Return the loss, a scalar.

        :param pose: (B, J) of `pose`.
        :param aim: (B, J), where the motion went, normalised.
        :param begun: (B,) bool, where it has only begun.
        """
        error = (pose - aim).abs()
        spread = self.log_spread.exp().clamp(min=LEAST_SPREAD)
        sure = (1.0 / spread).detach()
        # The weights of joints have mean 1, so that the loss does not outgrow that of the flow.
        lost = (error * sure / sure.mean() + error.detach() / spread + spread.log()).mean(dim=-1)
        return (lost * torch.where(begun, 1.0, self.under_way)).mean()


class PlacesHead(WaypointHead):
    """Answers from places in the images alone, which few scenes suffice for, and from joints."""

    pace = PLACES_PACE

    def __init__(self, width: int, joints: int, places: int, cameras: Sequence[int],
                 told: Sequence[int], *, from_here: bool, under_way: float) -> None:
        """
        Make one.

        :param places: Numbers of each camera.
        :param cameras: Whose places it is given.
        :param told: The joints it is told.
        :param from_here: Whether it answers how far it is from the joints' pose.
        """
        super().__init__(width, joints, under_way)
        self._cameras, self._told, self._from_here = list(cameras), list(told), from_here
        self.answer = nn.Sequential(
            nn.Linear(places * len(cameras) + len(told), FEW_FEATURES), nn.Tanh(),
            nn.Linear(FEW_FEATURES, joints))

    def pose(self, seen: Seen, felt: torch.Tensor) -> torch.Tensor:
        """Return the normalised pose (B, J), as `WaypointHead` says."""
        assert seen.places is not None
        given = torch.cat([seen.places[:, self._cameras].flatten(1), felt[:, self._told]], dim=1)
        answer: torch.Tensor = self.answer(given)
        return felt + answer if self._from_here else answer


class LookingHead(WaypointHead):
    """Answers from one look at all that is seen and said."""

    def __init__(self, width: int, heads: int, joints: int) -> None:
        super().__init__(width, joints, UNDER_WAY_WEIGHT)
        self.question = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.look, self.norm = Attention(width, heads), nn.LayerNorm(width)
        self.answer = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, joints))

    def pose(self, seen: Seen, felt: torch.Tensor) -> torch.Tensor:
        """Return the normalised pose (B, J), as `WaypointHead` says."""
        question = self.question.expand(len(felt), -1, -1)
        looked = self.look(question, self.look.keys_values(self.norm(seen.tokens)), seen.mask)
        answer: torch.Tensor = self.answer(looked[:, 0])
        return answer


def make_waypoint_heads(config: VlaConfig, shape: PolicyShape, places: int) -> nn.ModuleList:
    """
    Return the heads of a network, `WaypointHead` each.

    A camera that stands still shows where to go whatever the arm does: its head is told only what
    the gripper does, so that there is nothing to copy from. Another camera says it together with
    the joints, as the way from here.

    :param places: Of `Backbone`, 0: it tells none.
    :raises ValueError: one line, if a camera of the configuration is not one of the policy's.
    """
    joints, names = len(shape.joint_names), [camera.name for camera in shape.cameras]
    unknown = sorted(set(config.still_cameras) - set(names))
    if unknown:
        raise ValueError(f'policy.still_cameras names {", ".join(unknown)}, expected of the '
                         f'cameras {", ".join(names) or "(none)"}')
    if not places:
        return nn.ModuleList([LookingHead(config.width, config.heads, joints)])
    still = [index for index, name in enumerate(names) if name in config.still_cameras]
    others = [index for index in range(len(names)) if index not in still]
    heads: list[WaypointHead] = []
    if still:
        grippers = [i for i, kind in enumerate(shape.dim_kinds) if kind is DimKind.BINARY]
        heads.append(PlacesHead(
            config.width, joints, places, still, grippers, from_here=False, under_way=1.0))
    if others or not still:
        heads.append(PlacesHead(
            config.width, joints, places, others, range(joints), from_here=bool(still),
            under_way=1.0 if still else UNDER_WAY_WEIGHT))
    return nn.ModuleList(heads)
