"""
Q-chunking's losses against an independent computation from the published equations, in numpy.

Nothing here but the weights, the draws and the actions comes from the code under test: networks,
returns, masks and losses are written down once more, in double precision. Masks and returns are
those of the released code (a running sum over whatever comes next, dropped by ``valid``).
"""

import dataclasses

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, EndRule, Trajectories
from chunked_vla_ros.training.chunk_batch import StateTable
from chunked_vla_ros.training.q_chunking import build_q_chunking, Draws
from chunked_vla_ros.training.q_chunking_methods import Aggregate, METHODS

FEATURES, WIDTH, DISCOUNT = 4, 2, 0.9
# One episode that ends in success, one that is cut off, one with a success in its middle that
# goes on until it is cut off, and one that ends the table. Each reward is told from all others.
LENGTHS = np.array([6, 5, 9, 4])
ENDS_AT = (5, 14, 23)
ROWS = int(LENGTHS.sum())
TRAJECTORIES = Trajectories(
    rewards=np.linspace(-1.0, 2.0, ROWS, dtype=np.float32),
    terminated=np.isin(np.arange(ROWS), ENDS_AT),
    starts=np.cumsum(LENGTHS) - LENGTHS, lengths=LENGTHS)


@dataclasses.dataclass(frozen=True)
class Published:
    """The last column of what the released sampler makes of each chunk, (B,), but ``valid``."""

    returns: np.ndarray
    mask: np.ndarray
    valid: np.ndarray
    next_rows: np.ndarray


def published_chunks(rows, horizon):
    """Return what the released sampler makes of the windows that begin at ``rows``."""
    steps = []
    for start, length in zip(TRAJECTORIES.starts, LENGTHS, strict=True):
        last = start + length - 1
        count = length if TRAJECTORIES.terminated[last] else length - 1
        steps += [(start + i, i == count - 1) for i in range(count)]
    at = {row: index for index, (row, _) in enumerate(steps)}
    returns, mask, valid, next_rows = [], [], [], []
    for row in rows:
        window = steps[at[row]:at[row] + horizon]
        total, alive, ended, seen = 0.0, 1.0, 0.0, []
        for i, (where, is_last) in enumerate(window):
            seen.append(1.0 - ended)
            total += DISCOUNT ** i * float(TRAJECTORIES.rewards[where])
            alive = min(alive, 1.0 - float(TRAJECTORIES.terminated[where]))
            ended = max(ended, float(is_last))
        returns.append(total)
        mask.append(alive)
        valid.append(seen)
        next_rows.append(min(window[-1][0] + 1, ROWS - 1))
    return Published(np.array(returns), np.array(mask), np.array(valid), np.array(next_rows))


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x ** 3)))


def activated(x, state, index):
    """Return ``x`` (K, ..., H) after gelu, and after a layer norm if the network has one."""
    x = gelu(x)
    if f'scales.{index}' not in state:
        return x
    scale, shift = (
        state[f'{name}.{index}'].reshape(len(x), *(1,) * (x.ndim - 2), x.shape[-1])
        for name in ('scales', 'shifts'))
    mean = x.mean(axis=-1, keepdims=True)
    spread = np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + 1e-6)
    return (x - mean) / spread * scale + shift


def perceptron(module, *parts):
    """Return (K, ..., outputs) of K perceptrons for ``parts`` (..., features) of their input."""
    state = {name: value.double().numpy() for name, value in module.net.state_dict().items()}
    x = np.concatenate(parts, axis=-1)[None]
    layers = sum(name.startswith('weights') for name in state)
    for index in range(layers):
        if index:
            x = activated(x, state, index - 1)
        weight, bias = state[f'weights.{index}'], state[f'biases.{index}']
        x = np.broadcast_to(x, (len(weight), *x.shape[1:]))
        x = (np.einsum('k...i,kio->k...o', x, weight)
             + bias.reshape(len(bias), *(1,) * (x.ndim - 2), -1))
    return x


def tiled(observation, chunk):
    """Return ``observation`` (B, S) as often as there are candidates in ``chunk`` (B, N, D)."""
    if chunk.ndim == 2:
        return observation
    return np.repeat(observation[:, None], chunk.shape[1], axis=1)


def q_values(critic, observation, chunk):
    return perceptron(critic, tiled(observation, chunk), chunk)[..., 0]


def euler(flow, observation, noise, steps):
    chunk = noise
    for step in range(steps):
        time = np.full((*chunk.shape[:-1], 1), step / steps)
        chunk = chunk + perceptron(flow, tiled(observation, chunk), chunk, time)[0] / steps
    return np.clip(chunk, -1.0, 1.0)


def together(values, method):
    return values.mean(axis=0) if method.aggregate is Aggregate.MEAN else values.min(axis=0)


