"""Rules of parts at once: the same update, the same twice, on each thread its share."""

from dataclasses import replace
import threading
import time

import pytest
import torch

from chunked_vla_ros.training.at_once import (
    AT_ONCE,
    crew_for,
    in_parts,
    learn,
    PORTION,
    steps_of,
)
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking import build_q_chunking, Draws, make_adam, update
from chunked_vla_ros.training.q_chunking_methods import METHODS

S, WIDTH, POINTS, B = 3, 2, 2, 11


@pytest.fixture(autouse=True)
def _threads_for_all():
    before = torch.get_num_threads()
    torch.set_num_threads(AT_ONCE)
    yield
    torch.set_num_threads(before)


def batch_of(horizon):
    generator = torch.Generator().manual_seed(0)
    valid = torch.rand(B, horizon, generator=generator) < 0.8
    return ChunkBatch(
        observation=torch.randn(B, S, generator=generator),
        actions=torch.rand(B, horizon, WIDTH, generator=generator) * 2 - 1, valid=valid,
        returns=torch.randn(B, horizon, generator=generator),
        bootstrap=torch.full((B, horizon), 0.9), counted=valid,
        next_observation=torch.randn(B, S, generator=generator))


def trained(name, threads, updates=3):
    """Return weights and numbers after some updates of a fresh agent."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    horizon = POINTS if METHODS[name].horizon > 1 else 1
    method = replace(METHODS[name], hidden=(16, 16), horizon=horizon)
    agent = build_q_chunking(method, S, WIDTH)
    optimizer, generator = make_adam(agent, 0.01), torch.Generator().manual_seed(1)
    metrics = [update(agent, optimizer, batch_of(horizon),
                      Draws.draw(generator, method, B, WIDTH)) for _ in range(updates)]
    return agent.state_dict(), metrics


@pytest.mark.parametrize('name', ['qc', 'qc_fql', 'bfn_n', 'fql'])
def test_an_update_at_once_is_the_update_one_after_another(name) -> None:
    (at_once, numbers), (alone, expected) = trained(name, AT_ONCE), trained(name, 1)
    torch.testing.assert_close(numbers, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(at_once, alone, rtol=1e-3, atol=1e-4)


def test_the_seeds_decide_to_the_last_digit() -> None:
    (first, _), (second, _) = trained('qc_fql', AT_ONCE, 10), trained('qc_fql', AT_ONCE, 10)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_nothing_is_at_once_that_has_no_thread_or_rows_for_it() -> None:
    rows = torch.zeros(AT_ONCE + 1, S)
    assert crew_for(rows) is crew_for(rows) is not None
    assert crew_for(rows[:AT_ONCE]) is None
    assert crew_for({'image': rows}) is None
    assert crew_for(rows.to('meta')) is None
    torch.set_num_threads(AT_ONCE - 1)
    assert crew_for(rows) is None


@pytest.mark.parametrize('share', [1, 2])
def test_each_has_its_share_of_the_threads_and_nobody_else_has_fewer(share) -> None:
    torch.set_num_threads(share * AT_ONCE)
    crew, together = crew_for(torch.zeros(B, S)), threading.Barrier(AT_ONCE)

    def threads():
        together.wait()
        torch.ones(1 << 16).sum()   # torch sets up a thread at its first work
        return torch.get_num_threads()

    seen = [crew.submit(threads) for _ in range(AT_ONCE)]
    assert [one.result() for one in seen] == [share] * AT_ONCE
    later = []
    other = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert (torch.get_num_threads(), later) == (share * AT_ONCE, [share * AT_ONCE])


def test_parts_follow_one_another_and_what_is_not_there_is_in_none() -> None:
    parts = in_parts(batch_of(POINTS), 3)
    assert [len(part.actions) for part in parts] == [4, 4, 3]
    assert torch.equal(torch.cat([part.returns for part in parts]), batch_of(POINTS).returns)
    assert all(part.return_to_go is None for part in parts)


def test_losses_are_told_the_aims_of_all_rows_in_their_order() -> None:
    weight = torch.ones((), requires_grad=True)
    other = torch.ones((), requires_grad=True)
    found = learn(
        crew_for(torch.zeros(B, S)),
        [[lambda: torch.tensor([5.0])],
         [lambda: torch.tensor([1.0]), lambda: torch.tensor([2.0])]],
        lambda aim: [lambda: (3.0 * weight, {'a': weight.detach()}),
                     lambda: ((aim(1) * torch.tensor([10.0, 1.0])).sum() * other, {})],
        [[], []])
    assert [loss.item() for loss, _ in found] == [3.0, 12.0]
    assert not found[0][0].requires_grad
    assert (weight.grad.item(), other.grad.item()) == (3.0, 12.0)


def test_a_step_follows_its_loss_and_all_before_it() -> None:
    done = []
    weights = [torch.ones((), requires_grad=True) for _ in range(2)]

    def slow() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        time.sleep(0.05)
        done.append('first loss')
        return weights[0] * 1.0, {}

    learn(crew_for(torch.zeros(B, S)), [], lambda aim: [slow, lambda: (weights[1] * 1.0, {})],
          [[lambda: done.append('first step')],
           [lambda: done.append('second step'), lambda: done.append('second step')]])
    assert done[0] == 'first loss'
    assert sorted(done[1:]) == ['first step', 'second step', 'second step']


def test_what_goes_wrong_in_a_part_is_told_without_its_step_and_the_next_update_goes_on() -> None:
    def wrong():
        raise ValueError('a chunk of other width')

    weight, taken = torch.ones((), requires_grad=True), []
    crew = crew_for(torch.zeros(B, S))
    with pytest.raises(ValueError, match='a chunk of other width'):
        learn(crew, [[wrong]], lambda aim: [lambda: (weight * 1.0, {}),
                                            lambda: (aim(0).sum() * weight, {})],
              [[], [lambda: taken.append(1)]])
    assert not taken
    assert learn(crew, [], lambda aim: [lambda: (weight * 2.0, {})], [[]])[0][0].item() == 2.0


def test_steps_of_some_weights_after_another_are_the_step_of_all() -> None:
    torch.manual_seed(0)
    starts, slopes = torch.randn(3, 5), torch.randn(4, 3, 5)
    whole, some = ([one.clone().requires_grad_() for one in starts] for _ in range(2))
    optimizers = [torch.optim.Adam(weights, 0.1, fused=True) for weights in (whole, some)]
    for slope in slopes:
        for weights in (whole, some):
            for weight, gradient in zip(weights, slope, strict=True):
                weight.grad = gradient.clone()
        optimizers[0].step()
        for step in (*steps_of(optimizers[1], some[2:]), *steps_of(optimizers[1], some[:2])):
            step()
    assert all(torch.equal(a, b) for a, b in zip(whole, some, strict=True))
    kept, expected = (one.state_dict()['state'] for one in reversed(optimizers))
    assert sorted(kept) == sorted(expected)
    assert all(torch.equal(kept[at][name], expected[at][name])
               for at in expected for name in expected[at])


def test_steps_are_in_portions_of_so_many_numbers_or_of_one_weight() -> None:
    small, big, done = PORTION // 2, PORTION, []
    weights = [torch.zeros(size) for size in (small, small, small, big, small)]
    for step in steps_of(torch.optim.Adam(weights, fused=True), weights, done.append):
        step()
    assert [[len(one) for one in weights[some]] for some in done] == [
        [small, small], [small], [big], [small]]
