"""How well a demonstration is made: drawn from a seed, bounded, and known at any time."""

from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.sim import quality_dial as dial
from chunked_vla_ros.sim.quality_dial import MIXED, QualityTrack, Spells, VARYING

TIMES_S = np.arange(0.0, 60.0, 0.01)
KINDS = pytest.mark.parametrize('kind', [MIXED, VARYING])


def track(kind: str, seed: int = 0) -> QualityTrack:
    return QualityTrack(np.random.default_rng(seed), kind, 6)


@KINDS
def test_a_seed_says_all_however_it_is_asked(kind: str) -> None:
    one, same, other = track(kind), track(kind), track(kind, 1)
    for ask in ('own_time', 'offset', 'slipping'):
        told = getattr(one, ask)(TIMES_S)
        assert np.array_equal(told, getattr(same, ask)(TIMES_S))
        assert np.array_equal(told[100:110], getattr(one, ask)(TIMES_S[100:110]))
    assert not np.array_equal(one.own_time(TIMES_S), other.own_time(TIMES_S))


@KINDS
def test_it_begins_where_the_arm_is(kind: str) -> None:
    for seed in range(20):
        assert track(kind, seed).own_time(np.zeros(1))[0] == 0.0
        # Events may begin at once, but from nothing.
        assert np.abs(track(kind, seed).offset(np.array([0.0]))).max() == 0.0


@KINDS
def test_everything_is_within_its_bounds(kind: str) -> None:
    for seed in range(5):
        one = track(kind, seed)
        assert np.all((one.speeds >= dial.SPEEDS[kind][0]) & (one.speeds <= dial.SPEEDS[kind][1]))
        paces = one.pace(TIMES_S)
        assert paces.min() >= 0.0
        assert paces.max() <= dial.SPEEDS[kind][1]
        # Six sines of equal size are never more than sqrt(12) deviations away.
        most = np.sqrt(12.0) * dial.NOISES_RAD[kind][1]
        assert np.abs(one.offset(TIMES_S)[:, 0]).max() <= most + dial.WANDER_ASIDE_RAD
        assert one.offset(TIMES_S)[:, 1].max() <= most * dial.INNER_SHARE, 'wandered down'


@KINDS
def test_own_time_is_the_sum_of_the_pace_and_never_goes_back(kind: str) -> None:
    one = track(kind)
    own_s = one.own_time(TIMES_S)
    assert np.all(np.diff(own_s) >= 0.0)
    assert own_s[-1] == pytest.approx(one.pace(TIMES_S).sum() * 0.01, rel=1e-3)


def test_a_mixed_run_is_of_one_quality_but_for_what_goes_wrong() -> None:
    one = track(MIXED)
    astray = one.wanders.shares(TIMES_S)[0] >= 0
    assert 0.02 < astray.mean() < 0.6
    assert set(one.pace(TIMES_S[~astray])) == {one.speeds[0]}
    assert len(one.speeds) == len(one.noises_rad) == 1


def test_runs_of_a_kind_differ_in_speed_by_more_than_two() -> None:
    speeds = [track(MIXED, seed).speeds[0] for seed in range(60)]
    assert max(speeds) / min(speeds) > 2.0


def test_in_a_varying_run_the_quality_changes_every_second_or_so_and_smoothly() -> None:
    kind, one = VARYING, track(VARYING)
    changes = int(60.0 / np.mean(dial.SPELLS_S))
    still = np.diff(one._level(one.speeds, TIMES_S)) == 0.0
    begun = np.count_nonzero(still[:-1] & ~still[1:])
    assert begun == pytest.approx(changes, abs=12)
    # The steepest of a minimum-jerk step is 1.875 times its mean.
    steepest = 1.875 * (dial.SPEEDS[kind][1] - dial.SPEEDS[kind][0]) / dial.BLEND_S
    assert np.abs(np.diff(one._level(one.speeds, TIMES_S))).max() / 0.01 <= steepest


@KINDS
def test_offsets_are_slow_enough_for_the_arm(kind: str) -> None:
    rows = track(kind, 3).offset(np.arange(0.0, 60.0, 0.05))
    # The limit of the arm; the expert itself stands still in the middle of a wander.
    assert np.abs(np.diff(rows, n=2, axis=0)).max() / 0.05**2 < 5.0


def test_events_come_as_often_as_told_and_never_two_at_once() -> None:
    found = Spells.draw(np.random.default_rng(0), 12.0, (0.5, 1.0))
    # One every 5 s of pause, 0.75 s each: 300 / 5.75 of them.
    assert len(found.begins_s) == pytest.approx(52, abs=20)
    assert np.all(found.begins_s[1:] >= (found.begins_s + found.lasts_s)[:-1])
    number, share = found.shares(found.begins_s + 0.5 * found.lasts_s)
    assert np.array_equal(number, np.arange(len(number)))
    assert share == pytest.approx(0.5)
    assert found.shares(np.array([0.0, 1e6]))[0].tolist() == [-1, -1]


def test_after_all_that_was_drawn_time_still_passes() -> None:
    late: Any = track(VARYING).own_time(np.array([dial.LONGEST_S, dial.LONGEST_S + 10.0]))
    assert late[1] - late[0] >= 10.0 * dial.SPEEDS[VARYING][0]
