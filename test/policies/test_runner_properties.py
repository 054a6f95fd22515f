"""Whatever order things happen in, the rules of runs hold."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np

from chunked_vla_ros.core.policy import ActionPlan
from chunked_vla_ros.policies.runner import RunRefused

MS = 1_000_000
S = 1_000_000_000
ROWS = np.array([[0.1, 0.0], [0.2, 0.0]])

STEPS = st.lists(st.tuples(st.sampled_from(
    ['advance', 'blind', 'answer', 'late', 'block', 'error', 'done', 'start', 'cancel',
     'success', 'instruct', 'back', 'deactivate', 'activate']), st.integers(0, 3)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
def test_whatever_happens_runs_end_once_and_chunk_ids_count_up(make_bench, spec, steps, automatic):
    bench = make_bench(replace(spec, needs_instruction=True),
                       run_on_activate=automatic, default_timeout_s=3.0)
    runner, published, ended = bench.runner, [], []
    for step, number in steps:
        perform(bench, step, number, published)
        while (result := runner.take_result()) is not None:
            ended.append(result)
    sessions = [result.session_id for result in ended]
    assert len(set(sessions)) == len(sessions)
    assert len(ended) + (runner.run is not None) == runner.statistics.runs
    for result in ended:
        ids = [chunk.chunk_id for chunk in published if chunk.session_id == result.session_id]
        assert ids == list(range(result.chunks))
    epochs = [chunk.policy_epoch for chunk in published]
    assert epochs == sorted(epochs)


def perform(bench, step, number, published):
    runner, text = bench.runner, f'task {number}'
    if step in ('advance', 'blind'):
        bench.advance((20 + 200 * number) * MS, joints=step == 'advance')
    elif step == 'back':
        bench.advance(-number * S)
    elif step == 'start':
        try:
            runner.start(text if number else '', float(number), bench.now)
        except RunRefused:
            pass
    elif step == 'cancel':
        runner.cancel('enough', bench.now)
    elif step == 'success':
        runner.episode_ended(bool(number), bench.now - number * S, 'sim', bench.now)
    elif step == 'instruct':
        runner.instruct(text, bench.now)
    elif step == 'deactivate':
        runner.deactivate(bench.now)
    elif step == 'activate':
        runner.activate(bench.now)
    elif bench.asked:
        request = bench.asked[0] if step == 'late' else bench.asked[-1]
        if step in ('block', 'error'):
            chunk = bench.answer(request=request, **{
                'block': {'blocked': 'not finite'}, 'error': {'error': 'broken'}}[step])
        else:
            chunk = bench.answer(ActionPlan(ROWS, done=step == 'done'), request=request)
        if chunk is not None:
            published.append(chunk)

