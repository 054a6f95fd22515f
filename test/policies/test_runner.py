"""The rules of runs: one at a time, chunks with ids and epochs, every end with its reason."""

from dataclasses import replace

import numpy as np
import pytest

from chunked_vla_ros.core.policy import ActionPlan
from chunked_vla_ros.core.policy_run import Outcome, Termination
from chunked_vla_ros.core.types import CameraFrame
from chunked_vla_ros.policies.runner import RunRefused

MS = 1_000_000
S = 1_000_000_000
START = 1000 * S
ROWS = np.array([[0.1, 0.0], [0.2, 0.0]])


@pytest.fixture
def bench(make_bench):
    return make_bench()


def test_a_chunk_carries_the_observations_time_and_the_runs_identity(bench, spec):
    bench.runner.start('pick', 0.0, bench.now)
    bench.advance()
    chunk = bench.answer(ActionPlan(ROWS))
    assert chunk.session_id == f'{1:032x}'
    assert chunk.chunk_id == 0
    assert chunk.start_ns == chunk.observation_ns == bench.asked[0].observation.stamp_ns
    assert chunk.offsets_ns.tolist() == [0, 50 * MS]
    assert chunk.valid_for_ns == S
    assert chunk.inference_latency_ns == 10 * MS
    assert chunk.task == bench.asked[0].observation.instruction == 'pick'
    assert chunk.joint_names == ('arm', 'finger')
    assert chunk.dim_kinds == spec.dim_kinds
    assert chunk.policy_id == 'scripted'


def test_the_newest_input_dates_the_chunk_and_the_joints_its_start(make_bench, spec):
    bench = make_bench(replace(spec, cameras=('wrist',)))
    bench.runner.start('', 0.0, bench.now)
    frame = CameraFrame(START + 25 * MS, np.zeros((2, 2, 3), np.uint8))
    bench.runner.assembler.add_frame('wrist', frame, START)
    bench.advance()
    chunk = bench.answer(ActionPlan(ROWS))
    assert chunk.start_ns == START + 20 * MS
    assert chunk.observation_ns == START + 25 * MS


def test_the_policy_is_asked_again_after_the_replan_period(bench):
    bench.runner.start('', 0.0, bench.now)
    for _ in range(100):
        bench.advance()
        if len(bench.asked) > bench.runner.statistics.chunks:
            bench.answer(ActionPlan(ROWS))
    stamps = [request.observation.stamp_ns for request in bench.asked]
    assert np.diff(stamps).tolist() == [400 * MS] * 4
    assert bench.runner.run.next_chunk_id == 5


def test_a_run_is_not_planned_from_a_picture_of_before_it(make_bench, spec):
    bench = make_bench(replace(spec, cameras=('wrist',)))
    pixels = np.zeros((2, 2, 3), np.uint8)
    bench.runner.assembler.add_frame('wrist', CameraFrame(START - MS, pixels), START)
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    assert bench.asked == []
    # Nothing to complain of: so every run begins.
    assert (bench.runner.waiting, bench.runner.statistics.waits.total()) == ('', 0)
    bench.runner.assembler.add_frame('wrist', CameraFrame(START, pixels), bench.now)
    bench.advance()
    assert bench.asked[0].observation.images['wrist'].stamp_ns == START


def test_a_run_that_an_instruction_starts_is_not_planned_from_a_picture_of_before_it(
        make_bench, spec):
    bench = make_bench(replace(spec, cameras=('wrist',)), run_on_activate=True)
    pixels = np.zeros((2, 2, 3), np.uint8)
    bench.runner.assembler.add_frame('wrist', CameraFrame(START - MS, pixels), START)
    bench.runner.instruct('pick', bench.now)
    bench.advance()
    assert bench.asked == []
    bench.runner.assembler.add_frame('wrist', CameraFrame(bench.now, pixels), bench.now)
    bench.advance()
    assert bench.asked[0].observation.instruction == 'pick'