def flat(tensor, points):
    array = tensor.double().numpy()
    return array.reshape(*array.shape[:-2], points * WIDTH)


def published_losses(agent, table_rows, observations, actions, draws):
    """Return from the equations: the critic's target, what there is to look at, the loss."""
    method = agent.method
    chunks = published_chunks(table_rows, method.horizon)
    observation, after = observations[table_rows], observations[chunks.next_rows]
    points = method.points
    chunk = flat(actions[:, :points], points)
    noise = flat(draws.next_noise, points)
    if draws.actor_noise is None:
        candidates = euler(agent.flow, after, noise, method.flow_steps)
        best = together(q_values(agent.critic, after, candidates), method).argmax(axis=1)
        next_chunk = candidates[np.arange(len(best)), best]
    else:
        next_chunk = np.clip(perceptron(agent.one_step, after, noise)[0], -1.0, 1.0)
    # Eq. 4 and 11: the h-step target.
    target = chunks.returns + DISCOUNT ** method.horizon * chunks.mask * together(
        q_values(agent.target_critic, after, next_chunk), method)
    error = (q_values(agent.critic, observation, chunk) - target) ** 2 * chunks.valid[:, -1]
    # The behaviour flow: velocity x1 - x0 on the straight path.
    x0, u = flat(draws.flow_noise, points), draws.flow_time.double().numpy()[:, None]
    velocity = perceptron(agent.flow, observation, (1.0 - u) * x0 + u * chunk, u)[0]
    missed = ((velocity - (chunk - x0)) ** 2).reshape(len(u), points, WIDTH)
    found = {'critic/loss': error.mean(),
             'actor/flow_loss': (missed * chunks.valid[:, :points, None]).mean()}
    if draws.actor_noise is None:
        return target, found, found['critic/loss'] + found['actor/flow_loss']
    # Eq. 13 and 15: imitate the flow in one step, climb the critic.
    noise = flat(draws.actor_noise, points)
    one_step = perceptron(agent.one_step, observation, noise)[0]
    found['actor/distillation_loss'] = np.mean(
        (one_step - euler(agent.flow, observation, noise, method.flow_steps)) ** 2)
    found['actor/q'] = q_values(
        agent.critic, observation, np.clip(one_step, -1.0, 1.0)).mean(axis=0).mean()
    total = (found['critic/loss'] + found['actor/flow_loss']
             + method.alpha * found['actor/distillation_loss'] - found['actor/q'])
    return target, found, total


@pytest.mark.parametrize(('name', 'changes'), [
    ('qc', {}), ('qc', {'candidates': 4}), ('qc', {'aggregate': Aggregate.MIN}), ('qc_fql', {}),
    ('bfn', {}), ('bfn_n', {}), ('fql', {}), ('fql_n', {'members': 3})])
def test_losses_are_those_of_the_published_equations(name, changes) -> None:
    horizon = {'horizon': 3} if METHODS[name].horizon > 1 else {}
    method = dataclasses.replace(METHODS[name], hidden=(16, 16, 16), **horizon, **changes)
    torch.manual_seed(0)
    agent = build_q_chunking(method, FEATURES, WIDTH)
    with torch.no_grad():
        for weight in agent.parameters():  # biases and norms too: fresh ones change nothing
            weight.add_(0.2 * torch.randn_like(weight))
    random = np.random.default_rng(0)
    observations = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    actions = random.uniform(-1.0, 1.0, (ROWS, WIDTH)).astype(np.float32)
    transitions = ChunkTransitions(TRAJECTORIES, method.horizon, DISCOUNT, EndRule.PUBLISHED)
    table = StateTable(observations, actions, transitions)
    batch = table.batch(torch.arange(len(table)))
    draws = Draws.draw(torch.Generator().manual_seed(1), method, len(table), WIDTH)

    loss, metrics = agent.losses(batch, draws)

    target, expected, total = published_losses(
        agent, transitions.rows, observations.astype(np.float64), batch.actions, draws)
    counted = batch.counted[:, -1].numpy()    # of a chunk that is dropped no target is asked
    assert agent.target(batch, draws).numpy()[counted] == pytest.approx(
        target[counted], rel=1e-5, abs=1e-5)
    assert set(expected) <= set(metrics)
    for key, value in expected.items():
        assert metrics[key].item() == pytest.approx(value, rel=1e-5, abs=1e-5), key
    assert loss.item() == pytest.approx(total, rel=1e-5, abs=1e-5)


def test_the_data_of_the_parity_holds_every_case() -> None:
    chunks = published_chunks(
        ChunkTransitions(TRAJECTORIES, 3, DISCOUNT, EndRule.PUBLISHED).rows, 3)
    cases = set(zip(chunks.mask.tolist(), chunks.valid[:, -1].tolist(), strict=True))
    # Goes on or times out; succeeds; crosses a time-out or a success and is dropped.
    assert cases == {(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)}
