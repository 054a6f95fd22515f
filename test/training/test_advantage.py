"""Rules of advantages: what a chunk is worth, which are kept, and that keeping them pays."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, Trajectories
from chunked_vla_ros.training.advantage import (
    advantages,
    behaviour_value,
    draw_by_weight,
    keep_fraction,
    sarsa_target,
    SarsaConfig,
    SarsaCritic,
    soft_weights,
    WholeChunks,
)
from chunked_vla_ros.training.candidate_cache import CandidateCache
from chunked_vla_ros.training.chunk_batch import StateTable
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.q_chunking import flow_loss, integrate
from chunked_vla_ros.training.q_networks import ChunkCritic, FlowField


def test_the_value_of_the_behaviour_is_the_mean_of_its_candidates_and_no_maximum() -> None:
    values = torch.tensor([[[0.0, 1.0]], [[2.0, 9.0]]])
    assert behaviour_value(values).tolist() == [3.0]


def test_an_advantage_is_what_came_of_a_chunk_less_what_usually_does() -> None:
    returns, bootstrap = torch.tensor([0.0, 0.9, 0.0]), torch.tensor([0.5, 0.0, 0.5])
    values, next_values = torch.tensor([0.2, 0.2, 0.6]), torch.tensor([0.8, 100.0, 0.8])
    assert sarsa_target(returns, bootstrap, next_values).tolist() == pytest.approx([.4, .9, .4])
    assert advantages(returns, bootstrap, values, next_values).tolist() == pytest.approx(
        [0.2, 0.7, -0.2])


@pytest.mark.parametrize(('fraction', 'kept'), [
    (0.01, [False, False, True, False]), (0.5, [True, False, True, False]),
    (0.51, [True, True, True, False]), (1.0, [True] * 4)])
def test_the_best_are_kept_and_of_equal_ones_the_earlier(fraction, kept) -> None:
    assert keep_fraction(torch.tensor([1.0, 1.0, 2.0, 0.0]), fraction).tolist() == kept


def test_three_tenths_of_ten_are_three() -> None:
    assert int(keep_fraction(torch.arange(10.0), 0.3).sum()) == 3


@pytest.mark.parametrize('fraction', [0.0, -1.0, 1.1, math.nan])
def test_no_such_fraction(fraction) -> None:
    with pytest.raises(ValueError, match='expected more than 0 and at most 1'):
        keep_fraction(torch.zeros(3), fraction)


@pytest.mark.parametrize('choose', [lambda a: keep_fraction(a, 0.5), soft_weights])
def test_a_diverged_critic_chooses_nothing(choose) -> None:
    with pytest.raises(ValueError, match='advantage of chunk 1 is nan: the critic diverged'):
        choose(torch.tensor([0.0, math.nan]))


def test_soft_weights_are_exponential_in_deviations_and_have_mean_1() -> None:
    # Deviation 2: the two lie one deviation below and above the mean of 3.
    weights = soft_weights(torch.tensor([1.0, 5.0]) - 3.0)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[1] / weights[0]) == pytest.approx(math.exp(2.0))
    colder = soft_weights(torch.tensor([1.0, 5.0]) - 3.0, temperature=0.5)
    assert float(colder[1] / colder[0]) == pytest.approx(math.exp(4.0))


def test_one_lucky_chunk_does_not_become_the_data() -> None:
    weights = soft_weights(torch.tensor([0.0] * 999 + [1000.0]))
    assert float(weights[-1] / weights[0]) == pytest.approx(20.0)


def test_equal_advantages_weigh_alike_and_a_temperature_must_be_positive() -> None:
    assert soft_weights(torch.full((3,), 0.7)).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match='temperature is 0, expected more than 0'):
        soft_weights(torch.zeros(3), temperature=0.0)


def test_chunks_are_drawn_as_often_as_they_weigh() -> None:
    drawn = draw_by_weight(torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0]), 4000,
                           torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=5).tolist()
    assert counts[0] == counts[2] == counts[4] == 0
    # Five deviations of a fair draw of 4000 are 137.
    assert counts[3] == pytest.approx(3000, abs=150)
    kept = draw_by_weight(torch.tensor([False, True]), 8, torch.Generator())
    assert kept.tolist() == [1] * 8


class Summing(nn.Module):
    """Stands for a critic whose values are known: the sum of a chunk, for each of 2 members."""

    def given(self, observation: torch.Tensor, learns: bool = True):
        return lambda chunk: chunk.sum(dim=(-1, -2)).expand(2, *chunk.shape[:-2])


def found(critic: SarsaCritic, chunks: WholeChunks) -> torch.Tensor:
    return critic.advantages(chunks.returns, chunks.bootstrap, chunks.rows, chunks.next_rows)


def two_steps() -> tuple[StateTable, WholeChunks, torch.Tensor]:
    """Return an episode of two steps, of which the second succeeds, with discount a half."""
    transitions = ChunkTransitions(Trajectories(
        np.array([0.0, 1.0]), np.array([False, True]), np.array([0]), np.array([2])), 2, 0.5)
    table = StateTable(np.zeros((2, 1)), np.array([[0.25], [0.5]]), transitions)
    return table, WholeChunks.of(transitions), torch.zeros(2, 1)


def test_whole_chunks_are_the_last_columns_of_the_data() -> None:
    _, chunks, _ = two_steps()
    assert (chunks.rows.tolist(), chunks.returns.tolist()) == ([0, 1], [0.5, 1.0])
    assert chunks.bootstrap.tolist() == [0.0, 0.0]


def test_tables_and_advantages_come_from_the_candidates() -> None:
    _, chunks, observations = two_steps()
    cache = CandidateCache(torch.tensor([[[[1.0], [0.0]], [[3.0], [1.0]]], [[[0.0], [0.0]]] * 2]))
    critic = SarsaCritic(Summing(), observations, cache)
    assert critic.refresh(0)
    assert critic.table.values.tolist() == [2.5, 0.0]
    assert found(critic, chunks).tolist() == [-2.0, 1.0]


def test_a_critic_sees_anything_after_the_end_and_its_target_is_that_of_the_table() -> None:
    table, chunks, observations = two_steps()
    critic = SarsaCritic(Summing(), observations, CandidateCache(torch.zeros(2, 1, 2, 1)))
    which, tail = torch.tensor([1]), torch.tensor([[[-1.0], [0.75]]])
    # One step is left, of action 0.5 and reward 1; what the critic is shown after it is the tail.
    loss, metrics = critic.losses(table.batch(which), chunks.next_rows[which], tail)
    assert loss.item() == (0.5 + 0.75 - 1.0) ** 2
    assert float(metrics['critic/target']) == 1.0


def test_candidates_of_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match='candidates are for 3 rows and there are 2 observations'):
        SarsaCritic(Summing(), torch.zeros(2, 1), CandidateCache(torch.zeros(3, 1, 2, 1)))


def cloned(table: StateTable, among: torch.Tensor) -> FlowField:
    """Return a flow that imitates some of the chunks."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    flow = FlowField(1, 3, 1, (32, 32))
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3, fused=True)
    for _ in range(300):
        batch = table.batch(among[torch.randint(len(among), (128,), generator=generator)])
        noise = torch.randn(batch.actions.shape, generator=generator)
        loss, _ = flow_loss(flow.given(batch.observation), batch.actions, noise,
                            torch.rand(128, generator=generator), batch.valid)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return flow.requires_grad_(False)


