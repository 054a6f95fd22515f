"""When a run plans again and when, how and why it ends."""

import pytest

from chunked_vla_ros.core.policy_run import (
    BLOCKED_LIMIT,
    LONGEST_INTERVENTION_NS,
    Outcome,
    PolicyRun,
    RunOptions,
    Termination,
)

S = 1_000_000_000
START = 100 * S


@pytest.fixture
def run():
    options = RunOptions(instruction='', timeout_ns=10 * S)
    return PolicyRun('5e' * 16, options, 'pick', policy_epoch=3, started_ns=START)


def test_the_policy_is_asked_at_once_and_then_once_per_period(run):
    assert run.wants_plan(START)
    run.plan_requested(START, 400_000_000)
    assert not run.wants_plan(START + S)     # it still thinks
    run.plan_published(last_due_ns=START + S, done=False)
    assert not run.wants_plan(START + 399_999_999)
    assert run.wants_plan(START + 400_000_000)


def test_chunk_ids_count_from_zero(run):
    assert run.next_chunk_id == 0
    run.plan_published(START + S, done=False)
    assert run.next_chunk_id == 1


def test_a_run_ends_when_the_last_point_of_the_last_plan_is_due(run):
    run.plan_requested(START, 400_000_000)
    run.plan_published(last_due_ns=START + 2 * S, done=True)
    assert not run.wants_plan(START + S)
    run.tick(START + 2 * S - 1, '')
    assert run.result is None
    run.tick(START + 2 * S, '')
    assert run.result.termination is Termination.POLICY_DONE
    assert run.result.outcome is Outcome.UNLABELED
    assert run.result.duration_ns == 2 * S
    assert run.result.chunks == 1


@pytest.mark.parametrize(('success', 'termination', 'outcome'), [
    (True, Termination.SUCCESS, Outcome.SUCCESS),
    (False, Termination.FAILURE, Outcome.FAILURE)])
def test_news_of_the_task_end_the_run_and_label_it(run, success, termination, outcome):
    run.episode_ended(success, START + S, 'sim: cube in place', START + S)
    assert (run.result.termination, run.result.outcome) == (termination, outcome)
    assert run.result.message == 'sim: cube in place'


def test_news_of_an_earlier_episode_do_not_end_this_run(run):
    run.episode_ended(True, START - 1, 'sim: late', START + S)
    assert run.result is None


def test_a_timeout_says_what_the_run_was_waiting_for(run):
    run.tick(START + 10 * S - 1, 'camera wrist has not arrived yet')
    assert run.result is None
    run.tick(START + 10 * S, 'camera wrist has not arrived yet')
    assert run.result.termination is Termination.TIMEOUT
    assert run.result.message == 'timed out after 10.0 s; camera wrist has not arrived yet'


def test_the_time_in_which_a_person_drives_is_not_the_policys(run):
    run.intervene(True, START + 4 * S)
    run.intervene(True, START + 5 * S)    # said twice
    run.tick(START + 60 * S, '')
    assert run.intervening
    run.intervene(False, START + 64 * S)
    run.intervene(False, START + 65 * S)
    assert not run.intervening
    # Four of its ten seconds were over, and a second intervention adds to the first.
    run.intervene(True, START + 65 * S)
    run.intervene(False, START + 66 * S)
    run.tick(START + 71 * S - 1, '')
    assert run.result is None
    run.tick(START + 71 * S, '')
    assert run.result.termination is Termination.TIMEOUT
    assert run.result.duration_ns == 71 * S


def test_an_intervention_whose_end_never_comes_does_not_keep_the_run_for_ever(run):
    run.intervene(True, START)
    run.tick(START + LONGEST_INTERVENTION_NS + 10 * S - 1, '')
    assert run.result is None
    run.tick(START + LONGEST_INTERVENTION_NS + 10 * S, '')
    assert run.result.termination is Termination.TIMEOUT


def test_the_first_reason_to_end_is_the_one_that_counts(run):
    run.end(Termination.CANCELED, 'cancelled', START + S)
    run.episode_ended(True, START + 2 * S, 'sim', START + 2 * S)
    run.tick(START + 20 * S, '')
    assert run.result.termination is Termination.CANCELED
    assert not run.wants_plan(START + 20 * S)


def test_blocked_plans_end_the_run_only_when_they_do_not_cease(run):
    for _ in range(BLOCKED_LIMIT - 1):
        run.plan_blocked('not finite', START)
    run.plan_published(START + S, done=False)
    for _ in range(BLOCKED_LIMIT - 1):
        run.plan_blocked('not finite', START)
    assert run.result is None
    run.plan_blocked('not finite', START)
    assert run.result.termination is Termination.POLICY_ERROR
    assert run.result.message == '10 plans in a row were blocked, the last: not finite'


def test_a_change_of_task_asks_the_policy_again_at_once(run):
    run.plan_requested(START, 400_000_000)
    run.plan_published(START + S, done=True)
    run.change_task('place', 4)
    assert (run.task, run.policy_epoch) == ('place', 4)
    assert run.wants_plan(START + 1)
    run.tick(START + 2 * S, '')
    assert run.result is None
