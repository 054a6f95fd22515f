"""Rules of the prefix critic: one value per prefix, none of which sees what comes after it."""

import pytest
import torch

from chunked_vla_ros.training.prefix_critic import PrefixCritic

STATES, WIDTH, HORIZON, MEMBERS = 3, 2, 4, 2


@pytest.fixture
def critic() -> PrefixCritic:
    torch.manual_seed(0)
    return PrefixCritic(STATES, WIDTH, HORIZON, MEMBERS, width=16, layers=2, heads=2)


@pytest.fixture
def observation() -> torch.Tensor:
    return torch.randn(5, STATES, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def chunk() -> torch.Tensor:
    return torch.randn(5, HORIZON, WIDTH, generator=torch.Generator().manual_seed(2))


def smaller(critic: PrefixCritic, members: slice, points: int) -> PrefixCritic:
    """Return a critic with some members' weights that knows the first points only."""
    one = PrefixCritic(STATES, WIDTH, points, members.stop - members.start,
                       width=16, layers=2, heads=2)
    weights = {name: weight[members] for name, weight in critic.state_dict().items()}
    weights['places'] = weights['places'][:, :, :points + 1]
    one.load_state_dict(weights)
    return one


def test_there_is_a_value_of_each_prefix_by_each_member(critic, observation, chunk) -> None:
    assert critic(observation, chunk).shape == (MEMBERS, 5, HORIZON)


@pytest.mark.parametrize('point', range(HORIZON))
def test_a_prefix_is_valued_without_the_points_after_it(
        critic, observation, chunk, point) -> None:
    other = chunk.clone()
    other[:, point] += 1.0
    before, after = critic(observation, chunk), critic(observation, other)
    assert torch.equal(before[..., :point], after[..., :point])
    assert ((before - after).abs()[..., point:] > 1e-4).all()


@pytest.mark.parametrize('points', range(1, HORIZON + 1))
def test_a_prefix_is_worth_what_a_critic_of_that_prefix_alone_says(
        critic, observation, chunk, points) -> None:
    alone = smaller(critic, slice(0, MEMBERS), points)(observation, chunk[:, :points])
    torch.testing.assert_close(critic(observation, chunk)[..., points - 1], alone[..., -1])


def test_members_side_by_side_say_what_each_says_alone(critic, observation, chunk) -> None:
    both = critic(observation, chunk)
    for member in range(MEMBERS):
        alone = smaller(critic, slice(member, member + 1), HORIZON)(observation, chunk)
        torch.testing.assert_close(both[member], alone[0])
    assert not torch.allclose(both[0], both[1], atol=1e-3)


def test_every_value_depends_on_the_state(critic, observation, chunk) -> None:
    moved = critic(observation + 1.0, chunk)
    assert ((moved - critic(observation, chunk)).abs() > 1e-5).all()


def test_several_chunks_of_a_state_are_valued_as_each_alone(critic, observation, chunk) -> None:
    several = torch.stack([chunk, -chunk, 2.0 * chunk], dim=1)
    values = critic.given(observation)(several)
    assert values.shape == (MEMBERS, 5, 3, HORIZON)
    torch.testing.assert_close(values[:, :, 1], critic(observation, -chunk))


def test_a_critic_that_only_judges_learns_nothing_and_tells_the_chunk(
        critic, observation, chunk) -> None:
    chunk.requires_grad_()
    judged = critic.given(observation, learns=False)(chunk)
    assert torch.equal(judged, critic(observation, chunk))
    judged.sum().backward()
    assert all(weight.grad is None for weight in critic.parameters())
    assert (chunk.grad.abs() > 0.0).all()


def test_a_width_that_its_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match='width is 16, expected a multiple of heads 3'):
        PrefixCritic(STATES, WIDTH, HORIZON, width=16, heads=3)
