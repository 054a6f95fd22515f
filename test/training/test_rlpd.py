"""Rules of the RLPD family: likelihoods of a tanh Gaussian, its losses, what it learns."""

import dataclasses
import math

import pytest
import torch
from torch.distributions import Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import make_adam, update
from chunked_vla_ros.training.rlpd import (
    actor_loss,
    log_likelihood,
    Rlpd,
    RLPD_METHODS,
    RlpdDraws,
    squashed,
    temperature_loss,
)

S, WIDTH, POINTS = 3, 2, 2


def small(name, **changes):
    horizon = {'horizon': POINTS} if RLPD_METHODS[name].horizon > 1 else {}
    return dataclasses.replace(RLPD_METHODS[name], hidden=(16, 16), **horizon, **changes)


def some(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def paid_batch(generator, horizon, count=32):
    """Return one decision: half of the data moves up and is paid, half moves down."""
    paid, here = torch.arange(count) % 2 == 0, torch.ones(count, horizon, dtype=torch.bool)
    way = torch.where(paid, 0.5, -0.5)[:, None, None]
    return ChunkBatch(
        observation=torch.zeros(count, S),
        actions=way + 0.2 * torch.randn(count, horizon, WIDTH, generator=generator), valid=here,
        returns=paid.float()[:, None].expand(-1, horizon),
        bootstrap=torch.zeros(count, horizon), counted=here,
        next_observation=torch.zeros(count, S))


def test_likelihoods_are_those_of_a_normal_distribution_under_tanh() -> None:
    mean, log_std, noise = (some(4, POINTS, WIDTH, seed=seed) for seed in range(3))
    reference = TransformedDistribution(
        Independent(Normal(mean, log_std.exp()), 2), TanhTransform())
    chunk, likelihood = squashed(mean, log_std, 0.5 * noise)
    torch.testing.assert_close(likelihood, reference.log_prob(chunk), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        log_likelihood(mean, log_std, chunk), likelihood, rtol=1e-4, atol=1e-4)


def test_an_action_at_the_edge_has_a_likelihood() -> None:
    edge = log_likelihood(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    assert math.isfinite(edge.item())
    far = squashed(torch.full((1, 1, 1), 30.0), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    # log N(0; 0, 1) - log(1 - tanh(30)^2), which is 60 - log 4
    assert far[1].item() == pytest.approx(-0.5 * math.log(2 * math.pi) + 60 - math.log(4))


def test_the_policy_is_paid_for_value_and_for_entropy() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    temperature = torch.tensor(0.5, requires_grad=True)
    loss, metrics = actor_loss(
        torch.zeros(2, 1, 1), torch.tensor([4.0, 6.0]), lambda chunk: values, temperature)
    # 0.5 * 5 - mean of 2 and 3
    assert (loss, metrics['actor/q']) == (0.0, 2.5)
    assert not loss.requires_grad


def test_temperature_rises_while_there_is_too_little_entropy() -> None:
    for entropy, slope in ((-3.0, -2.0), (1.0, 2.0)):
        temperature = torch.tensor(0.5, requires_grad=True)
        loss, metrics = temperature_loss(temperature, torch.tensor([-entropy]), wanted=-1.0)
        loss.backward()
        assert temperature.grad == slope
        assert metrics['actor/entropy'] == entropy


def test_the_presets_have_the_published_numbers() -> None:
    assert {name: (one.chunked, one.points, one.bc_weight)
            for name, one in RLPD_METHODS.items()} == {
        'rlpd': (False, 1, 0.0), 'rlpd_ac': (True, 5, 0.0), 'qc_rlpd': (True, 5, 0.01)}
    for one in RLPD_METHODS.values():
        assert (one.members, one.temperature, one.entropy_share, one.target_share) == (
            10, 1.0, 0.5, 0.005)
    assert Rlpd(small('rlpd_ac'), S, WIDTH)._wanted_entropy == -0.5 * POINTS * WIDTH


def test_losses_are_those_of_the_published_equations() -> None:
    method = small('qc_rlpd', members=3)
    torch.manual_seed(0)
    agent, generator = Rlpd(method, S, WIDTH), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in agent.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    batch = dataclasses.replace(
        paid_batch(generator, POINTS, 6), bootstrap=torch.full((6, POINTS), 0.8),
        counted=torch.arange(12).reshape(6, 2) % 5 > 0, observation=some(6, S),
        next_observation=some(6, S, seed=1))
    draws = RlpdDraws.draw(generator, method, 6, WIDTH)
    loss = agent.losses(batch, draws)[0].item()

    def policy(observation):
        mean, log_std = agent.actor(observation)
        return TransformedDistribution(
            Independent(Normal(mean, log_std.exp()), 2), TanhTransform())

    def made(observation, noise):
        mean, log_std = agent.actor(observation)
        return torch.tanh(mean + log_std.exp() * noise)

    after = made(batch.next_observation, draws.next_noise)
    target = batch.returns[:, -1] + 0.8 * agent.target_critic(
        batch.next_observation, after).mean(dim=0)
    error = (agent.critic(batch.observation, batch.actions) - target) ** 2 * batch.counted[:, -1]
    chunk = made(batch.observation, draws.actor_noise)
    likelihood = policy(batch.observation).log_prob(chunk)
    temperature = agent.log_temperature.exp()
    expected = (
        error.mean()
        + (temperature * likelihood - agent.critic(batch.observation, chunk).mean(dim=0)).mean()
        + temperature * (-likelihood.mean() + 0.5 * POINTS * WIDTH)
        - 0.01 * policy(batch.observation).log_prob(
            batch.actions.clamp(-1 + 1e-5, 1 - 1e-5)).mean())
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def test_each_network_learns_from_its_own_loss() -> None:
    method = small('rlpd_ac')
    torch.manual_seed(0)
    agent, generator = Rlpd(method, S, WIDTH), torch.Generator().manual_seed(0)
    batch = paid_batch(generator, POINTS)
    unseen = dataclasses.replace(
        batch, observation=some(32, S), counted=torch.zeros_like(batch.counted))
    agent.losses(unseen, RlpdDraws.draw(generator, method, 32, WIDTH))[0].backward()
    assert all(one.grad.abs().max() == 0.0 for one in agent.critic.parameters())
    assert all(one.grad is None for one in agent.target_critic.parameters())
    assert all(one.grad.abs().max() > 0.0 for one in agent.actor.net.weights)
    assert agent.log_temperature.grad.abs() > 0.0


@pytest.mark.parametrize('name', RLPD_METHODS)
def test_it_finds_what_is_paid(name) -> None:
    method = small(name, members=4, temperature=0.1, target_share=0.1)
    torch.manual_seed(0)
    agent, generator = Rlpd(method, S, WIDTH), torch.Generator().manual_seed(0)
    optimizer = make_adam(agent, 5e-3)
    for _ in range(120):
        update(agent, optimizer, paid_batch(generator, method.horizon),
               RlpdDraws.draw(generator, method, 32, WIDTH))
    chunk = agent.act(torch.zeros(50, S), some(*method.noise_shape(50, WIDTH)))
    assert chunk.shape == (50, method.points, WIDTH)
    assert (chunk.mean(dim=(1, 2)) > 0.0).float().mean() >= 0.8
