"""
Q-chunking on images and words: the same losses with callables bound to a policy's context.

Candidates go through the action expert as draws of one context, which is looked at once; the
published code repeats the observation instead and has no such path for images.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.q_chunking import best_of, Draws, flow_loss, integrate, QChunking
from chunked_vla_ros.training.q_chunking_methods import METHODS
from chunked_vla_ros.training.q_networks import ChunkCritic
from chunked_vla_ros.training.vla import build_vla
from chunked_vla_ros.training.vla_config import VlaConfig

B, HORIZON, JOINTS, WIDTH, LENGTH, SIZE = 2, 3, 2, 16, 4, 32
SHAPE = PolicyShape(('arm', 'hand'), (DimKind.CONTINUOUS, DimKind.BINARY),
                    (BundleCamera('front', SIZE, SIZE),), HORIZON, 0.05, LENGTH, 10)
ONES = np.ones(JOINTS)
SCALE = Normalisation(
    state_mean=0 * ONES, state_std=ONES, action_mean=np.zeros((HORIZON, JOINTS)),
    action_std=np.ones((HORIZON, JOINTS)), relative=np.array([True, False]), state_min=-ONES,
    state_max=ONES, action_min=-ONES, action_max=ONES, action_raw_mean=0 * ONES,
    action_raw_std=ONES)


class VlaFlow(nn.Module):
    """The policy's action expert as the behaviour flow at a context."""

    def __init__(self, vla):
        super().__init__()
        self.expert = vla.expert

    def given(self, context):
        looked, summary = self.expert.look(context.tokens), context.tokens[:, 0]

        def velocity(noisy, time):
            each = noisy if noisy.dim() == 4 else noisy[:, None]
            when = time.reshape(-1, 1, 1).expand(*each.shape[:2], 1)
            return self.expert(
                each, when, context.goals, summary, looked, context.mask).view_as(noisy)

        return velocity


class SummaryCritic(nn.Module):
    """A critic over the first token of a context."""

    def __init__(self):
        super().__init__()
        self.critic = ChunkCritic(WIDTH, HORIZON, JOINTS, hidden=(16, 16))

    def given(self, context, learns=True):
        return self.critic.given(context.tokens[:, 0], learns)


@pytest.fixture
def vla():
    torch.manual_seed(0)
    made = build_vla(
        VlaConfig(width=WIDTH, heads=2, layers=1, expert_layers=1, flow_steps=2), SHAPE, SCALE)
    # Fresh weights answer nothing: the last layer begins at zero.
    nn.init.normal_(made.expert.out.weight, std=0.5)
    return made.eval()


def context_of(vla, seed, count=B):
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(count, JOINTS, generator=generator)
    words = torch.randint(2, 10, (count, LENGTH), generator=generator)
    return vla._context(
        [torch.rand(count, SIZE, SIZE, 3, generator=generator)],
        torch.ones(count, 1, dtype=torch.bool), state, words, torch.ones_like(words).bool(), state)


def test_candidates_of_one_look_flow_as_if_each_was_looked_for_alone(vla) -> None:
    with torch.no_grad():
        velocity = VlaFlow(vla).given(context_of(vla, seed=0))
        noise = torch.randn(B, 4, HORIZON, JOINTS)
        chunks = integrate(velocity, noise, 2)
        for index in range(4):
            torch.testing.assert_close(
                chunks[:, index], integrate(velocity, noise[:, index], 2), rtol=1e-4, atol=1e-5)


def test_what_is_seen_decides_which_candidate_is_best(vla) -> None:
    critic, chunks = SummaryCritic(), torch.rand(1, 64, HORIZON, JOINTS) * 2 - 1
    with torch.no_grad():
        best = [best_of(chunks, critic.given(context_of(vla, seed, 1))(chunks).mean(dim=0))
                for seed in range(8)]
    assert len({tuple(one.flatten().tolist()) for one in best}) > 1


def test_the_imitation_loss_reaches_eyes_and_ears(vla) -> None:
    loss, _ = flow_loss(
        VlaFlow(vla).given(context_of(vla, seed=0)), torch.rand(B, HORIZON, JOINTS),
        torch.randn(B, HORIZON, JOINTS), torch.rand(B), torch.ones(B, HORIZON, dtype=torch.bool))
    loss.backward()
    for part in (vla.backbone, vla.expert, vla.proprioception):
        assert any(one.grad is not None and one.grad.abs().max() > 0.0
                   for one in part.parameters())


def test_the_whole_update_runs_on_contexts(vla) -> None:
    method = dataclasses.replace(METHODS['qc'], horizon=HORIZON, candidates=5, flow_steps=2)
    agent = QChunking(method, SummaryCritic(), VlaFlow(vla))
    here = torch.ones(B, HORIZON, dtype=torch.bool)
    batch = ChunkBatch(
        context_of(vla, seed=0), torch.rand(B, HORIZON, JOINTS), here, torch.ones(B, HORIZON),
        torch.full((B, HORIZON), 0.9), here, context_of(vla, seed=1))
    loss, metrics = agent.losses(
        batch, Draws.draw(torch.Generator().manual_seed(0), method, B, JOINTS))
    loss.backward()
    assert torch.isfinite(loss)
    assert metrics['critic/loss'] > 0.0
    assert all(one.grad is not None for one in agent.critic.parameters())
    assert all(one.grad is None for one in agent.target_critic.parameters())
    chunk = agent.act(batch.observation, torch.randn(method.noise_shape(B, JOINTS)))
    assert chunk.shape == (B, HORIZON, JOINTS)
