"""Whether a policy listens is told from one that does not, by pairs of one start each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chunked_vla_ros.evaluate.episode import EpisodeJob
from chunked_vla_ros.evaluate.language import language_jobs, language_results
from chunked_vla_ros.sim.tasks import draw_start, TASKS


def test_a_pair_differs_in_the_cube_that_is_named_and_in_nothing_else():
    jobs = language_jobs(0, 10, 20, 'random')
    assert len(jobs) == 40
    for one, other in zip(jobs[::2], jobs[1::2], strict=True):
        first, second = (TASKS[job.task] for job in (one, other))
        assert first.pad == second.pad
        assert first.cube != second.cube
        assert replace(one, task=other.task) == other
        assert (draw_start(one.seed, 'random', one.task).cubes
                == draw_start(other.seed, 'random', other.task).cubes)
    # Of 20 pairs each cube and each pad is named somewhere.
    assert {job.task for job in jobs} == set(TASKS)


def test_the_same_seeds_give_the_same_pairs():
    assert language_jobs(0, 5, 3, 'fixed') == language_jobs(0, 5, 3, 'fixed')
    assert language_jobs(0, 5, 3, 'fixed')[2:] == language_jobs(0, 6, 2, 'fixed')


def test_counts_are_those_of_the_episodes(make_record):
    records = [
        make_record(0, task='red_left'), make_record(0, task='blue_left'),
        make_record(1, task='red_left'),
        make_record(1, False, task='green_left', first_lifted='red'),
        make_record(2, task='red_left', success=False, first_lifted=''),
        make_record(2, False, task='green_left', first_lifted='')]
    found = language_results(records)
    assert (found.right_cube.k, found.right_cube.n) == (3, 6)
    assert (found.both_right.k, found.both_right.n) == (1, 3)
    # Nothing lifted twice is not the same cube twice.
    assert (found.same_cube.k, found.same_cube.n) == (1, 3)
    assert (found.success.k, found.success.n) == (3, 6)


def test_records_that_are_not_in_pairs_are_refused(make_record):
    with pytest.raises(ValueError, match='not in pairs'):
        language_results([make_record(0), make_record(1)])


def test_who_ignores_the_words_is_found_out(make_station, deaf):
    station = make_station(deaf('put the red cube on the left pad'), timeout_s=3.2)
    jobs = [EpisodeJob(0, seed, 'random', task)
            for seed in (0, 1) for task in ('red_left', 'blue_left')]
    found = language_results([station.run(job) for job in jobs])
    # Half of the instructions name what it takes anyway.
    assert (found.right_cube.k, found.right_cube.n) == (2, 4)
    assert (found.both_right.k, found.same_cube.k) == (0, 2)


def test_who_listens_is_right_both_times(make_station):
    station = make_station(timeout_s=3.2)
    found = language_results([station.run(job) for job in language_jobs(0, 3, 1, 'random')])
    assert (found.right_cube.k, found.both_right.k, found.same_cube.k) == (2, 1, 0)
