"""Chunks with pictures: the same rows for critic and policy, and features looked at anew."""

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, Trajectories
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.training.rl_batches import ChunkLoader, windows_at, windows_of
from chunked_vla_ros.training.rl_image_batches import (
    LiveFeatures,
    of_critic,
    of_policy,
    SeenChunkLoader,
    SeenChunks,
    tensors_of,
    windows_with_pictures,
)
from chunked_vla_ros.training.vla import build_vla
from chunked_vla_ros.training.vla_features import make_features
from chunked_vla_ros.training.vla_observation import critic_observation

EPISODES, LENGTH = 3, 12


@pytest.fixture(scope='module')
def material(make_material_of):
    return make_material_of()


@pytest.fixture
def vla(material):
    torch.manual_seed(0)
    origin = material.origin
    return build_vla(origin.config.policy, origin.shape, origin.normalisation).eval()


@pytest.fixture
def features(material, vla, tmp_path):
    return make_features(
        vla, material.rows, material.tokens, material.masks, np.arange(EPISODES * LENGTH),
        tmp_path, torch.device('cpu'), lambda done, total: None)


@pytest.fixture
def loader(material, vla, features) -> SeenChunkLoader:
    rows, config = material.rows, material.origin.config
    starts = np.arange(EPISODES) * LENGTH
    transitions = ChunkTransitions(Trajectories(
        np.zeros(EPISODES * LENGTH), np.zeros(EPISODES * LENGTH, bool), starts,
        np.full(EPISODES, LENGTH)), 3, 0.9)
    every = rows.windows(config.horizon, config.step_s, np.arange(EPISODES))
    windows = windows_of(every, windows_at(every, transitions.rows))
    return SeenChunkLoader(
        ChunkLoader(rows, transitions, features, vla.scale),
        windows_with_pictures(material, windows, workers=1))


def test_critic_and_policy_are_shown_the_same_rows(material, loader) -> None:
    which = np.array([5, 0, 17])
    batch, rows = loader.batch(which), loader.rows(which)
    assert isinstance(batch, SeenChunks)
    assert of_critic(batch).rows.tolist() == rows.tolist()
    seen = of_policy(batch)
    assert np.array_equal(seen.state, material.rows.state[rows])
    assert np.array_equal(seen.images['front'], material.rows.frames.read(rows, 0))
    # The critic's chunk is the beginning of the policy's.
    assert seen.actions.shape == (3, 4, 2)
    assert of_critic(batch).chunks.actions.shape == (3, 3, 2)


def test_what_was_read_ahead_is_what_the_order_says(loader) -> None:
    order = WindowOrder(len(loader.rows(np.arange(20))), 4, 0)
    with loader.steps(order, 2, 5) as stream:
        read = [batch.of_critic.rows.tolist() for batch in stream]
    assert read == [loader.rows(order.indices(step)).tolist() for step in (2, 3, 4)]


def test_a_file_has_all_of_a_batch_and_nothing_twice(loader) -> None:
    batch = loader.batch(np.array([1, 2]))
    named = tensors_of(batch)
    assert {'rows', 'next_rows', 'actions', 'returns', 'seen.actions', 'seen.state',
            'seen.tokens', 'seen.image.front'} <= named.keys()
    assert named['actions'].shape != named['seen.actions'].shape
    assert len(named) == len(tensors_of(batch.of_critic)) + len(tensors_of(batch.seen))


def test_live_features_are_those_of_the_network_as_it_is_now(material, vla, features) -> None:
    live, rows = LiveFeatures.of(vla, material, features), np.array([30, 2, 14])
    with torch.no_grad():
        known, cached = live.context(rows), features.context(rows)
        torch.testing.assert_close(known.tokens, cached.tokens, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(known.goals, cached.goals, atol=1e-5, rtol=1e-5)
        for weight in vla.backbone.parameters():
            weight += 0.1
        assert not torch.allclose(live.context(rows).tokens, cached.tokens, atol=1e-3)
        seen = critic_observation(live.context(rows[:2]), vla.scale.felt(
            torch.from_numpy(material.rows.state[rows[:2]])))
    assert np.array_equal(live.observation[rows[:2]], seen.numpy())
    assert not np.allclose(live.observation[rows], features.observation[rows], atol=1e-3)
    assert not np.delete(live.observation, rows, axis=0).any()
    assert features.observation[0].any()
