"""Rules of candidates that are sampled once and of values that are tabulated now and then."""

import math

import pytest
import torch

from chunked_vla_ros.training.candidate_cache import CandidateCache, ValueTable

OBSERVATIONS = torch.arange(5.0)[:, None]


def propose(observation: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """A policy that adds noise to where it is."""
    return observation[:, None, None] + noise


def drawn(seed: int = 0, at_once: int = 4096) -> CandidateCache:
    return CandidateCache.draw(propose, OBSERVATIONS, (3, 2, 1),
                               torch.Generator().manual_seed(seed), at_once)


def test_each_row_has_its_own_candidates() -> None:
    noise = torch.randn(5, 3, 2, 1, generator=torch.Generator().manual_seed(0))
    cache = drawn()
    torch.testing.assert_close(cache.chunks, OBSERVATIONS[:, None, None] + noise)
    assert torch.equal(cache.at(torch.tensor([4, 0])), cache.chunks[[4, 0]])


@pytest.mark.parametrize('at_once', [1, 4, 6, 7])
def test_how_many_are_sampled_at_once_changes_nothing(at_once: int) -> None:
    assert torch.equal(drawn(at_once=at_once).chunks, drawn().chunks)
    assert not torch.equal(drawn(seed=1).chunks, drawn().chunks)


def test_the_policy_that_proposes_keeps_no_gradient() -> None:
    weight = torch.ones((), requires_grad=True)
    cache = CandidateCache.draw(lambda seen, noise: weight * noise, OBSERVATIONS, (1, 1, 1),
                                torch.Generator())
    assert not cache.chunks.requires_grad


def test_a_policy_that_diverged_and_no_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match='candidates is 0, expected 1 or more'):
        CandidateCache.draw(propose, OBSERVATIONS, (0, 2, 1), torch.Generator())
    with pytest.raises(ValueError, match='not finite'):
        CandidateCache.draw(lambda seen, noise: noise / 0.0, OBSERVATIONS, (1, 1, 1),
                            torch.Generator())


def test_a_table_stays_as_it_is_between_tabulations() -> None:
    table = ValueTable(5, every=2, at_once=2)
    told = [table.refresh(updates, lambda rows, add=updates: rows + 10.0 * add)
            for updates in range(4)]
    assert told == [True, False, True, False]
    assert table.values.tolist() == [20.0, 21.0, 22.0, 23.0, 24.0]
    assert table.at(torch.tensor([[1], [4]])).tolist() == [[21.0], [24.0]]


def test_a_value_that_is_not_finite_stops_and_leaves_the_table() -> None:
    table = ValueTable(3, every=1)
    table.refresh(0, lambda rows: rows + 1.0)
    with pytest.raises(ValueError, match='the value of row 2 is nan: the critic diverged'):
        table.refresh(7, lambda rows: torch.where(rows == 2, math.nan, 0.0))
    assert table.values.tolist() == [1.0, 2.0, 3.0]


def test_a_training_that_goes_on_finds_the_table_as_it_was() -> None:
    table, again = ValueTable(3, every=5), ValueTable(3, every=5)
    table.refresh(0, lambda rows: rows + 1.0)
    again.load_state_dict(table.state_dict())
    assert torch.equal(again.values, table.values)


def test_a_table_that_would_never_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match='every 0 updates, expected 1 or more'):
        ValueTable(3, every=0)
