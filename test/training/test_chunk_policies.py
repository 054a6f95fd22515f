"""What a policy does and misses at the rows of a batch: by either head, cached or seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from chunked_vla_ros.core.training_windows import Windows
from chunked_vla_ros.training.batches import Batch, WindowLoader
from chunked_vla_ros.training.chunk_policies import (
    ChunkStart,
    draws_of_head,
    imitation_loss,
    known_at,
    some_of,
)
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.flow_matching import FlowDraws
from chunked_vla_ros.training.rl_batches import FlowBatch, FlowLoader
from chunked_vla_ros.training.rl_config import CO_RFT, DETERMINISTIC, FLOW, RlConfig
from chunked_vla_ros.training.step_draws import step_generator
from chunked_vla_ros.training.vla import build_vla
from chunked_vla_ros.training.vla_features import make_features

# Of the first and the last episode; the last window reaches past its end.
ROWS, ENDS = np.array([0, 3, 30, 34]), np.array([12, 12, 36, 36])
PLAIN = ('imitation.max_delay_steps=0', 'imitation.state_noise=0', 'augmentation.shift_px=0',
         'imitation.camera_dropout=0', 'imitation.instruction_dropout=0',
         *(f'augmentation.{name}=0' for name in (
             'brightness', 'contrast', 'saturation', 'channels')))
ONE_ANSWER = ('policy.flow_steps=1', 'policy.noise_scale=0')


@pytest.fixture(scope='module')
def material(make_material_of):
    return make_material_of(*PLAIN)


@pytest.fixture
def vla(material):
    torch.manual_seed(0)
    origin = material.origin
    vla = build_vla(origin.config.policy, origin.shape, origin.normalisation)
    # A fresh one answers 0 whatever it sees.
    nn.init.normal_(vla.expert.out.weight)
    for layer in vla.expert.layers:
        nn.init.normal_(layer.modulation.weight, std=0.1)
    return vla


@pytest.fixture
def pictures(material) -> Batch:
    return WindowLoader(
        material.rows, Windows(ROWS, ENDS, 1, 4), material.tokens, material.masks,
        material.headings).batch(np.arange(4))


@pytest.fixture
def cached(material, vla, tmp_path) -> FlowBatch:
    features = make_features(vla, material.rows, material.tokens, material.masks, ROWS, tmp_path,
                             torch.device('cpu'), lambda done, total: None)
    return FlowLoader(material.rows, Windows(ROWS, ENDS, 1, 4), features).batch(np.arange(4))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def with_head(make_material_of) -> TrainConfig:
    """Return a configuration with a deterministic head."""
    return replace(
        make_material_of(*PLAIN, *ONE_ANSWER).origin.config, method=CO_RFT,
        rl=RlConfig(head=DETERMINISTIC, horizon=3, critic_steps=1))


def test_from_pictures_as_much_is_known_as_was_cached_and_it_can_be_learnt(
        vla, pictures, cached) -> None:
    known = known_at(vla, pictures)
    torch.testing.assert_close(known.tokens, known_at(vla, cached).tokens, atol=1e-5, rtol=1e-5)
    known.tokens.sum().backward()
    assert any(weight.grad is not None and bool(weight.grad.any())
               for weight in vla.backbone.parameters())


@pytest.mark.parametrize('kind', ['pictures', 'cached'])
def test_a_deterministic_head_is_cloned_by_the_squared_error_of_the_chunk_it_does(
        make_material_of, vla, request, kind) -> None:
    batch, config = request.getfixturevalue(kind), with_head(make_material_of)
    batch = some_of(batch, torch.arange(3))    # all of whose points there are
    with torch.no_grad():
        start = ChunkStart.draw(generator(), config, batch)
        done = start.chunk(vla, known_at(vla, batch), config.policy.flow_steps)
        wanted = vla.scale.actions(batch.actions, batch.state)
        loss, parts = imitation_loss(config, vla, batch, generator())
    assert float(parts['loss_flow']) == pytest.approx(
        float((done - wanted).square().mean()), rel=1e-4)
    # From pictures the waypoint heads learn on.
    assert (float(loss) > float(parts['loss_flow'])) is (kind == 'pictures')


def test_a_deterministic_head_answers_the_same_whatever_is_drawn(
        make_material_of, vla, cached) -> None:
    config = with_head(make_material_of)
    first, second = (ChunkStart.draw(torch.Generator().manual_seed(seed), config, cached).chunk(
        vla, cached.known, 1) for seed in (1, 2))
    assert torch.equal(first, second)
    assert first.abs().sum() > 0.0


def test_a_flow_keeps_its_draws_and_a_deterministic_head_one_without_noise(material) -> None:
    origin = material.origin
    draws = FlowDraws.draw(generator(), 3, origin.shape, origin.config.imitation)
    assert draws_of_head(draws, FLOW) is draws
    still = draws_of_head(draws, DETERMINISTIC)
    assert still.noise.shape == (3, 1, 4, 2)
    assert still.time.shape == (3, 1)
    assert not still.noise.any()
    assert not still.time.any()


def test_a_chunk_goes_on_from_what_is_committed(make_material_of, vla, cached) -> None:
    config = make_material_of('imitation.max_delay_steps=2').origin.config
    start = ChunkStart.draw(step_generator(0, 1), config, cached)
    lengths = start.committed.sum(dim=1)
    assert set(lengths.tolist()) == {0.0, 1.0, 2.0}
    assert (start.committed.diff(dim=1) <= 0.0).all()    # from the front on
    chunk = start.chunk(vla, cached.known, 2)
    wanted = vla.scale.actions(cached.actions, cached.state)
    given = start.committed.bool()
    torch.testing.assert_close(chunk[given], wanted[given])
    assert not torch.isclose(chunk[~given], wanted[~given]).all(dim=-1).any()


def test_a_policy_that_takes_no_prefix_is_given_none(material, cached) -> None:
    assert ChunkStart.draw(generator(), material.origin.config, cached).committed is None


@pytest.mark.parametrize('kind', ['pictures', 'cached'])
def test_some_windows_of_a_batch_are_those_alone(request, kind) -> None:
    batch = request.getfixturevalue(kind)
    some = some_of(batch, torch.tensor([2, 0, 2]))
    for name in ('state', 'actions', 'valid'):
        assert torch.equal(getattr(some, name), getattr(batch, name)[[2, 0, 2]])
    if kind == 'pictures':
        assert torch.equal(some.images['front'], batch.images['front'][[2, 0, 2]])
    else:
        assert torch.equal(some.known.tokens, batch.known.tokens[[2, 0, 2]])
        assert torch.equal(some.rows, batch.rows[[2, 0, 2]])