def test_a_run_that_activation_starts_is_not_planned_from_a_picture_of_before_it(
        make_bench, spec):
    bench = make_bench(replace(spec, cameras=('wrist',)), run_on_activate=True)
    pixels = np.zeros((2, 2, 3), np.uint8)
    bench.runner.assembler.add_frame('wrist', CameraFrame(START - MS, pixels), START)
    bench.advance()
    assert bench.asked == []
    bench.runner.assembler.add_frame('wrist', CameraFrame(START, pixels), bench.now)
    bench.advance()
    assert len(bench.asked) == 1


def test_an_instruction_said_again_and_again_does_not_put_the_start_off(make_bench, spec):
    bench = make_bench(replace(spec, cameras=('wrist',)), run_on_activate=True)
    pixels = np.zeros((2, 2, 3), np.uint8)
    for _ in range(10):
        bench.runner.instruct('pick', bench.now)
        stamp_ns = bench.now - 50 * MS    # as long as a picture takes to get here
        bench.runner.assembler.add_frame('wrist', CameraFrame(stamp_ns, pixels), bench.now)
        bench.advance()
    assert len(bench.asked) == 1


def test_a_second_run_is_refused_while_one_is_under_way(bench):
    bench.runner.start('', 0.0, bench.now)
    with pytest.raises(RunRefused, match='is under way; cancel it first'):
        bench.runner.start('', 0.0, bench.now)


@pytest.mark.parametrize('timeout_s', [-1.0, float('nan'), float('inf')])
def test_a_timeout_that_is_none_is_refused(bench, timeout_s):
    with pytest.raises(RunRefused, match='expected 0'):
        bench.runner.start('', timeout_s, bench.now)


def test_an_inactive_node_refuses_runs(bench):
    bench.runner.deactivate(bench.now)
    with pytest.raises(RunRefused, match='not active'):
        bench.runner.start('', 0.0, bench.now)


