"""The chunk that a critic likes best is done; the others leave no trace."""

import dataclasses

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.best_of_n import BestOfN, ChunkJudge, PrefixJudge
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.q_networks import ChunkCritic
from chunked_vla_ros.training.vla import build_vla
from chunked_vla_ros.training.vla_config import VlaConfig

COUNT, POINTS, HORIZON = 5, 3, 4
SHAPE = PolicyShape(
    ('arm', 'hand'), (DimKind.CONTINUOUS, DimKind.BINARY), (BundleCamera('front', 32, 32),),
    HORIZON, 0.05, 5, 10)
CONFIG = VlaConfig(width=16, heads=2, layers=1, expert_layers=1, flow_steps=2)
ONES = np.ones(2)
SCALE = Normalisation(
    state_mean=np.array([1.0, 0.0]), state_std=np.array([2.0, 1.0]),
    action_mean=np.full((HORIZON, 2), 0.5), action_std=np.full((HORIZON, 2), 0.25),
    relative=np.array([True, False]), state_min=-ONES, state_max=ONES, action_min=-ONES,
    action_max=ONES, action_raw_mean=0 * ONES, action_raw_std=ONES)


class LikesSteep(torch.nn.Module):
    """A critic whose value of a chunk is the normalised arm target of its second point."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self._sign = sign

    def net(self, told: torch.Tensor) -> torch.Tensor:
        """Return (K, N, 1); the last features of ``told`` are the chunk's, point by point."""
        chunk = told[:, -2 * POINTS:]
        return self._sign * chunk[None, :, 2:3].expand(2, -1, -1)


@pytest.fixture(scope='module')
def vla():
    torch.manual_seed(0)
    vla = build_vla(dataclasses.replace(CONFIG, noise_scale=0.0), SHAPE, SCALE)
    torch.nn.init.normal_(vla.expert.out.weight, std=0.5)
    return vla.eval().requires_grad_(False)


def question(seed: int = 0):
    drawn = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, (1, *camera.frame_shape), generator=drawn, dtype=torch.uint8)
              for camera in SHAPE.cameras]
    words = torch.randint(2, 10, (1, SHAPE.token_length), generator=drawn)
    return (images, torch.randn(1, 2, generator=drawn), words, torch.ones_like(words),
            torch.randn(COUNT, HORIZON, 2, generator=drawn))


def single_plans(vla, images, state, tokens, mask, noise, **prefix):
    """Return the plan without noise, and those of further noises as a policy that draws them."""
    drawing = build_vla(CONFIG, SHAPE, SCALE).eval()
    drawing.load_state_dict(vla.state_dict())
    with torch.inference_mode():
        return torch.cat([
            (drawing if number else vla).sample(images, state, tokens, mask, one[None], **prefix)
            for number, one in enumerate(noise)])


@pytest.mark.parametrize('share', [1.0, 0.3])
@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_the_best_of_the_plans_is_done(vla, sign, share):
    *asked, noise = question()
    plans = single_plans(vla, *asked, share * noise)
    with torch.inference_mode():
        done = BestOfN(vla, ChunkJudge(LikesSteep(sign), POINTS, ValueKind.FREE), share).sample(
            *asked, noise)
    # The arm's scale is the same for all points: the largest target is the largest value.
    best = int((sign * plans[:, 1, 0]).argmax())
    assert torch.allclose(done[0], plans[best], atol=1e-5)
    assert not torch.allclose(plans[0, 1, 0], plans[1:, 1, 0])


def test_all_plans_continue_what_is_committed(vla):
    asked = question()
    prefix = {'prefix': torch.full((1, HORIZON, 2), 0.25),
              'prefix_mask': torch.tensor([[1.0, 0.0, 0.0, 0.0]])}
    plans = single_plans(vla, *asked, **prefix)
    with torch.inference_mode():
        done = BestOfN(vla, ChunkJudge(LikesSteep(1.0), POINTS, ValueKind.FREE)).sample(
            *asked, **prefix)
    assert done[0, 0].tolist() == [0.25, 0.25]
    assert torch.allclose(done[0], plans[int(plans[:, 1, 0].argmax())], atol=1e-5)


def test_a_judge_takes_the_mean_of_its_critics_values():
    torch.manual_seed(0)
    critic = ChunkCritic(4, POINTS, 2, 3, (8,))
    seen, chunks = torch.randn(1, 4), torch.randn(COUNT, POINTS, 2)
    for kind in ValueKind:
        each = kind.values(critic(seen.expand(COUNT, -1), chunks))
        assert torch.allclose(
            ChunkJudge(critic, POINTS, kind)(seen, chunks), each.mean(0), atol=1e-6)


def test_a_judge_of_prefixes_takes_their_mean_too():
    torch.manual_seed(0)
    critic = PrefixCritic(4, 2, POINTS, members=3, width=8, layers=1, heads=2)
    seen, chunks = torch.randn(1, 4), torch.randn(COUNT, POINTS, 2)
    for kind in ValueKind:
        each = kind.values(critic(seen.expand(COUNT, -1), chunks))
        assert each.shape == (3, COUNT, POINTS)
        assert torch.allclose(
            PrefixJudge(critic, kind)(seen, chunks), each.mean(0).mean(-1), atol=1e-6)
