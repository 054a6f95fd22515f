"""Statistics for training: by point of the chunk, over what is there, and never a zero."""

from dataclasses import replace
import json

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.normalisation import fit_normalisation, Normalisation
from chunked_vla_ros.core.training_windows import make_windows
from chunked_vla_ros.core.types import DimKind

KINDS = (DimKind.CONTINUOUS, DimKind.BINARY)
# Joint 0 goes on by 1 a row, and its target is 2 ahead; joint 1 is a gripper that closes late.
STATE = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
ACTION = STATE + [2.0, 0.0]
ACTION[2:, 1] = 1.0


@pytest.fixture
def fitted() -> Normalisation:
    return fit_normalisation(STATE, ACTION, make_windows([0], [4], 3, 1), KINDS)


def test_a_joint_is_learnt_relative_to_the_state_and_a_gripper_is_not(fitted):
    assert fitted.relative.tolist() == [True, False]
    # Point k is 2 + k ahead of the state; points past the end do not count.
    assert fitted.action_mean[:, 0].tolist() == [2.0, 3.0, 4.0]
    # Rows 0 to 3, then 1 to 3, then 2 and 3, of the gripper's targets 0 0 1 1.
    assert fitted.action_mean[:, 1] == pytest.approx([0.5, 2 / 3, 1.0])
    assert fitted.action_std[0, 1] == pytest.approx(0.5)


def test_what_does_not_vary_is_divided_by_one(fitted):
    assert fitted.action_std[:, 0].tolist() == [1.0, 1.0, 1.0]    # always just as far ahead
    assert fitted.state_std.tolist() == [pytest.approx(np.sqrt(1.25)), 1.0]


def test_a_joint_that_only_trembles_is_not_magnified():
    tremble = np.array([[3e-4, 0.02], [-3e-4, -0.02]] * 5)
    fitted = fit_normalisation(
        tremble, tremble, make_windows([0], [10], 1, 1), (DimKind.CONTINUOUS,) * 2)
    assert fitted.state_std.tolist() == pytest.approx([0.01, 0.02])
    # What was fitted before this floor is read as it is.
    before = {**fitted.to_dict(), 'state_std': [3e-4, 0.02]}
    assert Normalisation.from_dict(before).state_std.tolist() == [3e-4, 0.02]


def test_no_point_of_a_joint_spreads_less_than_a_share_of_the_one_that_spreads_most(fitted):
    # The gripper's targets at point 2 are 1 and 1, those at point 0 are 0.5 from their mean.
    assert fitted.action_std[2, 1] == pytest.approx(0.15 * 0.5)
    random = np.random.default_rng(0)
    far = np.cumsum(random.normal(size=(500, 2)), axis=0)
    walked = fit_normalisation(far, far, make_windows([0], [500], 40, 1), (KINDS[0],) * 2)
    assert walked.action_std[0] == pytest.approx(0.15 * walked.action_std.max(axis=0))
    assert (np.diff(walked.action_std[5:10], axis=0) > 0.0).all()


def test_the_rows_as_they_are_go_into_the_manifest(fitted):
    assert fitted.state_mean.tolist() == [1.5, 0.0]
    assert (fitted.state_min.tolist(), fitted.state_max.tolist()) == ([0.0, 0.0], [3.0, 0.0])
    assert (fitted.action_min.tolist(), fitted.action_max.tolist()) == ([2.0, 0.0], [5.0, 1.0])
    assert fitted.action_raw_mean.tolist() == [3.5, 0.5]
    assert fitted.action_raw_std.tolist() == [pytest.approx(np.sqrt(1.25)), 0.5]


def test_only_the_episodes_of_the_windows_are_looked_at():
    state, action = (np.concatenate([table, [[900.0, 900.0]] * 3]) for table in (STATE, ACTION))
    windows = make_windows([0], [4], 3, 1)
    assert fit_normalisation(state, action, windows, KINDS).to_dict() == fit_normalisation(
        STATE, ACTION, windows, KINDS).to_dict()


