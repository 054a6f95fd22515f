"""A job is asked for in words, reports in lines, and its end is never taken for success."""

import json

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.training_job import (
    ending,
    JobEnd,
    JobRefused,
    JobRequest,
    parse_line,
    Progress,
    Stage,
    Termination,
)

PROGRESS = {'event': 'progress', 'step': 3, 'steps': 50, 'eta_s': 12.5, 'metrics': {'rows': 318},
            'message': 'episode_000002'}
END = {'event': 'end', 'dataset': '/data/cubes', 'episodes': 49, 'rows': 5102,
       'refused': ['episode_000007: truncated'], 'message': '1 of 50 bags refused'}


def test_a_request_is_the_command_line_that_a_person_would_type() -> None:
    request = JobRequest(('/bags/a', '/bags/b'), '/data/cubes', 'ur5e_sim', append=True,
                         options=('fps=20', 'gap_s=0.5'))
    assert request.arguments() == [
        'convert', '/bags/a', '/bags/b', '--robot', 'ur5e_sim', '--out', '/data/cubes',
        '--progress', 'json', '--fps=20', '--gap-s=0.5', '--append']


@pytest.mark.parametrize(('request_', 'reason'), [
    (JobRequest((), '/d', 'r'), 'bags is empty'),
    (JobRequest(('',), '/d', 'r'), 'bags is empty'),
    (JobRequest(('/b',), '', 'r'), 'dataset is empty'),
    (JobRequest(('/b',), '/d', ''), 'robot is empty'),
    (JobRequest(('--out',), '/d', 'r'), '--out: begins with "-"'),
    (JobRequest(('/b',), '-rf', 'r'), '-rf: begins with "-"'),
    (JobRequest(('/b',), '/d', 'r', options=('fps',)), "option 'fps', expected name=value"),
    (JobRequest(('/b',), '/d', 'r', options=('out=/x',)), "option 'out=/x'"),
    (JobRequest(('/b',), '/d', 'r', options=('--fps=3',)), "option '--fps=3'"),
])
def test_what_cannot_begin_is_refused_in_one_line(request_: JobRequest, reason: str) -> None:
    with pytest.raises(JobRefused) as refused:
        request_.arguments()
    assert str(refused.value).startswith(reason)
    assert '\n' not in str(refused.value)


def test_a_line_says_how_far_the_job_is_or_how_it_ended() -> None:
    assert parse_line(json.dumps(PROGRESS)) == Progress(
        Stage.CONVERT, 3, 50, 12.5, {'rows': 318.0}, 'episode_000002')
    assert parse_line(json.dumps(END)) == JobEnd(
        Termination.DONE, '/data/cubes', 49, 5102, ('episode_000007: truncated',),
        '1 of 50 bags refused')


@pytest.mark.parametrize('line', [
    '', 'converting', '{', '{}', '[]', '{"event": "other"}',
    json.dumps({**PROGRESS, 'step': -1}), json.dumps({**PROGRESS, 'step': True}),
    json.dumps({**PROGRESS, 'steps': 2**32}), json.dumps({**PROGRESS, 'eta_s': float('nan')}),
    json.dumps({**PROGRESS, 'metrics': 3}), json.dumps({**END, 'rows': '5'}),
    '{"event": ' * 20_000])
def test_a_line_that_is_not_ours_says_nothing(line: str) -> None:
    assert parse_line(line) is None


@given(st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from([*PROGRESS, *END]), inner, max_size=6), max_leaves=8).map(json.dumps))
def test_any_line_is_read_without_an_exception(line: str) -> None:
    assert isinstance(parse_line(line), (Progress, JobEnd, type(None)))


def test_an_end_is_done_only_if_the_process_says_so_and_ends_well() -> None:
    said = parse_line(json.dumps(END))
    assert isinstance(said, JobEnd)
    assert ending(said, 0, None, '') == said
    # A signal that came too late changes nothing.
    assert ending(said, 0, Termination.CANCELED, '') == said
    failed = ending(said, 1, None, 'error: episode_000007: truncated')
    assert (failed.termination, failed.message) == (
        Termination.FAILED, 'episode_000007: truncated')
    assert failed.refused == said.refused
    silent = ending(None, 0, None, '')
    assert silent.termination is Termination.FAILED
    assert silent.dataset == ''
    stopped = ending(None, 130, Termination.CANCELED, 'interrupted')
    assert (stopped.termination, stopped.dataset) == (Termination.CANCELED, '')
    assert 'kept' in stopped.message
    assert ending(None, -9, None, '').message == 'the conversion ended with code -9'
