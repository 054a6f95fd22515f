"""A job reports in lines, and its end is never taken for success."""

import json

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.training_job import Converted, Stage, Termination
from chunked_vla_ros.core.training_words import (
    converted_before,
    ending,
    JobEnd,
    other_bags,
    parse_line,
    ProcessEnd,
    Progress,
)

PROGRESS = {'event': 'progress', 'step': 3, 'steps': 50, 'eta_s': 12.5, 'metrics': {'rows': 318},
            'message': 'episode_000002'}
END = {'event': 'end', 'dataset': '/data/cubes', 'episodes': 49, 'rows': 5102,
       'refused': ['episode_000007: truncated'], 'message': '1 of 50 bags refused'}
TRAINING = {**PROGRESS, 'stage': 'imitation', 'metrics': {'loss': 0.5, 'learning_rate': 1e-4}}
TRAINED = {'event': 'end', 'stage': 'imitation', 'bundle': '/b/one', 'checkpoint': '/o/c/step_50',
           'step': 50, 'message': '50 steps'}
SAVED = ('/o/checkpoints/step_000030', 30)


def test_a_line_says_how_far_the_job_is_or_how_it_ended() -> None:
    assert parse_line(json.dumps(PROGRESS)) == Progress(
        Stage.CONVERT, 3, 50, 12.5, {'rows': 318.0}, 'episode_000002')
    assert parse_line(json.dumps(END)) == JobEnd(
        Termination.DONE, '/data/cubes', 49, 5102, ('episode_000007: truncated',),
        '1 of 50 bags refused')


def test_a_training_says_its_stage_and_ends_with_a_bundle() -> None:
    assert parse_line(json.dumps(TRAINING)) == Progress(
        Stage.IMITATION, 3, 50, 12.5, {'loss': 0.5, 'learning_rate': 1e-4}, 'episode_000002')
    assert parse_line(json.dumps(TRAINED)) == JobEnd(
        Termination.DONE, message='50 steps', bundle='/b/one', checkpoint='/o/c/step_50', step=50)


@pytest.mark.parametrize('line', [
    '', 'converting', '{', '{}', '[]', '{"event": "other"}',
    json.dumps({**PROGRESS, 'step': -1}), json.dumps({**PROGRESS, 'step': True}),
    json.dumps({**PROGRESS, 'steps': 2**32}), json.dumps({**PROGRESS, 'eta_s': float('nan')}),
    json.dumps({**PROGRESS, 'metrics': 3}), json.dumps({**END, 'rows': '5'}),
    json.dumps({**TRAINING, 'stage': 'other'}), json.dumps({**TRAINING, 'stage': ['imitation']}),
    json.dumps({**TRAINING, 'metrics': {'loss': float('nan')}}),
    json.dumps({**TRAINED, 'step': 0.5}), json.dumps({**END, 'stage': 'imitation'}),
    '{"event": ' * 20_000])
def test_a_line_that_is_not_ours_says_nothing(line: str) -> None:
    assert parse_line(line) is None


@given(st.text() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    | st.sampled_from(['progress', 'end', 'imitation']),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from([*PROGRESS, *END, *TRAINED]), inner, max_size=6),
    max_leaves=8).map(json.dumps))
def test_any_line_is_read_without_an_exception(line: str) -> None:
    assert isinstance(parse_line(line), (Progress, JobEnd, type(None)))