def test_without_an_observation_nothing_is_asked_and_the_reason_is_counted(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance(joints=False)
    assert bench.asked == []
    assert bench.runner.waiting == 'joint_states has not arrived yet'
    assert bench.runner.statistics.waits == {'joint_states': 1}


def test_a_timeout_while_waiting_names_what_was_missing(bench):
    bench.runner.start('', 1.0, bench.now)
    bench.advance(S, joints=False)
    result = bench.runner.take_result()
    assert result.termination is Termination.TIMEOUT
    assert result.message == 'timed out after 1.0 s; joint_states has not arrived yet'
    assert bench.runner.take_result() is None


def test_the_run_ends_when_the_last_plan_has_been_played(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    assert bench.answer(ActionPlan(ROWS, done=True)) is not None
    bench.advance(40 * MS)
    assert bench.runner.take_result() is None
    bench.advance(10 * MS)
    result = bench.runner.take_result()
    assert (result.termination, result.chunks) == (Termination.POLICY_DONE, 1)


def test_success_ends_the_run_and_its_late_answer_is_not_published(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.runner.episode_ended(True, bench.now, 'sim: cube in place', bench.now)
    assert bench.runner.take_result().outcome is Outcome.SUCCESS
    assert bench.answer(ActionPlan(ROWS)) is None
    assert bench.runner.statistics.late_answers == 1


def test_an_answer_of_the_last_run_is_not_published_in_the_next(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    old = bench.asked[0]
    assert bench.runner.cancel('cancelled', bench.now)
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    assert bench.answer(ActionPlan(ROWS), request=old) is None
    assert bench.answer(ActionPlan(ROWS)).chunk_id == 0


def test_a_policy_error_ends_the_run_with_its_words(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    assert bench.answer(error='PolicyError: out of reach') is None
    result = bench.runner.take_result()
    assert result.termination is Termination.POLICY_ERROR
    assert result.message == 'PolicyError: out of reach'


def test_a_blocked_plan_is_counted_and_the_run_goes_on(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    assert bench.answer(blocked='not finite') is None
    assert bench.runner.statistics.blocked == {'not finite': 1}
    bench.advance(400 * MS)
    assert bench.answer(ActionPlan(ROWS)).chunk_id == 0


def test_inference_that_outlasts_its_own_horizon_is_a_budget_miss(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.answer(ActionPlan(ROWS), latency_ns=100 * MS)
    assert bench.runner.statistics.budget_misses == 0
    bench.advance(400 * MS)
    bench.answer(ActionPlan(ROWS), latency_ns=100 * MS + 1)
    assert bench.runner.statistics.budget_misses == 1


def test_deactivation_ends_the_run(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.runner.deactivate(bench.now)
    assert bench.runner.take_result().termination is Termination.DEACTIVATED


def test_a_clock_that_goes_back_ends_the_run(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.advance(-10 * S)
    result = bench.runner.take_result()
    assert result.termination is Termination.POLICY_ERROR
    assert result.message.startswith('the clock went back')


def test_a_new_instruction_changes_the_task_and_epoch_of_a_run_that_follows_the_topic(
        make_bench, spec):
    bench = make_bench(replace(spec, needs_instruction=True))
    bench.runner.instruct('pick red', bench.now)
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    first = bench.asked[0]
    bench.runner.instruct('pick blue', bench.now)
    bench.advance()
    assert bench.answer(ActionPlan(ROWS), request=first) is None
    chunk = bench.answer(ActionPlan(ROWS))
    assert chunk.task == bench.asked[1].observation.instruction == 'pick blue'
    assert chunk.policy_epoch == first.policy_epoch + 1
    assert chunk.session_id == first.session_id


def test_a_run_with_its_own_instruction_and_a_policy_that_hears_none_ignore_the_topic(
        make_bench, spec):
    for heard, instruction in ((replace(spec, needs_instruction=True), 'mine'), (spec, '')):
        bench = make_bench(heard)
        bench.runner.start(instruction, 0.0, bench.now)
        bench.advance()
        bench.runner.instruct('pick blue', bench.now)
        assert bench.answer(ActionPlan(ROWS)).task == instruction


def test_epochs_go_on_increasing_from_run_to_run(bench):
    epochs = []
    for task in ('a', 'a', 'b', 'a'):
        epochs.append(bench.runner.start(task, 0.0, bench.now).policy_epoch)
        bench.runner.cancel('next', bench.now)
    assert epochs == [1, 1, 2, 3]


def test_run_on_activate_starts_with_the_first_observation_and_only_once(make_bench):
    bench = make_bench(run_on_activate=True)
    bench.advance(joints=False)
    assert bench.runner.run is None
    assert bench.runner.waiting == 'joint_states has not arrived yet'
    bench.advance()
    assert len(bench.asked) == 1
    bench.runner.cancel('enough', bench.now)
    bench.advance()
    assert bench.runner.run is None


def test_run_on_activate_starts_again_with_a_new_instruction(make_bench, spec):
    bench = make_bench(replace(spec, needs_instruction=True), run_on_activate=True)
    bench.advance()
    assert bench.runner.waiting == 'instruction has not arrived yet'
    for count, text in enumerate(('pick red', 'pick blue'), start=1):
        bench.runner.instruct(text, bench.now)
        bench.advance()
        assert bench.runner.run.task == text
        bench.runner.cancel('next', bench.now)
        assert len(bench.asked) == count


def test_without_run_on_activate_an_instruction_starts_nothing(bench):
    bench.runner.instruct('pick', bench.now)
    bench.advance()
    assert bench.runner.run is None


def test_a_policy_that_needs_a_camera_the_robot_lacks_is_refused(make_bench, spec):
    with pytest.raises(ValueError, match="scripted needs camera 'chest', which tiny does not"):
        make_bench(replace(spec, cameras=('chest',)))


def test_what_cannot_be_planned_while_a_person_drives_ends_nothing(bench):
    bench.runner.start('', 0.0, bench.now)
    bench.runner.run.intervene(True, bench.now)
    for _ in range(500):    # 10 s: 25 questions
        bench.advance()
        if bench.asked and bench.runner.run.planning:
            bench.answer(error='PolicyError: out of reach')
        assert bench.runner.run is not None
    bench.runner.run.intervene(False, bench.now)
    for _ in range(50):
        bench.advance()
        if bench.runner.run is not None and bench.runner.run.planning:
            bench.answer(error='PolicyError: out of reach')
    assert bench.runner.run is None
