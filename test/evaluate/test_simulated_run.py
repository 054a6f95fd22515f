"""Episodes in process: the graph's own parts on a clock of integers, with stated delays."""

from __future__ import annotations

from dataclasses import asdict, replace
import io
import json
from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.core.policy import ActionPlan, PolicyError
from chunked_vla_ros.evaluate.episode import EpisodeJob, record_from_json
from chunked_vla_ros.evaluate.setup import RunTiming, StationSetup

FIRST = EpisodeJob(0, 0, 'random')


def timeless(record):
    """Return a record without the wall times, which differ from run to run."""
    return replace(record, plan_wall_s=())


@pytest.fixture(scope='module')
def first(station):
    return station.run(FIRST)


def test_the_expert_puts_the_named_cube_on_the_named_pad(first):
    assert (first.success, first.termination) == (True, 'success')
    assert first.instruction == 'put the red cube on the left pad'
    assert (first.first_moved, first.first_lifted, first.cube) == ('red', 'red', 'red')
    assert first.cube_to_pad_m < 0.01
    assert (first.refused, first.holds, first.clamps) == (0, 0, 0)
    assert 4.0 < first.duration_s < 8.0
    # One chunk every 0.4 s, on the joint sample after (8 ms apart), each called once.
    assert first.chunks == len(first.plan_wall_s) == first.accepted
    assert first.chunks == pytest.approx(first.duration_s / 0.4, abs=1.5)
    assert first.film[0].time_s == 0.0
    assert first.film[-1].time_s == pytest.approx(first.duration_s, abs=0.5)


def test_an_episode_is_the_same_to_the_bit_whatever_was_run_before(station, first):
    station.run(EpisodeJob(0, 5, 'unseen'))
    assert timeless(station.run(FIRST)) == timeless(first)


def test_it_is_the_same_in_other_processes_and_comes_back_in_order(first, tmp_path):
    crew = pytest.importorskip('chunked_vla_ros.evaluate.crew', exc_type=ImportError)
    setup = StationSetup('ur5e_sim', ('expert',), RunTiming())
    jobs = [FIRST, EpisodeJob(0, 1, 'fixed', 'blue_right')]
    told = []
    records = crew.run_jobs(setup, jobs, 2, tmp_path / 'log', told.append)
    assert [one.seed for one in records] == [0, 1]
    assert timeless(records[0]) == timeless(first)
    assert records[1].task == 'blue_right'
    assert len(told) == 2


def test_a_record_comes_back_from_json_unchanged(first):
    assert record_from_json(first.to_json(film=True)) == first
    assert 'film' not in first.to_json()


@pytest.mark.parametrize(('latency_s', 'skipped'), [(0.04, 1), (0.19, 4)])
def test_points_that_are_past_when_the_answer_comes_are_skipped(
        make_station, hold, latency_s, skipped):
    # Points 50 ms apart, the first due at the observation: after 190 ms four are past.
    record = make_station(hold(), latency_s=latency_s, timeout_s=1.1).run(FIRST)
    assert record.termination == 'timeout'
    assert record.duration_s == pytest.approx(1.1, abs=0.021)
    assert record.chunks == 3
    assert record.points_skipped == 3 * skipped


def test_a_policy_sees_no_picture_that_cannot_have_arrived(make_station, hold):
    policy = hold('front', 'wrist')
    make_station(policy, camera_delay_s=0.06, timeout_s=1.5).run(FIRST)
    ages_s = [(seen.stamp_ns - frame.stamp_ns) / 1e9
              for seen in policy.seen for frame in seen.images.values()]
    assert len(ages_s) == 2 * 4
    # A picture every 48 ms, six joint samples, as sim_node takes them.
    assert min(ages_s) >= 0.06
    assert max(ages_s) <= 0.06 + 0.048
    shapes = {frame.pixels.shape for seen in policy.seen for frame in seen.images.values()}
    assert shapes == {camera.frame_shape for camera in load().cameras}


def load():
    from chunked_vla_ros.data.robot_contract import load_robot
    return load_robot('ur5e_sim')


def test_a_policy_without_need_of_it_is_shown_no_scene(make_station, hold):
    policy = hold()
    make_station(policy, timeout_s=1.0).run(FIRST)
    assert policy.seen
    assert not any(seen.scene for seen in policy.seen)
    assert policy.seen[0].instruction == 'put the red cube on the left pad'


@pytest.mark.parametrize(('off_rad', 'refused', 'continues'), [(0.0, 0, True), (2.0, 3, False)])
def test_a_policy_is_told_to_continue_only_what_the_executor_follows(
        make_station, hold, off_rad, refused, continues):
    policy, seen = hold(), []
    policy.spec = replace(policy.spec, takes_committed=True)

    def plan(observation):
        seen.append(observation.committed)
        return ActionPlan(np.tile(observation.joints.position + off_rad, (16, 1)))

    policy.plan = plan
    record = make_station(policy, timeout_s=1.1).run(FIRST)
    assert record.refused == refused
    assert [committed is not None for committed in seen] == [False, continues, continues]


def test_a_policy_that_cannot_go_on_ends_its_episode_with_its_words(make_station, hold):
    policy = hold()
    policy.plan = lambda _: (_ for _ in ()).throw(PolicyError('too dark'))
    record = make_station(policy).run(FIRST)
    assert (record.success, record.termination) == (False, 'policy error')
    assert 'too dark' in record.message
    assert (record.chunks, record.accepted, record.first_moved) == (0, 0, '')
    assert record.rms_jerk == pytest.approx(0.0, abs=1e-6)


def test_a_policy_of_nan_moves_nothing(make_station, hold):
    policy = hold()
    policy.plan = lambda _: ActionPlan(np.full((16, 7), np.nan))
    record = make_station(policy).run(FIRST)
    assert (record.success, record.termination) == (False, 'policy error')
    assert 'not finite' in record.message
    assert (record.accepted, record.first_moved) == (0, '')


@pytest.mark.parametrize(('position_set', 'task', 'named'), [
    ('far', '', "no position set 'far'"), ('random', 'red_up', "no task 'red_up'")])
def test_a_start_that_there_is_not_is_named(station, position_set, task, named):
    with pytest.raises(ValueError, match=named):
        station.run(EpisodeJob(0, 0, position_set, task))


def test_what_another_process_cannot_run_it_says_in_one_line():
    worker = pytest.importorskip('chunked_vla_ros.evaluate.worker', exc_type=ImportError)
    setup = asdict(StationSetup('ur5e_sim', ('expert',), RunTiming()))
    for requests, said in (
            ([setup, EpisodeJob(0, 0, 'random', 'red_up').to_json()], "no task 'red_up'"),
            ([setup | {'policies': ['/no/bundle']}], 'policy /no/bundle: no such bundle')):
        answers = io.StringIO()
        worker.serve(io.StringIO('\n'.join(map(json.dumps, requests))), answers)
        assert json.loads(answers.getvalue())['error'].startswith(said)


def test_a_process_that_dies_is_told_with_its_log(tmp_path, monkeypatch):
    crew = pytest.importorskip('chunked_vla_ros.evaluate.crew', exc_type=ImportError)
    monkeypatch.setattr(crew, 'PROGRAM', 'chunked_vla_ros.no_such_module')
    setup = StationSetup('ur5e_sim', ('expert',), RunTiming())
    log = Path(tmp_path / 'log')
    with pytest.raises(crew.EvaluationError, match=r'died .* in seed 0'):
        crew.run_jobs(setup, [FIRST], 2, log, print)
    assert 'no_such_module' in log.read_text()
