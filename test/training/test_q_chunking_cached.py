"""QC on candidates drawn once: the numbers of QC on the same candidates."""

from dataclasses import replace

import pytest
import torch

from chunked_vla_ros.training.candidate_cache import CandidateCache
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import build_q_chunking, flow_loss, integrate
from chunked_vla_ros.training.q_chunking_cached import CachedQChunking
from chunked_vla_ros.training.q_chunking_methods import Aggregate, METHODS

ROWS, FEATURES, WIDTH, POINTS, COUNT = 20, 4, 2, 3, 5
METHOD = replace(METHODS['qc'], horizon=POINTS, hidden=(8,), candidates=COUNT, flow_steps=2)


@pytest.fixture(params=list(Aggregate))
def cached(request):
    torch.manual_seed(0)
    agent = build_q_chunking(replace(METHOD, aggregate=request.param), FEATURES, WIDTH)
    # Otherwise the target critic likes what the critic likes.
    for weights in agent.target_critic.parameters():
        weights.add_(torch.randn_like(weights))
    made = CachedQChunking(agent, torch.randn(ROWS, FEATURES), WIDTH, every=10)
    made.draw(torch.Generator().manual_seed(1))
    return made


def test_candidates_are_the_flow_s_by_the_generator(cached):
    expected = CandidateCache.draw(
        lambda seen, noise: integrate(cached.agent.flow.given(seen), noise, 2),
        cached._observations, (COUNT, POINTS, WIDTH), torch.Generator().manual_seed(1))
    assert torch.allclose(cached.candidates, expected.chunks, atol=1e-6)


def test_the_value_is_the_target_critic_s_of_what_the_critic_likes_best(cached):
    found, agent = cached.values(torch.arange(ROWS)), cached.agent

    def said(values):
        return values.mean() if agent.method.aggregate is Aggregate.MEAN else values.min()

    for row in range(ROWS):
        seen, chunks = cached._observations[row:row + 1], cached.candidates[row]
        with torch.no_grad():
            liked = [float(said(agent.critic(seen, one[None]))) for one in chunks]
            best = chunks[liked.index(max(liked))][None]
            value = float(said(agent.target_critic(seen, best)))
        assert float(found[row]) == pytest.approx(value, abs=1e-6)


def test_the_target_is_the_return_and_what_the_table_says_of_the_row_behind(cached):
    torch.manual_seed(2)
    batch = ChunkBatch(
        torch.randn(4, FEATURES), torch.rand(4, POINTS, WIDTH), torch.ones(4, POINTS).bool(),
        returns=torch.tensor([[0.0, 0.0, 1.0]] * 4),
        bootstrap=torch.tensor([[0.9, 0.8, 0.5]] * 4), counted=torch.ones(4, POINTS).bool(),
        next_observation=torch.zeros(4, FEATURES))
    cached.refresh(0)
    rows = torch.tensor([3, 1, 4, 1])
    loss, _ = cached.judged(batch, rows)
    target = 1.0 + 0.5 * cached.values(rows)
    with torch.no_grad():
        values = cached.agent.critic(batch.observation, batch.actions)
    assert loss.item() == pytest.approx(float((values - target).square().mean()), abs=1e-6)
    # As it was at the last table, whatever has moved since.
    with torch.no_grad():
        for weights in cached.agent.target_critic.parameters():
            weights.add_(1.0)
    cached.refresh(9)
    assert cached.judged(batch, rows)[0].item() == loss.item()
    cached.refresh(10)
    assert cached.judged(batch, rows)[0].item() != loss.item()
    drawn = torch.Generator().manual_seed(3)
    noise = torch.randn(4, POINTS, WIDTH, generator=drawn)
    time = torch.rand(4, generator=drawn)
    assert torch.equal(
        cached.imitated(batch, torch.Generator().manual_seed(3))[0],
        flow_loss(cached.agent.flow.given(batch.observation), batch.actions, noise, time,
                  batch.valid)[0])
