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
from chunked_vla_ros.training.waypoint_heads import UNDER_WAY_WEIGHT

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
        waypoint=torch.randn(count, 2, generator=generator),
        begun=torch.tensor([True, False, True]).repeat(-(-count // 3))[:count])


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


@pytest.mark.parametrize('time', [0.0, 0.5, 1.0])
def test_padding_at_the_end_of_an_episode_is_neither_counted_nor_seen(vla, time: float) -> None:
    seen = batch()
    seen.valid[0, 1:] = False
    seen.valid[1:, 2:] = False
    wrong = dataclasses.replace(seen, actions=seen.actions.clone())
    # Half way it would show in what the other points look at.
    wrong.actions[0, 1:], wrong.actions[1:, 2:] = 9.0, -7.0
    at = dataclasses.replace(draws(), time=torch.full((3, 4), time))
    assert torch.equal(flow_loss_of(vla, seen, at), flow_loss_of(vla, wrong, at))
    for joint in ('arm', 'hand'):
        assert torch.equal(vla(seen, at)[1][f'loss/{joint}'], vla(wrong, at)[1][f'loss/{joint}'])


def test_points_inside_the_episode_see_each_other(vla) -> None:
    seen, half = batch(), dataclasses.replace(draws(), time=torch.full((3, 4), 0.5))
    looked, velocity = vla.expert.look, []
    known = torch.ones(3, 6, 16), torch.ones(3, 6, dtype=torch.bool)
    for last in (0.0, 3.0):
        noisy = half.noise.clone()
        noisy[:, :, 2] = last
        velocity.append(vla.expert(noisy, half.time[..., None], torch.zeros(3, 2), known[0][:, 0],
                                   looked(known[0]), known[1], seen.valid))
    assert not torch.allclose(velocity[0][:, :, 0], velocity[1][:, :, 0])


def test_a_gripper_is_shut_to_the_heads_from_a_quarter_of_its_range() -> None:
    # Told 0 to 0.8: a wide thing stops the fingers at 0.3, a narrow one at 0.45.
    scale = ActionScale(dataclasses.replace(
        SCALE, action_min=np.array([0.0, 0.0]), action_max=np.array([1.0, 0.8])))
    state = torch.tensor([[0.1, 0.0], [0.2, 0.19], [0.3, 0.3], [0.4, 0.45]])
    shut = scale.shut(scale.state(state))
    assert torch.equal(shut[:, 0], scale.state(state)[:, 0])
    assert shut[:, 1].tolist() == [-1.0, -1.0, 1.0, 1.0]


def test_a_goal_is_told_in_the_scale_of_the_last_target() -> None:
    torch.manual_seed(0)
    scale = build_vla(CONFIG, SHAPE, SCALE).scale
    state, pose = torch.tensor([[0.5, 0.25]]), torch.tensor([[0.75, 1.0]])
    # A chunk that ends at the pose, and is told of it twice.
    actions = pose[:, None].expand(1, HORIZON, 2)
    goals = scale.goals([scale.state(pose)] * 2, scale.felt(state))
    assert torch.allclose(goals, scale.actions(actions, state)[:, -1].repeat(1, 2))


def test_noise_may_be_left_out_where_one_plan_is_wanted() -> None:
    seen, noise = batch(), torch.randn(3, HORIZON, 2)
    images = list(seen.images.values())

    def plan(scale: float, drawn: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return made(noise_scale=scale).sample(
                images, seen.state, seen.tokens, seen.tokens_mask, drawn)
    assert torch.equal(plan(0.0, noise), plan(1.0, torch.zeros_like(noise)))
    assert torch.equal(plan(0.5, noise), plan(1.0, noise / 2))
    assert not torch.equal(plan(1.0, noise), plan(0.0, noise))


def test_a_committed_prefix_does_not_enter_the_loss(vla) -> None:
    delayed = draws(max_delay_steps=1)
    whole = dataclasses.replace(delayed, delay=torch.full_like(delayed.delay, HORIZON))
    assert flow_loss_of(vla, batch(), whole) == 0.0


def test_of_a_delay_of_one_the_first_point_is_given_clean_and_not_counted() -> None:
    # Fresh weights answer nothing: each counted error is the way from noise to action.
    torch.manual_seed(0)
    fresh = build_vla(CONFIG, SHAPE, SCALE)
    seen, one = batch(), draws(max_delay_steps=1)
    one = dataclasses.replace(one, delay=torch.ones_like(one.delay))
    way = fresh.scale.actions(seen.actions, seen.state)[:, None] - one.noise
    assert torch.allclose(flow_loss_of(fresh, seen, one), way[:, :, 1:].square().mean())


def test_a_committed_point_is_seen_without_noise(vla) -> None:
    one = draws(max_delay_steps=1)
    one = dataclasses.replace(one, delay=torch.ones_like(one.delay))
    noisier = dataclasses.replace(one, noise=one.noise.clone())
    noisier.noise[:, :, 0] += 5.0
    assert torch.equal(flow_loss_of(vla, batch(), one), flow_loss_of(vla, batch(), noisier))
    other = batch()
    other.actions[:, 0] += 5.0
    assert not torch.equal(flow_loss_of(vla, batch(), one), flow_loss_of(vla, other, one))


def test_a_camera_is_left_of_those_that_the_episode_has(vla) -> None:
    seen, other, random = batch(), batch(seed=9), draws()
    seen.present[:, 0] = False
    # The one that was spared is not there.
    spared = dataclasses.replace(random, keep_camera=torch.tensor([[True, False]]).repeat(3, 1))
    changed = dataclasses.replace(seen, images={**seen.images, 'wrist': other.images['wrist']})
    assert vla(seen, spared)[0] != vla(changed, spared)[0]
    assert vla(seen, spared)[0] == vla(seen, random)[0]
    absent = dataclasses.replace(seen, images={**seen.images, 'front': other.images['front']})
    assert vla(seen, spared)[0] == vla(absent, spared)[0]


def test_a_joint_is_felt_no_further_out_than_five_spreads_or_than_it_was_shown() -> None:
    scale = ActionScale(dataclasses.replace(
        SCALE, state_mean=np.zeros(2), state_std=np.array([0.01, 0.1]),
        state_min=np.array([-0.02, 0.0]), state_max=np.array([0.02, 0.9])))
    felt = scale.felt(torch.tensor([[0.03, 0.3], [0.2, 0.9], [-0.2, 2.0], [9.0, -2.0]]))
    assert felt.flatten().tolist() == pytest.approx([3, 3, 5, 9, -5, 9, 5, -5])


def test_a_joint_far_from_where_it_was_shown_is_felt_as_at_the_edge(vla) -> None:
    # Mean 1 and spread 2: from 11 on. What is relative comes out relative to the true state.
    seen = batch()
    seen.state[:] = torch.tensor([11.0, 0.0])
    far = dataclasses.replace(seen, state=seen.state + torch.tensor([100.0, 0.0]))
    moved = answer(vla, far) - answer(vla, seen)
    assert torch.allclose(moved[..., 0], torch.tensor(100.0), atol=1e-4)
    assert torch.equal(moved[..., 1], torch.zeros(3, HORIZON))
    # In training as well; the hand's targets are absolute, its edge is 5.
    seen.state[:, 1], far = 5.0, dataclasses.replace(seen, state=torch.tensor([[11.0, 99.0]] * 3))
    assert torch.equal(flow_loss_of(vla, far, draws()), flow_loss_of(vla, seen, draws()))
    near = dataclasses.replace(seen, state=torch.tensor([[11.0, -4.0]] * 3))
    assert not torch.equal(flow_loss_of(vla, near, draws()), flow_loss_of(vla, seen, draws()))


def test_what_a_joint_may_feel_like_is_no_part_of_the_weights(vla) -> None:
    assert not any('felt' in name for name in vla.state_dict())


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


@pytest.mark.parametrize('change', ['images', 'tokens', 'state'])
def test_where_it_is_heading_is_seen_told_and_felt(vla, change: str) -> None:
    seen, other = batch(), batch(seed=9)
    heading = vla(seen, draws())[1]['loss_waypoint']
    changed = dataclasses.replace(seen, **{change: getattr(other, change)})
    assert vla(changed, draws())[1]['loss_waypoint'] != heading


def test_where_it_is_heading_counts_most_where_the_motion_has_only_begun(vla) -> None:
    seen = batch()
    begun, under_way = (
        vla(dataclasses.replace(seen, begun=torch.full((3,), begun)), draws())[1]['loss_waypoint']
        for begun in (True, False))
    assert torch.allclose(under_way, UNDER_WAY_WEIGHT * begun)


def test_actions_do_not_teach_what_places_to_look_for(vla) -> None:
    seen, questions = batch(), vla.backbone.colours[0].questions.weight
    vla.zero_grad()
    known = vla._context(
        [pixels.float() / 255.0 for pixels in seen.images.values()], seen.present,
        vla.scale.felt(seen.state), seen.tokens, seen.tokens_mask.bool(),
        vla.scale.felt(seen.state))
    known.tokens.sum().backward(retain_graph=True)
    assert questions.grad is None
    known.waypoints[0].sum().backward()
    assert questions.grad.abs().sum() > 0
    vla.zero_grad()


def test_a_blurred_joint_is_blurred_wherever_it_is_told(vla) -> None:
    moved = torch.tensor([0.75, 0.0])    # the arm; what it does from there is the same
    seen, random = batch(), draws(state_blur=0.1, gripper_blur=0.1)
    elsewhere = dataclasses.replace(
        seen, state=seen.state + moved, actions=seen.actions + moved)
    undone = dataclasses.replace(random, state_blur=random.state_blur - moved)
    loss, same = (vla(*each)[0] for each in ((seen, random), (elsewhere, undone)))
    assert torch.isclose(loss, same, rtol=1e-5)
    assert not torch.isclose(loss, vla(elsewhere, random)[0], rtol=1e-5)


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
