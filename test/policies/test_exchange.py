"""A policy is exchanged at a chunk boundary, proves itself by its first chunk, or goes again."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from chunked_vla_ros.core.policy import ActionPlan
from chunked_vla_ros.core.policy_run import Termination
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.policies.exchange import Exchanged, ExchangeRefused

MS = 1_000_000
S = 1_000_000_000
ROWS = np.array([[0.1, 0.0], [0.2, 0.0]])
PROVEN = Exchanged(True, 'in force, first chunk published')


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def newer(spec):
    return SimpleNamespace(spec=replace(spec, policy_id='newer'))


def test_an_idle_robot_gets_its_new_policy_at_once(bench, newer):
    bench.runner.offer(newer, bench.now)
    assert bench.used == [newer]
    assert bench.runner.spec.policy_id == 'newer'
    assert bench.runner.policy_epoch == 1
    assert bench.runner.exchange.take_outcome() == Exchanged(True, 'in force')
    assert bench.runner.exchange.take_outcome() is None


def test_a_question_under_way_is_answered_by_the_policy_it_was_put_to(bench, newer):
    run = bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.runner.offer(newer, bench.now)
    assert bench.used == []
    old = bench.answer(ActionPlan(ROWS))
    assert (old.policy_id, old.chunk_id, old.policy_epoch) == ('scripted', 0, 0)
    assert bench.used == [newer]
    bench.advance()
    new = bench.answer(ActionPlan(ROWS))
    assert (new.policy_id, new.chunk_id, new.policy_epoch) == ('newer', 1, 1)
    assert new.session_id == old.session_id == run.session_id
    assert bench.runner.exchange.take_outcome() == PROVEN


def test_the_new_policy_is_asked_with_the_next_sample_not_after_the_replan_period(bench, newer):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.answer(ActionPlan(ROWS))
    bench.advance()
    assert len(bench.asked) == 1
    bench.runner.offer(newer, bench.now)
    bench.advance()
    assert len(bench.asked) == 2


@pytest.mark.parametrize('failure', [{'error': 'it broke'}, {'blocked': 'not finite'}])
def test_a_policy_that_fails_at_its_first_chunk_is_rolled_back_and_the_run_goes_on(
        bench, newer, failure):
    run = bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.answer(ActionPlan(ROWS))
    former = bench.runner.exchange.in_force
    bench.runner.offer(newer, bench.now)
    bench.advance()
    assert bench.answer(**failure) is None
    outcome = bench.runner.exchange.take_outcome()
    assert not outcome.success
    assert next(iter(failure.values())) in outcome.message
    assert bench.used == [newer, former]
    bench.advance()
    chunk = bench.answer(ActionPlan(ROWS))
    # The old policy goes on in its old epoch, so that it is not reset.
    assert (chunk.policy_id, chunk.chunk_id, chunk.policy_epoch) == ('scripted', 1, 0)
    assert bench.runner.run is run
    assert bench.runner.statistics.rollbacks == 1


def test_after_its_first_chunk_a_policy_is_treated_like_any_other(bench, newer):
    bench.runner.start('', 0.0, bench.now)
    bench.runner.offer(newer, bench.now)
    bench.advance()
    bench.advance()
    bench.answer(ActionPlan(ROWS))
    assert bench.runner.exchange.take_outcome() == PROVEN
    bench.advance(400 * MS)
    bench.answer(error='it broke')
    assert bench.runner.take_result().termination is Termination.POLICY_ERROR
    assert bench.runner.spec.policy_id == 'newer'


def test_a_second_policy_is_refused_until_the_first_has_proved_itself(bench, newer):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.runner.offer(newer, bench.now)
    for _ in range(2):
        with pytest.raises(ExchangeRefused, match='another policy is being put in force'):
            bench.runner.offer(newer, bench.now)
        bench.answer(ActionPlan(ROWS))
    bench.advance()
    bench.answer(ActionPlan(ROWS))
    bench.runner.offer(newer, bench.now)


def test_a_run_that_ends_on_probation_leaves_the_new_policy_in_force(bench, newer):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.answer(ActionPlan(ROWS))
    bench.runner.offer(newer, bench.now)
    bench.runner.cancel('enough', bench.now)
    assert bench.runner.exchange.take_outcome().success
    assert bench.runner.spec.policy_id == 'newer'


def test_a_policy_whose_camera_is_silent_is_given_up_and_the_run_goes_on(
        make_bench, spec):
    bench = make_bench()
    bench.runner.start('', 0.0, bench.now)
    bench.runner.offer(SimpleNamespace(spec=replace(spec, cameras=('wrist',))), bench.now)
    assert bench.runner.cameras == {'wrist'}
    chunks = 0
    for _ in range(200):
        bench.advance()
        if len(bench.asked) > chunks:
            assert bench.answer(ActionPlan(ROWS)).policy_id == 'scripted'
            chunks += 1
    assert chunks == 10
    outcome = bench.runner.exchange.take_outcome()
    assert outcome == Exchanged(False, 'scripted: camera wrist has not arrived yet')
    assert bench.runner.cameras == frozenset()


def test_a_policy_waits_for_the_first_image_of_its_camera(bench, spec):
    seeing = SimpleNamespace(spec=replace(spec, policy_id='seeing', cameras=('wrist',)))
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.answer(ActionPlan(ROWS))
    bench.runner.offer(seeing, bench.now)
    bench.advance()
    assert bench.runner.spec.policy_id == 'scripted'
    bench.runner.assembler.add_frame(
        'wrist', CameraFrame(bench.now, np.zeros((2, 2, 3), np.uint8)), bench.now)
    bench.advance()
    assert set(bench.asked[-1].observation.images) == {'wrist'}
    assert bench.answer(ActionPlan(ROWS)).policy_id == 'seeing'


def test_a_camera_that_the_robot_lacks_is_refused_when_the_policy_is_offered(bench, spec):
    with pytest.raises(ValueError, match="needs camera 'chest', which tiny does not have"):
        bench.runner.offer(SimpleNamespace(spec=replace(spec, cameras=('chest',))), bench.now)
    assert bench.runner.exchange.candidate is None


def test_a_sample_that_is_refused_asks_nothing(bench, observe):
    bench.advance()
    bench.runner.start('', 0.0, bench.now)
    bench.runner.add_joints(observe(bench.now - 10 * MS).joints, bench.now)
    assert bench.asked == []
    bench.advance(8 * MS)
    assert bench.asked[0].observation.stamp_ns == bench.now


def test_a_tick_asks_nothing_as_its_sample_would_be_old(bench):
    bench.advance()
    bench.runner.start('', 0.0, bench.now)
    bench.advance(joints=False)
    assert bench.asked == []
    assert bench.runner.waiting == ''


def test_a_policy_that_reads_the_scene_is_followed_by_one_that_needs_none(make_bench, spec, newer):
    bench = make_bench(replace(spec, policy_id='expert', needs_scene=True))
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    assert bench.asked == []    # the scene is not there: the present policy cannot be asked
    bench.runner.offer(newer, bench.now)
    assert not bench.runner.exchange.in_force.spec.needs_scene
    assert bench.runner.needs_scene    # the expert may still come back
    bench.advance()
    assert bench.answer(ActionPlan(ROWS)).policy_id == 'newer'
    assert not bench.runner.needs_scene
    assert bench.runner.exchange.take_outcome() == PROVEN


def test_a_policy_that_never_answers_is_rolled_back_and_the_run_goes_on(bench, newer):
    bench.runner.start('', 0.0, bench.now)
    former = bench.runner.exchange.in_force
    bench.runner.offer(newer, bench.now)
    bench.advance()
    bench.advance()
    assert bench.used == [newer]
    bench.now += 31 * S
    bench.runner.tick(bench.now)
    assert bench.runner.exchange.take_outcome() == Exchanged(
        False, 'rolled back at its first chunk: no answer within 30 s')
    assert bench.used == [newer, former]
    assert bench.runner.run is not None


def test_a_policy_that_has_not_answered_when_time_is_up_is_rolled_back(bench, newer):
    bench.runner.start('', 5.0, bench.now)
    bench.runner.offer(newer, bench.now)
    bench.advance()
    bench.advance()
    bench.now += 6 * S
    bench.runner.tick(bench.now)
    assert bench.runner.take_result().termination is Termination.TIMEOUT
    outcome = bench.runner.exchange.take_outcome()
    assert (outcome.success, outcome.message) == (
        False, 'rolled back at its first chunk: the run was over before it answered')
    assert bench.runner.spec.policy_id == 'scripted'
