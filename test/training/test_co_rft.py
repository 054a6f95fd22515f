"""Rules of CO-RFT's second stage: targets, terms and gradients by hand, and that it improves."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions
from chunked_vla_ros.training.candidate_cache import ValueTable
from chunked_vla_ros.training.chunk_batch import ChunkBatch, StateTable
from chunked_vla_ros.training.chunk_losses import cloning_loss, ValueKind
from chunked_vla_ros.training.chunk_policies import ChunkActor, DeterministicPolicy, FlowPolicy
from chunked_vla_ros.training.co_rft import (
    actor_loss,
    cal_ql_term,
    CoRft,
    critic_loss,
    prefix_targets,
)
from chunked_vla_ros.training.co_rft_config import CoRftConfig, CoRftDraws
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.q_chunking_methods import Aggregate
from chunked_vla_ros.training.q_networks import FlowField

# Rewards 1, 2, 4 with discount a half: 1, 1 + 1, 1 + 1 + 1.
RETURNS = torch.tensor([[1.0, 2.0, 3.0]])
BOOTSTRAP = torch.tensor([[0.5, 0.25, 0.125]])
NEXT = torch.tensor([[8.0, 16.0, 32.0]])
COUNT, POINTS = 6, 3


def test_each_prefix_has_the_target_of_its_own_steps() -> None:
    assert prefix_targets(RETURNS, BOOTSTRAP, NEXT).tolist() == [[5.0, 6.0, 7.0]]


def test_literally_every_prefix_has_the_target_of_the_whole_chunk() -> None:
    assert prefix_targets(RETURNS, BOOTSTRAP, NEXT, literal=True).tolist() == [[7.0] * 3]
    assert prefix_targets(RETURNS, BOOTSTRAP, NEXT[:, -1:], literal=True).tolist() == [[7.0] * 3]


def test_nothing_is_hoped_for_after_a_termination() -> None:
    over = torch.tensor([[0.5, 0.0, 0.0]])
    returns = torch.tensor([[1.0, 2.0, 2.0]])
    assert prefix_targets(returns, over, NEXT).tolist() == [[5.0, 2.0, 2.0]]


def test_the_critic_regresses_every_counted_prefix() -> None:
    outputs = torch.tensor([[[1.0, 0.0, 9.0]], [[0.0, 3.0, 9.0]]])
    loss, metrics = critic_loss(
        outputs, torch.zeros(1, 3), torch.tensor([[True, True, False]]))
    assert float(loss) == pytest.approx(10.0 / 6.0) == float(metrics['critic/loss'])


def test_conservatism_stops_at_what_the_data_achieved() -> None:
    policy = torch.tensor([[[0.2, 0.9]]], requires_grad=True)
    data = torch.tensor([[[0.1, 0.3]]], requires_grad=True)
    term, _ = cal_ql_term(policy, data, torch.tensor([0.5]), torch.tensor([[True, True]]))
    assert term.detach().item() == pytest.approx((0.5 + 0.9 - 0.1 - 0.3) / 2)
    term.backward()
    assert policy.grad.tolist() == [[[0.0, 0.5]]]
    assert data.grad.tolist() == [[[-0.5, -0.5]]]


def test_prefixes_that_do_not_count_are_neither_raised_nor_lowered() -> None:
    values = torch.ones(1, 1, 2, requires_grad=True)
    term, _ = cal_ql_term(values, 2.0 * values, torch.zeros(1), torch.tensor([[True, False]]))
    term.backward()
    assert values.grad.tolist() == [[[-0.5, 0.0]]]


def test_the_policy_climbs_the_mean_of_its_prefixes_and_clones() -> None:
    said = torch.tensor([[[1.0], [3.0]], [[5.0], [5.0]]], requires_grad=True)
    values = said[..., 0] * torch.tensor([1.0, 2.0])
    loss, metrics = actor_loss(values, said, torch.zeros(2, 2, 1), torch.tensor(
        [[True, False], [True, True]]), 10.0, keep=torch.tensor([True, False]))
    # Mean of 1, 6, 5, 10; of what is cloned only the 1 is left.
    assert float(metrics['actor/q']) == 5.5
    assert loss.detach().item() == 10.0 * 1.0 - 5.5
    loss.backward()
    assert said.grad[..., 0].tolist() == [[20.0 - 0.25, -0.5], [-0.25, -0.5]]


def policies() -> dict[str, nn.Module]:
    return {'head': DeterministicPolicy(ChunkActor(2, POINTS, 1, (16, 16))),
            'flow': FlowPolicy(FlowField(2, POINTS, 1, (16, 16)))}


def made(policy: str = 'head', encoder: nn.Module | None = None, **numbers) -> CoRft:
    torch.manual_seed(0)
    critic = PrefixCritic(2, 1, POINTS, width=16, layers=1)
    return CoRft(policies()[policy], critic, CoRftConfig(**numbers), encoder)


def batch() -> ChunkBatch:
    generator = torch.Generator().manual_seed(1)
    ahead = torch.randn(COUNT, POINTS, 2, generator=generator)
    ones = torch.ones(COUNT, POINTS, dtype=torch.bool)
    return ChunkBatch(
        torch.randn(COUNT, 2, generator=generator),
        torch.rand(COUNT, POINTS, 1, generator=generator), ones,
        torch.rand(COUNT, POINTS, generator=generator), BOOTSTRAP.expand(COUNT, -1), ones.clone(),
        ahead[:, -1], ahead, torch.rand(COUNT, generator=generator))


def draws(agent: CoRft, updates: int = 1) -> CoRftDraws:
    return CoRftDraws.draw(
        torch.Generator().manual_seed(2), agent.config, (COUNT, POINTS, 1), updates)


def has_gradient(network: nn.Module) -> bool:
    return any(weight.grad is not None and bool(weight.grad.any())
               for weight in network.parameters())


def test_the_policy_moves_every_second_update_only() -> None:
    agent = made()
    assert [draws(agent, updates).with_actor for updates in range(4)] == [False, True] * 2
    loss, metrics = agent.losses(batch(), draws(agent, 0))
    loss.backward()
    assert has_gradient(agent.critic)
    assert not has_gradient(agent.policy)
    assert 'actor/q' not in metrics


@pytest.mark.parametrize('policy', ['head', 'flow'])
def test_the_policy_climbs_a_critic_that_learns_nothing_from_it(policy) -> None:
    agent = made(policy, bc_weight=0.0)
    both, critic_only = draws(agent), replace(draws(agent), with_actor=False)
    agent.losses(batch(), both)[0].backward()
    found = [weight.grad.clone() for weight in agent.critic.parameters()]
    agent.zero_grad()
    agent.losses(batch(), critic_only)[0].backward()
    for before, weight in zip(found, agent.critic.parameters(), strict=True):
        torch.testing.assert_close(before, weight.grad)

    agent.zero_grad()
    loss, metrics = agent.losses(batch(), both)
    loss.backward()
    with torch.no_grad():
        for weight in agent.policy.parameters():
            weight -= 0.01 * weight.grad / (weight.grad.norm() + 1e-12)
    assert agent.losses(batch(), both)[1]['actor/q'] > metrics['actor/q'] + 1e-4


def test_points_past_the_end_do_not_teach_the_policy() -> None:
    agent, given = made(), batch()
    given.valid[:, 1:] = False
    other = replace(given, actions=torch.cat([given.actions[:, :1], -given.actions[:, 1:]], 1))
    first, second = (agent.losses(one, draws(agent))[0] for one in (given, other))
    assert torch.equal(first, second)


def test_an_arbitrary_tail_teaches_the_critic_what_it_is_worth_and_is_not_raised() -> None:
    agent, given, drawn = made(), batch(), draws(made(), 0)
    given.valid[:, 2:] = False
    first, second = (agent.losses(given, replace(drawn, tail=tail))[1]
                     for tail in (drawn.tail, -drawn.tail))
    assert torch.equal(first['critic/cal_ql'], second['critic/cal_ql'])
    assert not torch.equal(first['critic/loss'], second['critic/loss'])


def test_by_the_published_rule_a_crossing_chunk_keeps_the_prefixes_before_the_end() -> None:
    crossing = replace(batch(), counted=torch.tensor([[True, True, False]]).expand(COUNT, -1))
    for literal, learns in ((False, True), (True, False)):
        agent = made(literal_targets=literal, conservatism=0.0)
        loss = agent.losses(crossing, draws(agent, 0))[1]['critic/loss']
        assert (loss.item() > 0.0) is learns


def test_one_drawn_prefix_is_all_of_them_on_average() -> None:
    agent = made(conservatism=0.0)
    full = replace(draws(agent), with_actor=False)
    whole = agent.losses(batch(), full)[0]
    single = [agent.losses(batch(), replace(
        full, prefix=torch.full((COUNT,), point), next_noise=full.next_noise[:, point:point + 1],
        smoothing=full.smoothing[:, point:point + 1]))[0] for point in range(POINTS)]
    torch.testing.assert_close(torch.stack(single).mean(), whole)
    assert not torch.equal(single[0], single[1])


def test_a_table_of_next_values_says_what_is_worked_out_without() -> None:
    agent, given = made(), batch()
    drawn = draws(agent)
    ahead = given.next_observations.flatten(0, 1)
    table = ValueTable(len(ahead), every=1)
    table.refresh(0, lambda rows: agent.state_values(
        ahead[rows], drawn.next_noise.flatten(0, 1)[rows], drawn.smoothing.flatten(0, 1)[rows]))
    known = table.at(torch.arange(len(ahead)).view(COUNT, POINTS))
    for literal in (False, True):
        agent.config = CoRftConfig(literal_targets=literal)
        looks = drawn if not literal else replace(
            drawn, next_noise=drawn.next_noise[:, -1:], smoothing=drawn.smoothing[:, -1:])
        torch.testing.assert_close(agent.losses(given, looks, known)[0],
                                   agent.losses(given, looks)[0])


def test_the_smaller_of_the_twins_counts_in_a_target() -> None:
    noise = torch.zeros(COUNT, POINTS, 1)
    least, mean = (made(aggregate=aggregate).state_values(batch().observation, noise, noise)
                   for aggregate in (Aggregate.MIN, Aggregate.MEAN))
    assert (least < mean).all()


class Asked(nn.Module):
    """A critic that keeps the chunk it is asked about."""

    def given(self, features: torch.Tensor):
        return self.hear

    def hear(self, chunk: torch.Tensor) -> torch.Tensor:
        self.chunk = chunk
        return chunk.sum(dim=-1).expand(2, -1, -1)


def test_smoothing_moves_the_action_of_a_target_by_so_much_at_most() -> None:
    agent, seen = made(smoothing=1.0, smoothing_limit=0.25), batch().observation
    agent.target_critic = Asked()
    noise = torch.zeros(COUNT, POINTS, 1)
    with torch.no_grad():
        action = agent.target_policy.given(seen).act(noise)
    for jitter, moved in ((-9.0, -0.25), (0.125, 0.125), (9.0, 0.25)):
        agent.state_values(seen, noise, noise + jitter)
        torch.testing.assert_close(
            agent.target_critic.chunk, (action + moved).clamp(-1.0, 1.0))


@pytest.mark.parametrize(('stop', 'reached'), [(True, False), (False, True)])
def test_the_critic_teaches_the_encoder_only_when_all_of_it_learns(stop, reached) -> None:
    agent = made(encoder=nn.Linear(2, 2), stop_features=stop)
    agent.losses(batch(), draws(agent, 0))[0].backward()
    assert has_gradient(agent.encoder) is reached
    agent.losses(batch(), draws(agent, 1))[0].backward()
    assert has_gradient(agent.encoder)


def test_targets_follow_slowly_and_never_learn() -> None:
    agent = made(target_share=0.25)
    weight, target = agent.critic.value.bias, agent.target_critic.value.bias
    with torch.no_grad():
        weight += 4.0
    agent.follow()
    assert target.flatten().tolist() == [1.0, 1.0]
    assert not any(one.requires_grad for one in agent.target_policy.parameters())


def test_what_the_batch_lacks_and_no_such_numbers_are_refused() -> None:
    agent = made()
    with pytest.raises(ValueError, match='no return_to_go, which conservatism'):
        agent.losses(replace(batch(), return_to_go=None), draws(agent))
    with pytest.raises(ValueError, match='no next_observations'):
        agent.losses(replace(batch(), next_observations=None), draws(agent))
    for numbers in ({'bc_weight': -1.0}, {'actor_delay': 0}, {'target_share': 0.0}):
        with pytest.raises(ValueError, match=next(iter(numbers))):
            CoRftConfig(**numbers)
    with pytest.raises(ValueError, match='steps is 0'):
        FlowPolicy(FlowField(2, POINTS, 1, (16,)), steps=0)


@pytest.mark.parametrize(('make_policy', 'numbers'), [
    (lambda: DeterministicPolicy(ChunkActor(1, 3, 1, (32, 32))), {}),
    (lambda: FlowPolicy(FlowField(1, 3, 1, (32, 32)), steps=2), {'one_prefix': True})],
    ids=['head', 'flow'])
def test_it_gets_there_sooner_than_the_imitation_it_starts_from(
        point_world, make_policy, numbers) -> None:
    data = point_world.record(60, seed=0)
    transitions = ChunkTransitions(data.trajectories, point_world.horizon, point_world.discount)
    table = StateTable(data.observations, data.actions, transitions)
    torch.manual_seed(0)
    policy = make_policy()
    config = CoRftConfig(ValueKind.UNIT, target_share=0.05, bc_weight=0.05, **numbers)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3, fused=True)
    for _ in range(200):
        given = table.batch(table.sample(generator, 128))
        drawn = CoRftDraws.draw(generator, config, (128, 3, 1), 0)
        bound = policy.given(given.observation)
        cloned = bound.clone(bound.act(drawn.noise), given.actions, drawn.clone_noise,
                             drawn.clone_time)
        _step(optimizer, cloning_loss(*cloned, given.valid))
    agent = CoRft(policy, PrefixCritic(1, 1, 3, width=16, layers=1), config)

    def steps_needed() -> float:
        chance = torch.Generator().manual_seed(3)
        return point_world.steps_needed(
            lambda seen: agent.act(seen, torch.randn(64, 3, 1, generator=chance)))

    imitation = steps_needed()
    optimizer = torch.optim.Adam(
        [{'params': list(policy.parameters()), 'lr': 2e-3},
         {'params': list(agent.critic.parameters()), 'lr': 1e-2}], fused=True)
    for updates in range(150):
        given = table.batch(table.sample(generator, 64), prefixes=True)
        drawn = CoRftDraws.draw(generator, config, (64, 3, 1), updates)
        _step(optimizer, agent.losses(given, drawn)[0])
        agent.follow()
    assert steps_needed() < 0.75 * imitation


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
