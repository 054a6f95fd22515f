"""Rules of the policy network: what it may look at, what it answers, what it learns from."""

import dataclasses

import numpy as np
import pytest
import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.training.batches import Batch
from chunked_vla_ros.training.flow_matching import FlowDraws
from chunked_vla_ros.training.imitation_config import ImitationConfig
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla import ActionScale, build_vla, WAYPOINT_WEIGHT
from chunked_vla_ros.training.vla_config import VlaConfig

HORIZON, LENGTH, SIZE = 4, 5, 32
SHAPE = PolicyShape(
    ('arm', 'hand'), (DimKind.CONTINUOUS, DimKind.BINARY),
    (BundleCamera('front', SIZE, SIZE), BundleCamera('wrist', SIZE, SIZE)),
    HORIZON, 0.05, LENGTH, 10)
CONFIG = VlaConfig(width=16, heads=2, layers=1, expert_layers=1, flow_steps=2)
ONES = np.ones(2)
SCALE = Normalisation(
    state_mean=np.array([1.0, 0.0]), state_std=np.array([2.0, 1.0]),
    action_mean=np.full((HORIZON, 2), 0.5), action_std=np.full((HORIZON, 2), 0.25),
    relative=np.array([True, False]), state_min=-ONES, state_max=ONES, action_min=-ONES,
    action_max=ONES, action_raw_mean=0 * ONES, action_raw_std=ONES)


def made(**config):
    torch.manual_seed(0)
    vla = build_vla(dataclasses.replace(CONFIG, **config), SHAPE, SCALE)
    # Fresh weights answer nothing: the last layer begins at zero.
    torch.nn.init.normal_(vla.expert.out.weight, std=0.5)
    return vla.eval()


@pytest.fixture(scope='module')
def vla():
    """Return a small policy with drawn weights."""
    return made()


def batch(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        {camera.name: torch.randint(0, 256, (count, SIZE, SIZE, 3), generator=generator,
                                    dtype=torch.uint8) for camera in SHAPE.cameras},
        present=torch.ones(count, 2, dtype=torch.bool),
        state=torch.randn(count, 2, generator=generator),
        tokens=torch.randint(2, 10, (count, LENGTH), generator=generator),
        tokens_mask=torch.ones(count, LENGTH, dtype=torch.int64),
        actions=torch.randn(count, HORIZON, 2, generator=generator),
        valid=torch.ones(count, HORIZON, dtype=torch.bool),
        waypoint=torch.randn(count, 2, generator=generator))


def draws(count=3, **config):
    return FlowDraws.draw(torch.Generator().manual_seed(1), count, SHAPE,
                          ImitationConfig(**config))


def flow_loss_of(vla, seen, random):
    return vla(seen, random)[1]['loss_flow']


def answer(vla, seen, **given):
    noise = torch.randn(len(seen), HORIZON, 2, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return vla.sample(list(seen.images.values()), seen.state, seen.tokens,
                          seen.tokens_mask, noise, **given)


def test_scaling_is_relative_to_the_state_where_the_joint_is() -> None:
    scale = ActionScale(SCALE)
    state, actions = torch.tensor([[3.0, 9.0]]), torch.full((1, HORIZON, 2), 4.0)
    # arm: (4 - 3 - 0.5) / 0.25; hand, absolute: (4 - 0.5) / 0.25
    assert scale.actions(actions, state)[0, 0].tolist() == [2.0, 14.0]
    raw = scale.raw(scale.actions(actions, state), state)
    # The arm comes back as it was; the hand stays within the 1 that was demonstrated.
    assert raw[0, 0].tolist() == [4.0, 1.0]
    assert scale.state(state)[0].tolist() == [1.0, 9.0]


def test_it_answers_a_chunk_of_joint_targets(vla) -> None:
    assert answer(vla, batch()).shape == (3, HORIZON, 2)


@pytest.mark.parametrize('change', ['state', 'tokens', 'front', 'wrist'])
def test_everything_shown_matters(vla, change: str) -> None:
    seen, other = batch(), batch(seed=9)
    if change in seen.images:
        changed = dataclasses.replace(seen, images={**seen.images, change: other.images[change]})
    else:
        changed = dataclasses.replace(seen, **{change: getattr(other, change)})
    assert not torch.allclose(answer(vla, seen), answer(vla, changed))


def test_padding_of_the_instruction_says_nothing(vla) -> None:
    seen = batch()
    seen.tokens_mask[:, 3:] = 0
    padded = dataclasses.replace(seen, tokens=seen.tokens.clone())
    padded.tokens[:, 3:] = 7
    assert torch.allclose(answer(vla, seen), answer(vla, padded))


def test_an_absent_camera_is_not_looked_at(vla) -> None:
    seen, other = batch(), batch(seed=9)
    blind = torch.tensor([[True, False]]).repeat(3, 1)
    changed = dataclasses.replace(
        seen, images={**seen.images, 'wrist': other.images['wrist']})
    assert torch.allclose(
        answer(vla, seen, present=blind), answer(vla, changed, present=blind))


def test_without_instruction_and_cameras_it_still_answers_finite_numbers(vla) -> None:
    seen = batch()
    seen.tokens_mask[:] = 0
    dark = torch.zeros(3, 2, dtype=torch.bool)
    assert torch.isfinite(answer(vla, seen, present=dark)).all()


def test_committed_points_are_kept_and_change_what_follows(vla) -> None:
    seen = batch()
    prefix = torch.full((3, HORIZON, 2), 0.7)
    mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).repeat(3, 1)
    told = answer(vla, seen, prefix=prefix, prefix_mask=mask)
    assert torch.equal(told[:, :2], prefix[:, :2])
    other = answer(vla, seen, prefix=-prefix, prefix_mask=mask)
    assert not torch.allclose(told[:, 2:], other[:, 2:])


