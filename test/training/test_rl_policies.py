"""How a policy climbs a critic and stays near what counts; which chunks stand for it meanwhile."""

import numpy as np
import pytest
import torch

from chunked_vla_ros.training.chunk_policies import ChunkStart
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.rl_image_batches import of_policy
from chunked_vla_ros.training.rl_moving import policy_to_learn
from chunked_vla_ros.training.rl_phases import critic_phase
from chunked_vla_ros.training.rl_policies import Climbing, make_critic
from chunked_vla_ros.training.rl_policy_chunks import PolicyChunks
from chunked_vla_ros.training.rl_selection import Selection

RL = {'method': 'co_rft', 'steps': 9, 'batch_size': 8, 'seed': 5, 'rl': {
    'horizon': 3, 'critic_steps': 3, 'critic_width': 16, 'critic_layers': 1, 'critic_heads': 2,
    'candidates': 2, 'candidate_steps': 2, 'redraw_every': 2}}


class Scene:
    """A policy that is about to learn, its critic, and a batch of both."""

    def __init__(self, material, scratch):
        self.material, self.config = material, material.origin.config
        torch.manual_seed(0)
        self.ground = Ground(material, torch.device('cpu'), lambda standing: None, scratch)
        self.vla = policy_to_learn(material.rl.start.policy, self.config)
        self.chunks = PolicyChunks(material, self.ground, lambda standing: None)
        self.chunks.draw_first()
        self.critic = make_critic(self.config, self.ground)
        self.loss = Climbing(self.config, self.vla, self.critic, self.ground)
        phase = critic_phase(
            material, self.ground.features, self.vla.scale, self.config.steps, True, 0)
        self.batch = phase.loader.batch(phase.order.indices(0))
        self.rows = material.rl.each.rows

    def numbers(self, seed=0):
        return self.loss(self.batch, torch.Generator().manual_seed(seed))[1]

    def choose(self, weights):
        self.loss.choose(Selection(self.rows, weights.astype(np.float32)))


@pytest.fixture
def scene_of(rl_material_of, tmp_path):
    return lambda *overrides: Scene(rl_material_of(RL, *overrides), tmp_path)


@pytest.mark.parametrize('overrides', [
    (), ('rl.features=live',), ('rl.features=stopped',), ('rl.head=deterministic',),
    ('rl.head=deterministic', 'rl.features=live'), ('method=qc_fql', 'policy.flow_steps=1')])
def test_a_policy_climbs_and_no_critic_learns_of_it(scene_of, overrides) -> None:
    scene = scene_of('rl.bc_weight=0', 'rl.alpha=0', *overrides)
    optimizer = torch.optim.SGD([weight for weight in scene.vla.parameters()
                                 if weight.requires_grad], 0.01)
    found = []
    for _ in range(6):
        loss, numbers = scene.loss(scene.batch, torch.Generator().manual_seed(0))
        found.append(float(numbers['actor/q']))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found[-1] > found[0] + 1e-5
    assert all(weight.grad is None for weight in scene.critic.parameters())


@pytest.mark.parametrize('features', ['cached', 'live'])
def test_where_no_chunk_of_a_batch_counts_nothing_is_cloned(scene_of, features) -> None:
    scene = scene_of(f'rl.features={features}')
    assert scene.numbers()['actor/bc_loss'] > 0.0
    scene.choose(np.zeros(len(scene.rows)))
    assert scene.numbers()['actor/bc_loss'] == 0.0


def test_chunks_are_cloned_as_often_as_they_weigh(scene_of) -> None:
    # One number a chunk, whatever is drawn.
    scene = scene_of('rl.head=deterministic', 'imitation.max_delay_steps=0')
    here, one = scene.batch.rows[scene.batch.window.valid.all(dim=1)], []
    assert len(set(scene.batch.rows.tolist())) == 8
    for row in (here[0], here[1]):
        scene.choose((scene.rows == int(row)) * 1.0)
        one.append(float(scene.numbers()['actor/bc_loss']))
    scene.choose((scene.rows == int(here[0])) * 3.0 + (scene.rows == int(here[1])) * 1.0)
    found = np.mean([float(scene.numbers(seed)['actor/bc_loss']) for seed in range(200)])
    # Both have all points. 1600 draws: three standard deviations of the share are 0.033.
    share = (found - one[1]) / (one[0] - one[1])
    assert abs(share - 0.75) < 0.033


def test_a_distilled_policy_imitates_what_it_began_at_from_the_same_noise(scene_of) -> None:
    scene = scene_of('method=qc_fql', 'policy.flow_steps=1')
    with torch.no_grad():
        for weight in scene.vla.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn(weight.shape)
        window = of_policy(scene.batch)
        start = ChunkStart.draw(torch.Generator().manual_seed(7), scene.config, window)
        missed = (start.chunk(scene.vla, window.known, 1)
                  - start.chunk(scene.ground.frozen, window.known, 2))
    found = float(scene.numbers(7)['actor/distillation_loss'])
    assert found == pytest.approx(float(missed.square().mean()), rel=1e-5)
    assert found > 1e-3


def test_the_first_chunks_are_the_policys_as_it_acts(scene_of) -> None:
    still = scene_of('rl.head=deterministic').ground.cache.chunks
    assert still.any()
    assert torch.equal(still[:, 0], still[:, 1])
    drawn = scene_of().ground.cache.chunks
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


@pytest.mark.parametrize('features', ['cached', 'live', 'stopped'])
def test_chunks_are_drawn_anew_while_the_policy_moves_and_not_before(
        scene_of, features) -> None:
    scene = scene_of(f'rl.features={features}', 'rl.head=deterministic')
    # What it makes of a picture alone, and nothing of what was cached.
    with torch.no_grad():
        for weight in (*scene.vla.backbone.parameters(), *scene.vla.layers.parameters()):
            weight += 0.1 * torch.randn(weight.shape)
    begun, changed = scene.ground.cache.chunks.clone(), []
    seen, looked = scene.ground.observations.clone(), []
    for step in range(9):
        scene.chunks.draw_anew(scene.vla, step)
        if not torch.equal(scene.ground.observations, seen):
            looked.append(step)
            scene.ground.observations.copy_(seen)
        if not torch.equal(scene.ground.cache.chunks, begun):
            changed.append(step)
            scene.ground.cache.chunks.copy_(begun)
    # Three steps of the critic alone, then every second one.
    assert changed == ([] if features == 'cached' else [5, 7])
    # What the critic is shown, too: of stopped features alone.
    assert looked == ([5, 7] if features == 'stopped' else [])


def test_a_critic_and_who_climbs_it_see_what_the_policy_knew_last(scene_of) -> None:
    scene = scene_of('rl.features=stopped', 'rl.bc_weight=0')
    judged, policys = [], []
    for scale in (1.0, 2.0):
        scene.ground.observations.mul_(scale)
        drawn = torch.Generator().manual_seed(0)
        judged.append(scene.critic.loss(scene.batch.of_critic, drawn)[0].item())
        policys.append(float(scene.numbers()['actor/q']))
    assert judged[0] != judged[1]
    assert policys[0] != policys[1]


def test_chunks_that_were_read_are_not_drawn_over(scene_of) -> None:
    scene = scene_of()
    scene.ground.cache.chunks.zero_()
    again = PolicyChunks(scene.material, scene.ground, lambda standing: None)
    again.were_read()
    again.draw_first()
    assert not scene.ground.cache.chunks.any()
