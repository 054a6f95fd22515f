"""Rules of the networks of Q-chunking: members, shared work, gradients, fresh weights."""

import pytest
import torch
from torch import nn

from chunked_vla_ros.training.packed_mlp import FEWEST_ROWS, ROWS_AT_ONCE
from chunked_vla_ros.training.q_networks import (
    ChunkCritic,
    FlowField,
    GaussianActor,
    GivenMlp,
    Layer,
    LOG_STD_RANGE,
    OneStepActor,
    polyak,
    StackedMlp,
)

B, S, POINTS, WIDTH, HIDDEN = 3, 4, 2, 3, (16, 16)


def shaken(net):
    """Return ``net`` with weights that all count: fresh biases and norms change nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return net


def some(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(('layer', 'parts'), [
    (Layer.GELU, lambda norm: [nn.GELU('tanh')]),
    (Layer.GELU_NORM, lambda norm: [nn.GELU('tanh'), norm]),
    (Layer.RELU, lambda norm: [nn.ReLU()]),
    (Layer.NORM_RELU, lambda norm: [norm, nn.ReLU()])])
def test_each_member_is_a_perceptron_of_its_own(layer, parts) -> None:
    net, x = shaken(StackedMlp(2, S, 5, (16,), layer)), some(2, B, S)
    for member in range(2):
        first, last, norm = nn.Linear(S, 16), nn.Linear(16, 5), nn.LayerNorm(16, eps=1e-6)
        with torch.no_grad():
            for linear, weight, bias in zip((first, last), net.weights, net.biases, strict=True):
                linear.weight.copy_(weight[member].t())
                linear.bias.copy_(bias[member, 0])
            if layer.has_norm:
                norm.weight.copy_(net.scales[0][member, 0])
                norm.bias.copy_(net.shifts[0][member, 0])
        expected = nn.Sequential(first, *parts(norm), last)(x[member])
        torch.testing.assert_close(net(x)[member], expected)


def test_members_that_are_shown_the_same_answer_as_if_it_were_their_own() -> None:
    net, x = shaken(StackedMlp(3, S, 1, HIDDEN, Layer.GELU_NORM)), some(B, S)
    torch.testing.assert_close(net(x), net(x.expand(3, B, S).contiguous()))


def test_fresh_weights_are_xavier_uniform_and_biases_zero() -> None:
    net = StackedMlp(4, 30, 6, (64,))
    for weight, bound in zip(net.weights, ((6 / 94) ** 0.5, (6 / 70) ** 0.5), strict=True):
        assert 0.95 * bound < weight.abs().max() <= bound
    assert all(bias.abs().max() == 0.0 for bias in net.biases)


def test_mean_and_spread_of_a_gaussian_have_a_fan_out_of_their_own() -> None:
    actor = GaussianActor(S, 10, 3, (60,))
    bound = (6 / (60 + 30)) ** 0.5
    assert 0.95 * bound < actor.net.weights[-1].abs().max() <= bound


def test_a_gaussian_is_never_narrower_or_wider_than_published() -> None:
    actor = GaussianActor(S, POINTS, WIDTH, HIDDEN)
    with torch.no_grad():
        actor.net.weights[-1].mul_(1e6)
    mean, log_std = actor(some(50, S))
    assert mean.shape == log_std.shape == (50, POINTS, WIDTH)
    assert (log_std.min(), log_std.max()) == LOG_STD_RANGE


def test_candidates_of_a_state_are_judged_as_if_each_came_alone() -> None:
    critic, observation = shaken(ChunkCritic(S, POINTS, WIDTH, 2, HIDDEN)), some(B, S)
    chunks = some(B, 5, POINTS, WIDTH)
    values = critic.given(observation)(chunks)
    assert values.shape == (2, B, 5)
    for index in range(5):
        torch.testing.assert_close(values[..., index], critic(observation, chunks[:, index]))


def test_candidates_of_a_state_flow_as_if_each_came_alone() -> None:
    flow, observation = shaken(FlowField(S, POINTS, WIDTH, HIDDEN)), some(B, S)
    noisy, time = some(B, 5, POINTS, WIDTH), torch.tensor(0.3)
    velocity = flow.given(observation)(noisy, time)
    for index in range(5):
        torch.testing.assert_close(
            velocity[:, index], flow(observation, noisy[:, index], time.expand(B)))


def test_observation_chunk_and_time_go_in_one_after_another() -> None:
    flow, observation = shaken(FlowField(S, POINTS, WIDTH, HIDDEN)), some(B, S)
    noisy, time = some(B, POINTS, WIDTH), torch.tensor([0.0, 0.5, 0.9])
    joined = torch.cat([observation, noisy.flatten(1), time[:, None]], dim=1)
    torch.testing.assert_close(
        flow(observation, noisy, time).flatten(1), flow.net(joined)[0])
    actor = shaken(OneStepActor(S, POINTS, WIDTH, HIDDEN))
    torch.testing.assert_close(
        actor(observation, noisy).flatten(1),
        actor.net(torch.cat([observation, noisy.flatten(1)], dim=1))[0])


@pytest.mark.parametrize('members', [1, 3])
@pytest.mark.parametrize('layer', [Layer.GELU, Layer.GELU_NORM])
@pytest.mark.parametrize('candidates', [(), (4,)])
def test_gradients_of_members_one_by_one_are_those_of_all_at_once(
        members, layer, candidates) -> None:
    net = shaken(StackedMlp(members, (S, 2), 5, HIDDEN, layer))
    observation, x, weight = some(B, S), some(B, *candidates, 2), some(members, B, *candidates, 5)
    ways = []
    for given in (net.given, lambda seen: GivenMlp(net, seen, learns=True)):
        net.zero_grad()
        leaf = x.clone().requires_grad_()
        (given(observation)(leaf) * weight).sum().backward()
        ways.append([leaf.grad, *(one.grad for one in net.parameters())])
    torch.testing.assert_close(*ways, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('make', [
    lambda: ChunkCritic(S, POINTS, WIDTH, 3, HIDDEN),
    lambda: ChunkCritic(S, POINTS, WIDTH, 2, HIDDEN, Layer.NORM_RELU)])
@pytest.mark.parametrize('shape', [(FEWEST_ROWS,), (600, 7), (8, ROWS_AT_ONCE + 5)])
def test_many_rows_without_gradients_give_the_same_values(make, shape) -> None:
    critic, observation, chunks = shaken(make()), some(shape[0], S), some(*shape, POINTS, WIDTH)
    expected = critic.given(observation)(chunks)
    with torch.no_grad():
        torch.testing.assert_close(
            critic.given(observation)(chunks), expected, rtol=1e-5, atol=2e-5)


def test_many_rows_without_gradients_flow_the_same_way() -> None:
    flow, observation = shaken(FlowField(S, POINTS, WIDTH, HIDDEN)), some(140, S)
    noisy, time = some(140, 30, POINTS, WIDTH), torch.tensor(0.7)
    expected = flow.given(observation)(noisy, time)
    with torch.no_grad():
        torch.testing.assert_close(
            flow.given(observation)(noisy, time), expected, rtol=1e-5, atol=2e-5)
        each = time.expand(140)
        torch.testing.assert_close(
            flow.given(observation)(noisy, each), expected, rtol=1e-5, atol=2e-5)


def test_a_critic_that_does_not_learn_still_tells_the_chunk_where_up_is() -> None:
    critic, chunk = shaken(ChunkCritic(S, POINTS, WIDTH, 2, HIDDEN)), some(B, POINTS, WIDTH)
    slopes = []
    for learns in (True, False):
        critic.zero_grad()
        leaf = chunk.clone().requires_grad_()
        critic.given(some(B, S), learns)(leaf).mean().backward()
        slopes.append(leaf.grad)
        reached = [weight.grad is not None for weight in critic.parameters()]
        assert all(reached) if learns else not any(reached)
    torch.testing.assert_close(*slopes)


def test_polyak_moves_the_target_its_share_of_the_way() -> None:
    target, online = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        target.weight.fill_(1.0)
        online.weight.fill_(5.0)
    polyak(target, online, 0.25)
    assert (target.weight.item(), online.weight.item()) == (2.0, 5.0)
