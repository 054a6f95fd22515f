"""Rules of Q-chunking: its losses by hand, its presets, what learns from what, what it learns."""

import dataclasses

import pytest
import torch
from torch import nn

from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import (
    best_of,
    build_q_chunking,
    critic_loss,
    critic_target,
    distillation_loss,
    Draws,
    flow_loss,
    integrate,
    make_adam,
    QChunking,
    update,
)
from chunked_vla_ros.training.q_chunking_methods import Aggregate, Extraction, Method, METHODS
from chunked_vla_ros.training.q_networks import ChunkCritic, FlowField, OneStepActor

S, WIDTH, POINTS = 3, 2, 2


def small(name, **changes):
    # Two points a chunk where the published methods have five.
    horizon = {'horizon': POINTS} if METHODS[name].horizon > 1 else {}
    return dataclasses.replace(METHODS[name], hidden=(16, 16), **horizon, **changes)


def batch_of(count=4, horizon=POINTS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    here = torch.ones(count, horizon, dtype=torch.bool)
    return ChunkBatch(
        observation=torch.randn(count, S, generator=generator),
        actions=torch.rand(count, horizon, WIDTH, generator=generator) * 2 - 1, valid=here,
        returns=torch.randn(count, horizon, generator=generator),
        bootstrap=torch.full((count, horizon), 0.9), counted=here,
        next_observation=torch.randn(count, S, generator=generator))


def draws_of(method, count=4, seed=1):
    return Draws.draw(torch.Generator().manual_seed(seed), method, count, WIDTH)


def test_the_flow_pays_the_square_of_what_it_misses_over_all_entries() -> None:
    actions, noise = torch.ones(1, 2, 2), torch.zeros(1, 2, 2)
    seen = []

    def velocity(noisy, time):
        seen.append((noisy[0, 0, 0].item(), time.item()))
        return torch.full_like(noisy, 4.0)

    # It misses 1 by 3 everywhere; the point that does not count is still one of those averaged.
    loss, metrics = flow_loss(
        velocity, actions, noise, torch.tensor([0.25]), torch.tensor([[True, False]]))
    assert loss == metrics['actor/flow_loss'] == 9.0 / 2
    assert seen == [(0.25, 0.25)]


def test_euler_steps_begin_at_time_zero_and_end_inside_the_range() -> None:
    times = []

    def velocity(noisy, time):
        times.append(time.item())
        return torch.full_like(noisy, 2.0) * time

    # 0 + 2 * 0 / 4 + 2 * 0.25 / 4 + 2 * 0.5 / 4 + 2 * 0.75 / 4
    assert integrate(velocity, torch.zeros(1, 1, 1), 4).item() == 0.75
    assert times == [0.0, 0.25, 0.5, 0.75]
    assert integrate(velocity, torch.full((1, 1, 1), 0.9), 4).item() == 1.0
    assert integrate(velocity, torch.full((1, 1, 1), -9.0), 4).item() == -1.0


def test_the_best_of_the_candidates_is_that_of_the_highest_value() -> None:
    chunks = torch.arange(12.0).reshape(2, 3, 1, 2)
    values = torch.tensor([[0.0, 5.0, 1.0], [7.0, 5.0, 1.0]])
    assert best_of(chunks, values).tolist() == [[[2, 3]], [[6, 7]]]


def test_the_target_is_the_return_and_what_is_left_of_the_next_value() -> None:
    returns, bootstrap = torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0])
    values = torch.tensor([[2.0, 100.0], [4.0, 100.0]])
    assert critic_target(returns, bootstrap, values).tolist() == [2.5, 1.0]
    assert critic_target(returns, bootstrap, values, Aggregate.MIN).tolist() == [2.0, 1.0]


def test_the_critic_pays_nothing_for_what_is_not_counted() -> None:
    values = torch.tensor([[1.0, 50.0], [3.0, -50.0]])
    loss, metrics = critic_loss(values, torch.tensor([0.0, 0.0]), torch.tensor([True, False]))
    assert loss == (1.0 + 9.0) / 4
    assert (metrics['critic/q_min'], metrics['critic/q_max']) == (-50.0, 50.0)