def test_points_beyond_every_episode_are_finite_and_as_the_last_one():
    fitted = fit_normalisation(STATE, ACTION, make_windows([0], [4], 6, 1), KINDS)
    assert fitted.action_mean[4:].tolist() == [fitted.action_mean[3].tolist()] * 2
    assert fitted.horizon == 6


def test_one_row_and_nothing_but_zeros_are_finite():
    fitted = fit_normalisation(np.zeros((1, 2)), np.zeros((1, 2)), make_windows([0], [1], 2, 1),
                               KINDS)
    assert (fitted.action_std == 1.0).all()
    assert (fitted.state_std == 1.0).all()


def test_a_joint_that_turns_round_is_learnt_as_it_is():
    fitted = fit_normalisation(STATE, ACTION, make_windows([0], [4], 1, 1),
                               (DimKind.WRAPPED, DimKind.CONTINUOUS))
    assert fitted.relative.tolist() == [False, True]


def test_without_a_window_there_is_nothing_to_fit():
    with pytest.raises(ValueError, match='no window'):
        fit_normalisation(STATE, ACTION, make_windows([], [], 1, 1), KINDS)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 3),
       st.integers(0, 2**16))
def test_valid_entries_have_mean_0_and_spread_at_most_1(lengths, horizon, stride, seed):
    random = np.random.default_rng(seed)
    state, action = random.normal(size=(2, sum(lengths), 2))
    windows = make_windows(np.cumsum(lengths) - lengths, lengths, horizon, stride)
    fitted = fit_normalisation(state, action, windows, KINDS)
    every = np.arange(len(windows))
    way = action[windows.action_rows(every)] - np.where(
        fitted.relative, state[windows.rows], 0.0)[:, None]
    scaled, valid = (way - fitted.action_mean) / fitted.action_std, windows.valid(every)
    for point in range(horizon):
        there = scaled[valid[:, point], point]
        if len(there) > 1:
            assert np.abs(there.mean(axis=0)).max() < 1e-9
            assert there.std(axis=0).max() < 1.0 + 1e-9
    spreads = (fitted.action_std > 0.150001 * fitted.action_std.max(axis=0)) & (
        fitted.action_std != 1.0)
    for point, joint in np.argwhere(spreads & valid.any(axis=0)[:, None]):
        assert scaled[valid[:, point], point, joint].std() == pytest.approx(1.0)
    again = Normalisation.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.to_dict() == fitted.to_dict()


@pytest.mark.parametrize(('key', 'value', 'said'), [
    ('state_std', [1.0, 0.0], 'state_std'), ('state_mean', [1.0], 'state_mean'),
    ('action_std', [[1.0, 1.0]], 'action_std'), ('action_mean', 'x', 'action_mean'),
    ('state_min', [[1.0], [1.0, 2.0]], 'state_min'),
    ('action_mean', [[1.0, float('nan')]] * 3, 'action_mean'), ('relative', [1, 0], 'relative'),
    ('relative', [], 'relative'), ('state_max', None, 'state_max')])
def test_a_damaged_file_is_refused_in_one_line_with_the_key(fitted, key, value, said):
    with pytest.raises(ValueError, match=said) as refused:
        Normalisation.from_dict({**fitted.to_dict(), key: value})
    assert '\n' not in str(refused.value)


def test_missing_and_unknown_keys_are_refused(fitted):
    content = fitted.to_dict()
    with pytest.raises(ValueError, match=r"has 'extra'"):
        Normalisation.from_dict({**content, 'extra': 1})
    content.pop('action_std')
    with pytest.raises(ValueError, match='lacks action_std'):
        Normalisation.from_dict(content)
    with pytest.raises(ValueError, match='expected keys'):
        Normalisation.from_dict([])


def test_the_arrays_cannot_be_changed(fitted):
    with pytest.raises(ValueError, match='read-only'):
        fitted.action_std[0, 0] = 0.0
    assert replace(fitted).to_dict() == fitted.to_dict()
