"""The policy's thread: newest question, checked answers, failures as values."""

import threading

import numpy as np
import pytest

from chunked_vla_ros.core.policy import ActionPlan, PolicyError, PolicySpec
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.policies.worker import latest_due_ns, PlanRequest, PolicyWorker, why_blocked

LIMIT_S = 10.0
SPEC = PolicySpec('scripted', ('arm', 'finger'), (DimKind.CONTINUOUS,) * 2, 0.05, 2)
ROWS = np.array([[0.1, 0.0], [0.2, 0.0]])


class ScriptedPolicy:
    """Answers from a list, so that a test decides what the worker is told; counts resets."""

    def __init__(self, *answers):
        self.spec, self.answers, self.seen, self.resets = SPEC, list(answers), [], 0

    def reset(self):
        self.resets += 1

    def plan(self, observation):
        self.seen.append(observation.stamp_ns)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


@pytest.fixture
def start():
    workers = []

    def begin(policy, delay_s=0.0):
        answered = threading.Semaphore(0)
        worker = PolicyWorker(policy, answered.release, delay_s)
        workers.append(worker)

        def ask(request):
            worker.ask(request)
            assert answered.acquire(timeout=LIMIT_S)
            [answer] = worker.answers()
            return answer
        return worker, ask
    yield begin
    for worker in workers:
        assert worker.stop()


def test_a_good_plan_is_handed_back_with_its_question_and_latency(start, observe):
    _, ask = start(ScriptedPolicy(ActionPlan(ROWS)))
    request = PlanRequest('5e', 0, observe(5))
    answer = ask(request)
    assert answer.request is request
    assert answer.plan.positions == pytest.approx(ROWS)
    assert (answer.blocked, answer.error) == ('', '')
    assert answer.latency_ns > 0


def test_the_policy_is_reset_once_per_session_and_epoch(start, observe):
    policy = ScriptedPolicy(*[ActionPlan(ROWS)] * 4)
    _, ask = start(policy)
    ask(PlanRequest('a', 0, observe(1)))
    ask(PlanRequest('a', 0, observe(2)))
    assert policy.resets == 1
    ask(PlanRequest('a', 1, observe(3)))
    ask(PlanRequest('b', 1, observe(4)))
    assert policy.resets == 3


def test_of_the_questions_that_wait_only_the_newest_is_answered(start, observe):
    busy, go = threading.Event(), threading.Event()

    def think():
        busy.set()
        assert go.wait(LIMIT_S)
        return ActionPlan(ROWS)

    policy = ScriptedPolicy(think, ActionPlan(ROWS), ActionPlan(ROWS))
    worker, _ = start(policy)
    worker.ask(PlanRequest('a', 0, observe(1)))
    assert busy.wait(LIMIT_S)
    worker.ask(PlanRequest('a', 0, observe(2)))
    worker.ask(PlanRequest('a', 0, observe(3)))
    go.set()
    while len(policy.seen) < 2:
        threading.Event().wait(0.001)
    assert policy.seen == [1, 3]


@pytest.mark.parametrize(('rows', 'blocked'), [
    ([[0.1, np.nan], [0.2, 0.0]], 'not finite'),
    ([[0.1, np.inf], [0.2, 0.0]], 'not finite'),
    ([[0.1], [0.2]], 'wrong width 1, expected 2'),
    (np.zeros((0, 2)), 'no points')])
def test_a_plan_that_must_not_reach_the_arm_is_blocked_with_a_reason(
        start, observe, rows, blocked):
    _, ask = start(ScriptedPolicy(ActionPlan(np.array(rows))))
    answer = ask(PlanRequest('a', 0, observe(1)))
    assert answer.plan is None
    assert answer.blocked == blocked


def test_a_good_plan_is_not_blocked():
    assert why_blocked(ActionPlan(ROWS), SPEC) == ''


@pytest.mark.parametrize(('raised', 'error'), [
    (PolicyError('the cube is out of reach'), 'PolicyError: the cube is out of reach'),
    (ZeroDivisionError(), 'ZeroDivisionError'),
    (ValueError('two\nlines'), 'ValueError: two lines')])
def test_a_policy_that_raises_is_an_error_in_one_line_and_the_thread_lives_on(
        start, observe, raised, error):
    _, ask = start(ScriptedPolicy(raised, ActionPlan(ROWS)))
    assert ask(PlanRequest('a', 0, observe(1))).error == error
    assert ask(PlanRequest('b', 0, observe(2))).plan is not None


def test_an_injected_delay_counts_as_latency(start, observe):
    _, ask = start(ScriptedPolicy(ActionPlan(ROWS)), delay_s=0.05)
    assert ask(PlanRequest('a', 0, observe(1))).latency_ns >= 50_000_000


def test_the_last_point_is_due_one_step_per_interval_after_the_observation(observe):
    assert latest_due_ns(ActionPlan(ROWS), SPEC, observe(1000)) == 1000 + 50_000_000