def test_the_one_step_policy_imitates_the_flow_and_climbs_the_critic_inside_the_range() -> None:
    judged = []

    def values(chunk):
        judged.append(chunk.max().item())
        return chunk.sum(dim=(1, 2)).expand(2, -1)

    loss, _ = distillation_loss(
        torch.tensor([[[1.5, 0.5]]]), torch.tensor([[[1.0, 0.0]]]), values, alpha=8.0)
    assert loss == 8.0 * 0.25 - (1.0 + 0.5)
    assert judged == [1.0]


def test_the_presets_have_the_published_numbers() -> None:
    best, distilled = Extraction.BEST_OF_N, Extraction.DISTILLED
    assert {name: (one.extraction, one.chunked, one.horizon, one.points,
                   one.candidates if one.extraction is best else one.alpha)
            for name, one in METHODS.items()} == {
        'qc': (best, True, 5, 5, 32), 'qc_fql': (distilled, True, 5, 5, 300.0),
        'bfn': (best, False, 1, 1, 4), 'bfn_n': (best, False, 5, 1, 4),
        'fql': (distilled, False, 1, 1, 300.0), 'fql_n': (distilled, False, 5, 1, 100.0)}
    for one in METHODS.values():
        assert (one.members, one.flow_steps, one.target_share, one.learning_rate,
                one.batch_size, one.hidden, one.aggregate) == (
            2, 10, 0.005, 3e-4, 256, (512, 512, 512, 512), Aggregate.MEAN)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'horizon': 0}, 'horizon is 0, expected 1 or more'),
    ({'candidates': 0}, 'candidates is 0, expected 1 or more'),
    ({'target_share': 0.0}, 'target_share is 0, expected more than 0 and at most 1'),
    ({'alpha': -1.0}, 'alpha is -1, expected 0 or more')])
def test_numbers_that_nothing_can_be_done_with_are_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(METHODS['qc'], **changes)


def test_a_one_step_network_is_there_for_distilled_policies_alone() -> None:
    critic, flow = ChunkCritic(S, POINTS, WIDTH), FlowField(S, POINTS, WIDTH)
    with pytest.raises(ValueError, match='one_step is NoneType with the policy distilled'):
        QChunking(METHODS['qc_fql'], critic, flow)
    with pytest.raises(ValueError, match='one_step is OneStepActor with the policy best of N'):
        QChunking(METHODS['qc'], critic, flow, OneStepActor(S, POINTS, WIDTH))


@pytest.mark.parametrize('name', METHODS)
def test_an_answer_is_a_chunk_inside_the_range(name) -> None:
    method = small(name)
    agent = build_q_chunking(method, S, WIDTH)
    noise = 3.0 * torch.randn(method.noise_shape(5, WIDTH))
    chunk = agent.act(torch.randn(5, S), noise)
    assert chunk.shape == (5, method.points, WIDTH)
    assert chunk.abs().max() <= 1.0


def test_what_is_chosen_the_online_critic_decides_and_what_it_is_worth_the_target_one() -> None:
    method = small('qc', candidates=6, flow_steps=1)
    torch.manual_seed(0)
    agent = build_q_chunking(method, S, WIDTH)
    batch, draws = batch_of(), draws_of(method)
    before = agent.losses(batch, draws)[1]['critic/loss']
    chosen = agent.act(batch.next_observation, draws.next_noise)
    with torch.no_grad():
        for weight in agent.target_critic.parameters():
            weight.mul_(-1.0)
    assert torch.equal(agent.act(batch.next_observation, draws.next_noise), chosen)
    assert agent.losses(batch, draws)[1]['critic/loss'] != before


@pytest.mark.parametrize('name', METHODS)
def test_the_n_step_methods_judge_the_first_action_alone(name) -> None:
    method = small(name)
    torch.manual_seed(0)
    agent = build_q_chunking(method, S, WIDTH)
    batch = batch_of(horizon=method.horizon)
    first = agent.losses(batch, draws_of(method))[0]
    actions = batch.actions.clone()
    actions[:, 1:] *= -1.0
    other = agent.losses(dataclasses.replace(batch, actions=actions), draws_of(method))[0]
    assert (first == other) == (not method.chunked or method.horizon == 1)


