"""What a critic sees of a policy and of the data, and which chunks are chosen, by hand."""

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.training_windows import make_windows
from chunked_vla_ros.training.rl_batches import windows_at, windows_of
from chunked_vla_ros.training.rl_config import critic_horizon
from chunked_vla_ros.training.vla import build_vla
from chunked_vla_ros.training.vla_features import candidates_into, make_features
from chunked_vla_ros.training.vla_observation import (
    critic_chunk,
    critic_observation,
    demonstrated_chunk,
    observation_width,
)


@pytest.fixture(scope='module')
def material(make_material_of):
    return make_material_of()


@pytest.fixture(scope='module')
def vla(material):
    torch.manual_seed(0)
    origin = material.origin
    return build_vla(origin.config.policy, origin.shape, origin.normalisation).eval()


def features_of(material, vla, wanted, tmp_path):
    return make_features(vla, material.rows, material.tokens, material.masks, wanted, tmp_path,
                         torch.device('cpu'), lambda done, total: None)


def test_cached_features_are_what_the_policy_knows_there(material, vla, tmp_path, monkeypatch):
    wanted = np.array([3, 14, 15])
    found = features_of(material, vla, wanted, tmp_path)
    state = torch.from_numpy(material.rows.state[wanted])
    said = material.rows.instruction_of[wanted // 12]
    with torch.no_grad():
        known = vla.observe(
            [torch.from_numpy(material.rows.frames.read(wanted, 0))], state,
            torch.from_numpy(material.tokens[said]), torch.from_numpy(material.masks[said]))
        seen = critic_observation(known, vla.scale.felt(state))
    assert seen.shape == (3, observation_width(vla))
    assert torch.allclose(torch.from_numpy(found.observation[wanted]), seen, atol=1e-6)
    assert torch.allclose(found.context(wanted).tokens, known.tokens, atol=1e-6)
    assert not found.observation[[0, 2, 13]].any()
    # Too large for the memory: in half precision, in a file that has no name.
    monkeypatch.setattr('chunked_vla_ros.training.vla_features.LARGEST_IN_MEMORY', 0)
    mapped = features_of(material, vla, wanted, tmp_path / 'scratch')
    assert isinstance(mapped.tokens, np.memmap)
    assert not list((tmp_path / 'scratch').iterdir())
    assert torch.allclose(mapped.context(wanted).tokens, known.tokens, atol=2e-3, rtol=2e-3)


def test_candidates_are_the_same_whenever_they_are_drawn(material, vla, tmp_path):
    wanted = np.array([3, 14])
    features = features_of(material, vla, wanted, tmp_path)
    drawn = [torch.zeros(36, 2, 3, 2) for _ in range(2)]
    for found in drawn:
        torch.manual_seed(len(drawn))
        candidates_into(found, vla, features, wanted, 2, 7, lambda done, total: None)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0][3, 0], drawn[0][3, 1])
    assert not drawn[0][4].any()


def test_a_demonstrated_chunk_and_the_policys_own_are_in_one_scale(material, vla):
    rows = material.rows
    state = torch.from_numpy(rows.state[[2, 5]])
    targets = torch.from_numpy(rows.action[np.array([[2, 3, 4, 5], [5, 6, 7, 8]])])
    with torch.no_grad():
        own = vla.scale.actions(targets, state)
        shown = demonstrated_chunk(vla.scale, targets[:, :3], state)
        done = critic_chunk(vla.scale, own, state, 3)
    assert shown.shape == (2, 3, 2)
    assert torch.allclose(shown, done, atol=1e-5)
    # A gripper goes no further than demonstrated, nor does anything leave what a critic knows.
    far = critic_chunk(vla.scale, own + 100.0, state, 3)
    assert (far[..., 0] == 5.0).all()
    assert torch.allclose(vla.scale.raw(torch.cat([far, own[:, :1]], dim=1), state)[:, :3, 1],
                          vla.scale.action_max[1].expand(2, 3), atol=1e-4)


def test_the_critic_judges_what_is_executed_before_the_next_answer():
    assert critic_horizon(0, 20, 0.85, 0.05) == 17
    assert critic_horizon(0, 16, 0.85, 0.05) == 16
    assert critic_horizon(5, 20, 0.85, 0.05) == 5
    assert critic_horizon(0, 20, 0.02, 0.05) == 1


def test_a_window_is_found_by_the_row_where_it_begins():
    windows = make_windows([0, 10], [4, 3], 2, 1)
    assert windows_at(windows, np.array([2, 11, 11])).tolist() == [2, 5, 5]
    assert windows_of(windows, np.array([5, 0])).rows.tolist() == [11, 0]
    for row in (5, 13):
        with pytest.raises(ValueError, match='where no window of the policy does'):
            windows_at(windows, np.array([row]))
