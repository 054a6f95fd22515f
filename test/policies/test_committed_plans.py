"""A policy is told what the arm will follow until its answer comes, if it wants to know."""

from dataclasses import replace

import numpy as np
import pytest

from chunked_vla_ros.core.bundle_manifest import BundleError
from chunked_vla_ros.core.policy import ActionPlan
from chunked_vla_ros.policies.onnx_policy import OnnxOptions, OnnxPolicy

MS = 1_000_000
# The played policy's points are 50 ms apart, questions 400 ms (test/policies/conftest.py).
ROWS = np.array([[0.1 * k, 0.0] for k in range(12)])


@pytest.fixture
def bench(make_bench, spec):
    made = make_bench(replace(spec, horizon=12, takes_committed=True))
    made.runner.start('pick', 0.0, made.now)
    made.advance()
    return made


def next_question(bench):
    """Return what the policy is shown the next time."""
    known = len(bench.asked)
    while len(bench.asked) == known:
        bench.advance()
    return bench.asked[-1].observation


def test_the_first_plan_continues_nothing(bench):
    assert bench.asked[0].observation.committed is None


def test_a_plan_is_told_the_rows_that_are_due_while_it_is_made(bench):
    bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    assert bench.asked[0].observation.stamp_ns + 400 * MS == next_question(bench).stamp_ns
    # Eight steps later and due within 70 ms: two rows.
    assert bench.asked[1].observation.committed == pytest.approx(ROWS[8:10])


def test_a_policy_that_does_not_want_to_know_is_told_nothing(make_bench, spec):
    bench = make_bench(replace(spec, horizon=12))
    bench.runner.start('', 0.0, bench.now)
    bench.advance()
    bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    assert next_question(bench).committed is None


def test_the_next_run_continues_nothing_of_the_one_before(bench):
    bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    bench.runner.cancel('test', bench.now)
    bench.runner.start('pick', 0.0, bench.now)
    assert next_question(bench).committed is None


def test_while_a_person_drives_the_plan_before_is_not_what_the_arm_does(bench):
    bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    bench.runner.run.intervene(True, bench.now)
    assert next_question(bench).committed is None


def test_the_plan_before_a_person_drove_is_not_continued_after(bench):
    # 1.15 s: it would not have run out yet.
    bench.answer(ActionPlan(np.repeat(ROWS, 2, axis=0)), latency_ns=70 * MS)
    bench.runner.run.intervene(True, bench.now)
    next_question(bench)
    bench.runner.run.intervene(False, bench.now)
    bench.answer(blocked='not finite')
    assert next_question(bench).committed is None


def test_a_chunk_that_was_sent_while_a_person_drove_is_not_continued_after(bench):
    bench.runner.run.intervene(True, bench.now)
    chunk = bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    bench.advance()
    bench.runner.committed.reported('', 0, bench.now)    # the executor refused it
    bench.runner.run.intervene(False, bench.now)
    assert chunk is not None
    assert next_question(bench).committed is None


@pytest.mark.parametrize(('session', 'chunk_id', 'rows'), [
    (f'{1:032x}', 0, 2),     # it follows the chunk
    ('', 0, None),           # it follows none: stopped, starved or reset
    ('0' * 32, 0, None),     # the same as the message says it
    (f'{1:032x}', 7, None),
    (f'{2:032x}', 0, None)])
def test_only_a_chunk_that_the_executor_follows_is_continued(bench, session, chunk_id, rows):
    bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    bench.runner.committed.reported(session, chunk_id, bench.now + 20 * MS)
    committed = next_question(bench).committed
    assert (None if committed is None else len(committed)) == rows


def test_what_the_executor_followed_before_a_chunk_reached_it_is_no_news_of_that(bench):
    bench.answer(ActionPlan(ROWS), latency_ns=70 * MS)
    bench.runner.committed.reported('', 0, bench.now + 19 * MS)
    assert next_question(bench).committed is not None


def open_policy(directory, robot, make_bundle, **bundle):
    made = make_bundle(directory, robot, horizon=3, **bundle)
    return OnnxPolicy(made.manifest, made.model, made.tokenizer, made.policy_id, robot,
                      OnnxOptions(execution_provider='cpu'))


def test_a_model_that_takes_a_prefix_is_given_the_rows_and_which_of_them_count(
        tmp_path, robot, make_bundle, observe):
    policy = open_policy(tmp_path / 'b', robot, make_bundle, prefix=True, cameras=())
    assert policy.spec.takes_committed
    policy.warm_up()
    seen = observe(7)
    plain = policy.plan(seen).positions
    for committed, added in (
            ([[1.0, 2.0], [3.0, 4.0]], [[1, 2], [3, 4], [0, 0]]),
            ([[5.0, 6.0]], [[5, 6], [0, 0], [0, 0]]),
            ([[1.0, 1.0]] * 9, [[1, 1]] * 3)):
        told = policy.plan(replace(seen, committed=np.array(committed))).positions
        assert told - plain == pytest.approx(np.array(added), abs=1e-6)
    assert policy.plan(seen).positions == pytest.approx(plain)


def test_a_model_without_a_prefix_ignores_the_rows(tmp_path, robot, make_bundle, observe):
    policy = open_policy(tmp_path / 'b', robot, make_bundle, cameras=())
    assert not policy.spec.takes_committed
    told = replace(observe(7), committed=np.ones((2, 2)))
    assert policy.plan(told).positions == pytest.approx(policy.plan(observe(7)).positions)


@pytest.mark.parametrize(('kept', 'other'), [('prefix', 'prefix_mask'), ('prefix_mask', 'prefix')])
def test_prefix_and_mask_come_together(tmp_path, robot, make_bundle, kept, other):
    onnx = pytest.importorskip('onnx')
    made = make_bundle(tmp_path / 'b', robot, horizon=3)
    model = onnx.load_from_string(made.model)
    model.graph.input.append(onnx.helper.make_tensor_value_info(
        kept, onnx.TensorProto.FLOAT, [1, 3, 2] if kept == 'prefix' else [1, 3]))
    with pytest.raises(BundleError, match=f"an input '{kept}' but no '{other}'"):
        OnnxPolicy(made.manifest, model.SerializeToString(), made.tokenizer, made.policy_id, robot,
                   OnnxOptions(execution_provider='cpu'))