def test_a_conversion_is_done_only_if_its_process_says_so_and_ends_well() -> None:
    said = parse_line(json.dumps(END))
    assert isinstance(said, JobEnd)
    assert ending(Stage.CONVERT, ProcessEnd(said, 0)) == said
    # A signal that came too late changes nothing.
    assert ending(Stage.CONVERT, ProcessEnd(said, 0, Termination.CANCELED)) == said
    failed = ending(Stage.CONVERT, ProcessEnd(said, 1, None, 'error: episode_000007: truncated'))
    assert (failed.termination, failed.message) == (
        Termination.FAILED, 'episode_000007: truncated')
    assert failed.refused == said.refused
    silent = ending(Stage.CONVERT, ProcessEnd(None, 0))
    assert silent.termination is Termination.FAILED
    assert (silent.dataset, silent.message) == ('', 'the conversion ended with code 0')
    stopped = ending(Stage.CONVERT, ProcessEnd(None, 130, Termination.CANCELED, 'interrupted'))
    assert (stopped.termination, stopped.dataset) == (Termination.CANCELED, '')
    assert 'kept' in stopped.message


def test_a_training_that_was_stopped_names_its_checkpoint_and_no_bundle() -> None:
    said = JobEnd(Termination.DONE, bundle='/b/one', checkpoint='/elsewhere', step=29)
    stopped = ending(
        Stage.IMITATION, ProcessEnd(said, 130, Termination.CANCELED, 'stopped', 29), SAVED)
    assert (stopped.termination, stopped.bundle) == (Termination.CANCELED, '')
    assert (stopped.checkpoint, stopped.step) == SAVED
    assert stopped.message == (
        'stopped; the same goal again goes on from step 30, /o/checkpoints/step_000030')
    early = ending(Stage.IMITATION, ProcessEnd(None, 130, Termination.DEACTIVATED))
    assert early.message == (
        'stopped; there is no checkpoint yet, the same goal again begins afresh')
    killed = ending(Stage.IMITATION, ProcessEnd(None, -9, Termination.CANCELED), SAVED)
    assert killed.termination is Termination.CANCELED
    assert killed.message.startswith('stopped, and killed as it did not end; ')


def test_a_training_that_died_says_of_what_and_where_it_goes_on() -> None:
    dead = ending(Stage.IMITATION, ProcessEnd(None, -9, None, 'a warning', 37), SAVED)
    assert dead.termination is Termination.FAILED
    assert dead.message == (
        'the training was killed by SIGKILL after step 37, as the kernel does where memory runs '
        'out; the same goal again goes on from step 30, /o/checkpoints/step_000030')
    assert (dead.checkpoint, dead.step) == SAVED
    crashed = ending(Stage.IMITATION, ProcessEnd(None, -11, None, '', 2))
    assert crashed.message == ('the training was killed by SIGSEGV after step 2; there is no '
                               'checkpoint yet, the same goal again begins afresh')
    assert 'signal 99' in ending(Stage.IMITATION, ProcessEnd(None, -99)).message
    mistake = ending(Stage.IMITATION, ProcessEnd(None, 2, None, 'error: steps is 0'))
    assert mistake.message == 'steps is 0'
    assert mistake.checkpoint == ''
    again = ending(Stage.IMITATION, ProcessEnd(None, 2, None, 'error: loss is nan'), SAVED)
    assert again.message == 'loss is nan'
    assert (again.checkpoint, again.step) == SAVED


def test_the_end_of_a_training_keeps_what_the_conversion_before_it_has_made() -> None:
    dead = ending(Stage.IMITATION, ProcessEnd(None, -9), SAVED).after(
        converted_before(Converted(('convert',), 6, 302, ('bad: truncated',)), '/data/cubes'))
    assert (dead.termination, dead.dataset, dead.episodes, dead.rows, dead.refused) == (
        Termination.FAILED, '/data/cubes', 6, 302, ('bad: truncated',))
    assert (dead.checkpoint, dead.step) == SAVED


def test_a_dataset_is_that_of_the_bags_that_it_was_made_of() -> None:
    noted = Converted(('convert',), 2, 9, bags=('/b/1', '/b/2'))
    assert other_bags(noted, ('/b/2', '/b/1'), '/d') == ''
    line = other_bags(noted, ('/b/1', '/b/3', '/b/4'), '/d')
    assert line.startswith(
        '/d: was converted before from other bags: 2 new, /b/3; 1 gone, /b/2; name another')