def test_an_empty_prefix_changes_nothing(vla) -> None:
    seen = batch()
    told = answer(vla, seen, prefix=torch.full((3, HORIZON, 2), 9.9),
                  prefix_mask=torch.zeros(3, HORIZON))
    assert torch.allclose(told, answer(vla, seen), atol=1e-6)


def test_padding_at_the_end_of_an_episode_does_not_enter_the_loss(vla) -> None:
    seen = batch()
    seen.valid[:, 2:] = False
    wrong = dataclasses.replace(seen, actions=seen.actions.clone())
    wrong.actions[:, 2:] = 1e4
    # Points see each other: what is past the end is only noise at time 0.
    early = dataclasses.replace(draws(), time=torch.zeros(3, 4))
    assert torch.allclose(flow_loss_of(vla, seen, early), flow_loss_of(vla, wrong, early))


def test_a_committed_prefix_does_not_enter_the_loss(vla) -> None:
    delayed = draws(max_delay_steps=1)
    whole = dataclasses.replace(delayed, delay=torch.full_like(delayed.delay, HORIZON))
    assert flow_loss_of(vla, batch(), whole) == 0.0


def test_a_delay_of_nothing_is_no_delay(vla) -> None:
    none = draws(max_delay_steps=1)
    none = dataclasses.replace(none, delay=torch.zeros_like(none.delay))
    assert torch.allclose(flow_loss_of(vla, batch(), none), flow_loss_of(
        vla, batch(), dataclasses.replace(none, delay=None)))


def test_the_loss_of_fresh_weights_is_the_spread_of_noise_and_action() -> None:
    torch.manual_seed(0)
    fresh = build_vla(CONFIG, SHAPE, SCALE)
    seen, random = batch(), draws()
    aim = fresh.scale.actions(seen.actions, seen.state)[:, None] - random.noise
    assert torch.allclose(flow_loss_of(fresh, seen, random), aim.square().mean())


def test_the_loss_tells_each_joints_share(vla) -> None:
    loss, numbers = vla(batch(), draws())
    assert numbers['loss'] == loss.detach()
    assert torch.allclose(
        loss.detach(), numbers['loss_flow'] + WAYPOINT_WEIGHT * numbers['loss_waypoint'])
    each = torch.stack([numbers['loss/arm'], numbers['loss/hand']])
    assert torch.allclose(each.mean(), numbers['loss_flow'])


def test_where_it_is_heading_is_seen_and_not_felt(vla) -> None:
    seen, other = batch(), batch(seed=9)
    heading = vla(seen, draws())[1]['loss_waypoint']
    felt = dataclasses.replace(seen, state=other.state, actions=other.actions)
    assert vla(felt, draws())[1]['loss_waypoint'] == heading
    shown = dataclasses.replace(seen, images=other.images)
    assert vla(shown, draws())[1]['loss_waypoint'] != heading


def test_joints_that_are_withheld_do_not_matter_but_as_the_origin(vla) -> None:
    still = Normalisation(**{**vars(SCALE), 'relative': np.array([False, False])})
    torch.manual_seed(0)
    absolute = build_vla(CONFIG, SHAPE, still)
    torch.nn.init.normal_(absolute.expert.out.weight, std=0.5)
    seen = batch()
    moved = dataclasses.replace(seen, state=batch(seed=9).state)
    assert torch.equal(flow_loss_of(absolute, seen, draws(state_dropout=1.0)),
                       flow_loss_of(absolute, moved, draws(state_dropout=1.0)))
    assert not torch.equal(flow_loss_of(absolute, seen, draws()),
                           flow_loss_of(absolute, moved, draws()))


def test_every_weight_learns() -> None:
    vla = made().train()
    # Conditioning begins at nothing, so that its inputs learn from the second step only.
    for module in vla.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.any():
            torch.nn.init.normal_(module.weight, std=0.1)
    vla(batch(), draws())[0].backward()
    idle = [name for name, weight in vla.named_parameters()
            if weight.grad is None or not weight.grad.any()]
    assert idle == []


def test_it_learns_one_batch_by_heart() -> None:
    vla, seen = made().train(), batch(count=2)
    optimizer = torch.optim.Adam(vla.parameters(), lr=3e-3)
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(40):
        loss, _ = vla(seen, FlowDraws.draw(generator, 2, SHAPE, ImitationConfig()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_the_default_network_is_small() -> None:
    shape = dataclasses.replace(SHAPE, horizon=16, vocabulary=200)
    vla = build_vla(VlaConfig(), shape, dataclasses.replace(
        SCALE, action_mean=np.zeros((16, 2)), action_std=np.ones((16, 2))))
    assert sum(weight.numel() for weight in vla.parameters()) <= 2_500_000


def test_a_width_that_heads_do_not_divide_is_said() -> None:
    with pytest.raises(ValueError, match='width is 16, expected a multiple of heads 3'):
        made(heads=3)