def test_the_value_that_a_policy_climbs_does_not_move_the_critic() -> None:
    method = small('qc_fql')
    torch.manual_seed(0)
    agent = build_q_chunking(method, S, WIDTH)
    batch, draws = batch_of(), draws_of(method)

    def gradients(weight):
        changed = dataclasses.replace(batch, counted=torch.zeros_like(batch.counted))
        agent.zero_grad()
        agent.losses(changed if weight == 0 else batch, draws)[0].backward()
        return [one.grad for one in agent.critic.parameters()]

    assert all(gradient.abs().max() == 0.0 for gradient in gradients(0))
    assert any(gradient.abs().max() > 0.0 for gradient in gradients(1))
    assert all(one.grad is None for one in agent.target_critic.parameters())
    assert all(one.grad.abs().max() > 0.0 for one in agent.one_step.net.weights)


def test_an_update_moves_the_target_a_little_after_the_critic() -> None:
    method = small('qc', target_share=0.5)
    torch.manual_seed(0)
    agent = build_q_chunking(method, S, WIDTH)
    before = agent.critic.net.weights[0].detach().clone()
    update(agent, make_adam(agent, 0.1), batch_of(), draws_of(method))
    after = agent.critic.net.weights[0].detach()
    assert (after - before).abs().max() > 0.05
    torch.testing.assert_close(agent.target_critic.net.weights[0], (before + after) / 2)


def test_the_seeds_decide() -> None:
    def trained():
        torch.manual_seed(0)
        method = small('qc_fql')
        agent = build_q_chunking(method, S, WIDTH)
        optimizer = make_adam(agent, 0.01)
        for seed in range(3):
            update(agent, optimizer, batch_of(seed=seed), draws_of(method, seed=seed))
        return nn.utils.parameters_to_vector(agent.parameters())

    assert torch.equal(trained(), trained())


@pytest.mark.parametrize('name', ['qc', 'qc_fql', 'bfn', 'fql'])
def test_it_does_more_than_the_data_of_what_is_paid(name) -> None:
    """One decision: the data move any way, and are paid by how far up."""
    method = small(name, alpha=0.3, candidates=8)
    torch.manual_seed(0)
    agent = build_q_chunking(method, S, WIDTH)
    optimizer, generator = make_adam(agent, 5e-3), torch.Generator().manual_seed(0)
    count, points = 64, method.points
    batch = batch_of(count, method.horizon)
    batch = dataclasses.replace(
        batch, observation=torch.zeros(count, S), bootstrap=torch.zeros_like(batch.bootstrap),
        returns=batch.actions.mean(dim=2).cumsum(dim=1) / points)
    for _ in range(80):
        update(agent, optimizer, batch, Draws.draw(generator, method, count, WIDTH))
    still, noise = torch.zeros(50, S), torch.randn(50, points, WIDTH, generator=generator)
    with torch.no_grad():
        imitated = integrate(agent.flow.given(still), noise, method.flow_steps)
    acted = agent.act(still, torch.randn(method.noise_shape(50, WIDTH), generator=generator))
    # Of eight uniform means of two or four actions the best is 0.4 or more above the mean.
    assert acted.mean() > imitated.mean() + 0.15


@pytest.mark.slow
@pytest.mark.parametrize('name', METHODS)
def test_an_update_is_one_graph_that_waits_for_nothing(name) -> None:
    """What a GPU is to record may not look at a number on the way."""
    method = small(name)
    torch.manual_seed(0)
    agent = build_q_chunking(method, S, WIDTH)
    batch, draws = batch_of(horizon=method.horizon), draws_of(method)
    whole = torch.compile(agent.losses, fullgraph=True, backend='aot_eager')
    loss, _ = whole(batch, draws)
    loss.backward()
    torch.testing.assert_close(loss, agent.losses(batch, draws)[0])


def test_a_method_is_made_of_its_switches() -> None:
    made = Method(Extraction.BEST_OF_N, chunked=False, horizon=3)
    assert (made.points, made.noise_shape(4, 2)) == (1, (4, 32, 1, 2))
    assert small('qc_fql').noise_shape(4, 2) == (4, POINTS, 2)