def test_good_chunks_have_the_advantage_and_cloning_them_beats_cloning_all(point_world) -> None:
    data = point_world.record(60, seed=0)
    transitions = ChunkTransitions(data.trajectories, point_world.horizon, point_world.discount)
    table = StateTable(data.observations, data.actions, transitions)
    chunks, everything = WholeChunks.of(transitions), torch.arange(len(transitions))
    assert transitions.paid_once

    flow, observations = cloned(table, everything), torch.from_numpy(data.observations).float()
    cache = CandidateCache.draw(
        lambda seen, noise: integrate(flow.given(seen), noise, 5), observations, (8, 3, 1),
        torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    critic = SarsaCritic(ChunkCritic(1, 3, 1, 2, (32, 32)), observations, cache,
                         SarsaConfig(ValueKind.UNIT, tabulate_every=50))
    optimizer = torch.optim.Adam(critic.critic.parameters(), 3e-3, fused=True)
    generator = torch.Generator().manual_seed(2)
    for updates in range(300):
        critic.refresh(updates)
        which = table.sample(generator, 128)
        tail = 2.0 * torch.rand(128, 3, 1, generator=generator) - 1.0
        loss, _ = critic.losses(table.batch(which), chunks.next_rows[which], tail)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    gained = found(critic, chunks)
    good = torch.from_numpy(data.good)[torch.from_numpy(transitions.at(everything).action_rows)]
    best, worst = gained[good.all(dim=1)], gained[~good.any(dim=1)]
    # How often a good chunk is ranked above a bad one; a coin would say 0.5.
    assert float((best[:, None] > worst).float().mean()) > 0.75

    def steps_of(flow: FlowField) -> float:
        chance = torch.Generator().manual_seed(3)
        return point_world.steps_needed(lambda seen: integrate(
            flow.given(seen), torch.randn(64, 3, 1, generator=chance), 5))

    kept = keep_fraction(gained, 0.4).nonzero()[:, 0]
    assert steps_of(cloned(table, kept)) < 0.7 * steps_of(flow)
