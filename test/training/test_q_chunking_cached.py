"""QC on candidates drawn once: the numbers of QC on the same candidates."""

from dataclasses import replace

import pytest
import torch

from chunked_vla_ros.training.candidate_cache import CandidateCache
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import build_q_chunking, flow_loss, integrate
from chunked_vla_ros.training.q_chunking_cached import CachedQChunking
from chunked_vla_ros.training.q_chunking_methods import Aggregate, METHODS

ROWS, FEATURES, WIDTH, POINTS, COUNT, BATCH = 20, 4, 2, 3, 5, 4
METHOD = replace(METHODS['qc'], horizon=POINTS, hidden=(8,), candidates=COUNT, flow_steps=2)


@pytest.fixture(params=list(Aggregate))
def cached(request):
    torch.manual_seed(0)
    agent = build_q_chunking(replace(METHOD, aggregate=request.param), FEATURES, WIDTH)
    # Otherwise the target critic likes what the critic likes.
    for weights in agent.target_critic.parameters():
        weights.add_(torch.randn_like(weights))
    made = CachedQChunking(agent, torch.randn(ROWS, FEATURES), WIDTH, BATCH, every=10)
    made.draw(torch.Generator().manual_seed(1))
    return made


def some_batch():
    torch.manual_seed(2)
    return ChunkBatch(
        torch.randn(BATCH, FEATURES), torch.rand(BATCH, POINTS, WIDTH),
        torch.ones(BATCH, POINTS).bool(), returns=torch.tensor([[0.0, 0.0, 1.0]] * BATCH),
        bootstrap=torch.tensor([[0.9, 0.8, 0.5]] * BATCH),
        counted=torch.ones(BATCH, POINTS).bool(), next_observation=torch.zeros(BATCH, FEATURES))


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
    batch = some_batch()
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
    noise = torch.randn(BATCH, POINTS, WIDTH, generator=drawn)
    time = torch.rand(BATCH, generator=drawn)
    assert torch.equal(
        cached.imitated(batch, torch.Generator().manual_seed(3))[0],
        flow_loss(cached.agent.flow.given(batch.observation), batch.actions, noise, time,
                  batch.valid)[0])


@pytest.mark.parametrize(('rows', 'kept'), [(BATCH * 10, True), (BATCH * 10 + 1, False)])
def test_a_table_is_kept_only_where_it_has_no_more_rows_than_its_updates_draw(rows, kept):
    agent = build_q_chunking(METHOD, FEATURES, WIDTH)
    made = CachedQChunking(agent, torch.zeros(rows, FEATURES), WIDTH, BATCH, every=10)
    assert (made.table is not None) == kept


def test_without_a_table_the_row_behind_is_worth_what_it_is_now(cached):
    many = CachedQChunking(cached.agent, cached._observations, WIDTH, BATCH, every=4)
    many.candidates.copy_(cached.candidates)
    assert many.table is None
    batch, rows = some_batch(), torch.tensor([3, 1, 4, 1])
    cached.refresh(0)
    many.refresh(0)
    before = many.judged(batch, rows)[0]
    assert before.item() == pytest.approx(cached.judged(batch, rows)[0].item(), abs=1e-6)
    # No table's age: moved weights are heard of at once.
    with torch.no_grad():
        for weights in cached.agent.target_critic.parameters():
            weights.add_(1.0)
    assert many.judged(batch, rows)[0].item() != before.item()
