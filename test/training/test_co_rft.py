"""Rules of CO-RFT's second stage: targets, terms and gradients by hand, and that it improves."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions
from chunked_vla_ros.training.chunk_batch import ChunkBatch, StateTable
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.co_rft import (
    actor_loss,
    cal_ql_term,
    CoRft,
    critic_loss,
    prefix_targets,
)
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.q_chunking import flow_loss, integrate
from chunked_vla_ros.training.q_networks import FlowField, polyak, StackedMlp
from chunked_vla_ros.training.rl_config import RlConfig

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


def test_the_policy_climbs_the_mean_of_its_prefixes_in_their_own_scale_and_clones() -> None:
    values = torch.tensor([[1.0, -6.0], [-5.0, -8.0]], requires_grad=True)
    missed = torch.tensor(0.25, requires_grad=True)
    loss, metrics = actor_loss(values, missed, 10.0)
    # The mean of the values is -4.5, of their sizes 5.
    assert float(metrics['actor/q']) == -4.5
    assert loss.detach().item() == pytest.approx(10.0 * 0.25 + 4.5 / 5.0)
    loss.backward()
    assert missed.grad.item() == 10.0
    torch.testing.assert_close(values.grad, torch.full((2, 2), -0.25 / 5.0))


def test_without_a_cloning_weight_it_is_the_equation_as_written() -> None:
    loss, _ = actor_loss(torch.ones(2, 2), torch.tensor(7.0), 0.0)
    assert loss.item() == -1.0


def made(**numbers: object) -> CoRft:
    torch.manual_seed(0)
    return CoRft(PrefixCritic(2, 1, POINTS, width=16, layers=1), ValueKind.FREE,
                 RlConfig(**numbers))


def batch() -> ChunkBatch:
    generator = torch.Generator().manual_seed(1)
    ones = torch.ones(COUNT, POINTS, dtype=torch.bool)
    return ChunkBatch(
        torch.randn(COUNT, 2, generator=generator),
        torch.rand(COUNT, POINTS, 1, generator=generator), ones,
        torch.rand(COUNT, POINTS, generator=generator), BOOTSTRAP.expand(COUNT, -1), ones.clone(),
        torch.randn(COUNT, 2, generator=generator),
        return_to_go=torch.rand(COUNT, generator=generator))


@pytest.fixture
def drawn() -> dict[str, torch.Tensor]:
    """Return what a step of the critic is told besides its batch."""
    generator = torch.Generator().manual_seed(2)
    return {'chunks': torch.rand(COUNT, POINTS, 1, generator=generator),
            'next_values': torch.rand(COUNT, POINTS, generator=generator),
            'tail': torch.rand(COUNT, POINTS, 1, generator=generator)}


def test_a_policy_climbs_a_critic_that_learns_nothing_from_it() -> None:
    learner, seen = made(), batch().observation
    chunk = torch.zeros(COUNT, POINTS, 1, requires_grad=True)
    before = learner.judge(seen, chunk)
    before.mean().backward()
    assert all(weight.grad is None for weight in learner.critic.parameters())
    after = learner.judge(seen, 0.01 * chunk.grad / chunk.grad.abs().max())
    assert after.mean() > before.mean()


def test_without_conservatism_the_policys_chunks_are_not_looked_at(drawn) -> None:
    plain = made(conservative_weight=0.0)
    given = replace(batch(), return_to_go=None)
    loss, metrics = plain.critic_losses(given, **drawn)
    drawn['chunks'] = drawn['chunks'] + 1.0
    assert torch.equal(plain.critic_losses(given, **drawn)[0], loss)
    assert 'critic/cal_ql' not in metrics
    with pytest.raises(ValueError, match=r'no return_to_go, which conservative_weight 0.5 needs'):
        made(conservative_weight=0.5).critic_losses(given, **drawn)


def test_the_critics_loss_is_the_sum_of_its_terms(drawn) -> None:
    loss, metrics = made(conservative_weight=0.5).critic_losses(batch(), **drawn)
    expected = metrics['critic/loss'] + 0.5 * metrics['critic/cal_ql']
    torch.testing.assert_close(loss.detach(), expected)


def test_an_arbitrary_tail_teaches_the_critic_what_it_is_worth_and_is_not_raised(drawn) -> None:
    learner, given = made(), batch()
    given.valid[:, 2:] = False
    first = learner.critic_losses(given, **drawn)[1]
    second = learner.critic_losses(given, **{**drawn, 'tail': -drawn['tail']})[1]
    assert torch.equal(first['critic/cal_ql'], second['critic/cal_ql'])
    assert not torch.equal(first['critic/loss'], second['critic/loss'])


def test_by_the_published_rule_a_crossing_chunk_keeps_the_prefixes_before_the_end(drawn) -> None:
    crossing = replace(batch(), counted=torch.tensor([[True, True, False]]).expand(COUNT, -1))
    for literal, learns in ((False, True), (True, False)):
        learner = made(literal_targets=literal, conservative_weight=0.0)
        loss = learner.critic_losses(crossing, **drawn)[1]['critic/loss']
        assert (loss.item() > 0.0) is learns


class Told(nn.Module):
    """Twin critics that say two sums of the chunk, and keep what they are asked about."""

    def given(self, observation: torch.Tensor):
        return self.hear

    def hear(self, chunk: torch.Tensor) -> torch.Tensor:
        self.chunk = chunk
        total = chunk.sum(dim=-1)
        return torch.stack([total, total + 3.0])


def test_of_the_twins_the_smaller_counts_and_of_the_policys_chunks_their_mean() -> None:
    learner = made(target_noise=0.0)
    learner.target_critic = Told()
    chunks = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1).expand(COUNT, 2, POINTS, 1)
    values = learner.state_values(batch().observation, chunks, torch.zeros_like(chunks))
    assert values.tolist() == [0.5] * COUNT


@pytest.mark.parametrize(('noise', 'moved'), [(-9.0, -0.25), (1.0, 0.1), (9.0, 0.25)])
def test_a_targets_action_is_blurred_by_so_much_at_most(noise, moved) -> None:
    learner, chunks = made(target_noise=0.1), torch.full((COUNT, 1, POINTS, 1), 0.5)
    learner.target_critic = Told()
    learner.state_values(batch().observation, chunks, torch.full_like(chunks, noise))
    torch.testing.assert_close(learner.target_critic.chunk, chunks + moved)


def test_a_blurred_action_is_none_that_nobody_could_do() -> None:
    learner, chunks = made(target_noise=1.0), torch.full((COUNT, 1, POINTS, 1), 0.5)
    learner.target_critic = Told()
    learner.state_values(batch().observation, chunks, torch.full_like(chunks, 2.0))
    assert (learner.target_critic.chunk == 1.0).all()


def test_the_slow_critic_follows_slowly_and_never_learns() -> None:
    learner = made(target_rate=0.25)
    weight, slow = learner.critic.value.bias, learner.target_critic.value.bias
    with torch.no_grad():
        weight += 4.0
    learner.follow()
    assert slow.flatten().tolist() == [1.0, 1.0]
    assert not any(one.requires_grad for one in learner.target_critic.parameters())


class Head(nn.Module):
    """A deterministic policy on vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.net = StackedMlp(1, 1, POINTS, (32, 32))

    def act(self, seen: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.net(seen)[0])[..., None]

    def missed(self, given: ChunkBatch, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        error = self.act(given.observation, noise) - given.actions
        return (error.square() * given.valid[..., None]).mean()


class Flow(nn.Module):
    """A flow on vectors that the critic's gradient goes back through."""

    def __init__(self) -> None:
        super().__init__()
        self.flow = FlowField(1, POINTS, 1, (32, 32))

    def act(self, seen: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return integrate(self.flow.given(seen), noise, 2)

    def missed(self, given: ChunkBatch, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return flow_loss(self.flow.given(given.observation), given.actions, noise, time,
                         given.valid)[0]


@pytest.mark.parametrize('make_policy', [Head, Flow])
def test_it_gets_there_sooner_than_the_imitation_it_starts_from(point_world, make_policy) -> None:
    data = point_world.record(60, seed=0)
    transitions = ChunkTransitions(data.trajectories, point_world.horizon, point_world.discount)
    table = StateTable(data.observations, data.actions, transitions)
    torch.manual_seed(0)
    policy, chance = make_policy(), torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, POINTS, 1, generator=chance)

    def take(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    optimizer = torch.optim.Adam(policy.parameters(), 3e-3, fused=True)
    for _ in range(200):
        given = table.batch(table.sample(chance, 128))
        take(optimizer, policy.missed(given, normal(128), torch.rand(128, generator=chance)))

    def steps_needed() -> float:
        with torch.no_grad():
            return point_world.steps_needed(lambda seen: policy.act(seen, torch.randn(
                64, POINTS, 1, generator=torch.Generator().manual_seed(3))))

    imitation = steps_needed()
    learner = CoRft(PrefixCritic(1, 1, POINTS, width=16, layers=1), ValueKind.UNIT,
                    RlConfig(target_rate=0.05, target_noise=0.1))
    slow = copy.deepcopy(policy).requires_grad_(False)
    movers = (torch.optim.Adam(learner.critic.parameters(), 1e-2, fused=True),
              torch.optim.Adam(policy.parameters(), 2e-3, fused=True))
    for updates in range(150):
        given = table.batch(table.sample(chance, 64), prefixes=True)
        ahead, chunk = given.next_observations.flatten(0, 1), policy.act(
            given.observation, normal(64))
        values = learner.state_values(
            ahead, slow.act(ahead, normal(len(ahead)))[:, None], normal(len(ahead), 1))
        take(movers[0], learner.critic_losses(
            given, chunk.detach(), values.view(64, POINTS), normal(64).clamp(-1.0, 1.0))[0])
        if updates % 2:
            missed = policy.missed(given, normal(64), torch.rand(64, generator=chance))
            take(movers[1], actor_loss(learner.judge(given.observation, chunk), missed, 0.05)[0])
            polyak(slow, policy, 0.05)
        learner.follow()
    assert steps_needed() < 0.75 * imitation
