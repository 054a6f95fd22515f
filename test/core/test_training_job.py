"""A job is asked for in words; what comes of them is what a person would type."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from chunked_vla_ros.core.training_job import Converted, JobRefused, JobRequest, Stage

CONVERT = ['convert', '/bags/a', '/bags/b', '--robot', 'ur5e_sim', '--out', '/data/cubes',
           '--progress', 'json']
IMITATION = {'stage': Stage.IMITATION, 'config': 'compact', 'out': '/runs/one'}
OFFLINE_RL = {'stage': Stage.OFFLINE_RL, 'config': 'co_rft', 'out': '/runs/two'}


def test_a_conversion_is_the_command_line_that_a_person_would_type() -> None:
    request = JobRequest(('/bags/a', '/bags/b'), '/data/cubes', 'ur5e_sim', append=True,
                         options=('fps=20', 'gap_s=0.5'))
    command, = request.commands()
    assert command.stage is Stage.CONVERT
    assert [*command.arguments] == [*CONVERT, '--fps=20', '--gap-s=0.5', '--append']


def test_a_training_on_datasets_that_exist_needs_no_robot() -> None:
    request = JobRequest((), '/data/cubes', '', datasets=('/data/more', ''), bundle='/b/one',
                         train_options=('steps=3', 'policy.width=16'), **IMITATION)
    command, = request.commands()
    assert command.stage is Stage.IMITATION
    assert [*command.arguments] == [
        'train', 'compact', '--data', '/data/cubes', '/data/more', '--out', '/runs/one',
        '--bundle', '/b/one', '--resume', '--progress', 'json',
        '--set', 'steps=3', 'policy.width=16']


def test_bags_are_converted_first_and_their_dataset_and_robot_are_trained_on() -> None:
    request = JobRequest(('/bags/a', '/bags/b'), '/data/cubes', 'ur5e_sim', **IMITATION)
    convert, train = request.commands()
    assert [*convert.arguments] == CONVERT
    assert [*train.arguments] == [
        'train', 'compact', '--data', '/data/cubes', '--out', '/runs/one',
        '--bundle', '/runs/one/bundle', '--resume', '--progress', 'json',
        '--set', 'robot=ur5e_sim']


def test_offline_rl_is_a_training_that_begins_at_a_checkpoint() -> None:
    command, = JobRequest(
        (), '/data/cubes', '', start_from='/runs/one', **OFFLINE_RL).commands()
    assert command.stage is Stage.OFFLINE_RL
    assert [*command.arguments] == [
        'train', 'co_rft', '--data', '/data/cubes', '--from', '/runs/one', '--out', '/runs/two',
        '--bundle', '/runs/two/bundle', '--resume', '--progress', 'json']


def training(**fields: object) -> JobRequest:
    return JobRequest(**{'bags': (), 'dataset': '/d', 'robot': '', **IMITATION, **fields})


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
    (JobRequest(('/b',), '/d', 'r', out='/o'), 'out is of stage 1 or 2, which train; stage 0'),
    (JobRequest(('/b',), '/d', 'r', datasets=('/e',)), 'datasets is of stage 1'),
    (training(dataset=''), 'datasets is empty'),
    (training(config=''), 'config is empty'),
    (training(out=''), 'out is empty'),
    (training(out='/d'), "out is '/d', as another folder"),
    (training(bundle='/runs/one'), "out is '/runs/one', as another folder"),
    (training(bags=('/b',)), 'robot is empty'),
    (training(bags=('/b',), dataset='', robot='r', datasets=('/d',)), 'dataset is empty'),
    (training(datasets=('--set',)), '--set: begins with "-"'),
    (training(stage=Stage.OFFLINE_RL), 'start_from is empty'),
    (training(start_from='/r'), 'start_from is of stage 2; stage 1 begins at nothing'),
    (training(stage=Stage.OFFLINE_RL, start_from='/runs/one'),
     "out is '/runs/one', as another folder"),
    (training(stage=Stage.OFFLINE_RL, start_from='--set'), '--set: begins with "-"'),
    (training(config='-h'), '-h: begins with "-"'),
    (training(bundle='-b'), '-b: begins with "-"'),
    (training(train_options=('steps',)), "train option 'steps', expected key=value"),
    (training(train_options=('--steps=3',)), "train option '--steps=3'"),
    (training(train_options=('policy..width=3',)), "train option 'policy..width=3'"),
    (training(train_options=('robot=r',)), "train option 'robot=r'"),
])
def test_what_cannot_begin_is_refused_in_one_line(request_: JobRequest, reason: str) -> None:
    with pytest.raises(JobRefused) as refused:
        request_.commands()
    assert str(refused.value).startswith(reason)
    assert '\n' not in str(refused.value)


WORDS = st.text(alphabet='-=./ab\n ', max_size=5)


@given(st.builds(
    JobRequest, st.tuples(WORDS), WORDS, WORDS, stage=st.sampled_from(Stage), config=WORDS,
    start_from=WORDS, datasets=st.tuples(WORDS), out=WORDS, bundle=WORDS, options=st.tuples(WORDS),
    train_options=st.tuples(WORDS)))
def test_nothing_that_a_client_writes_becomes_another_option(request_: JobRequest) -> None:
    try:
        commands = request_.commands()
    except JobRefused:
        return
    ours = {'--robot', '--out', '--progress', '--data', '--bundle', '--resume', '--set',
            '--from'}
    for command in commands:
        for word in command.arguments:
            assert not word.startswith('-') or word in ours or word.startswith(('--a', '--b'))


def test_what_a_job_noted_of_its_conversion_is_read_again() -> None:
    noted = Converted(('convert', '/bags/a'), 6, 302, ('bad: truncated',), ('/bags/a/one',))
    assert Converted.from_dict(noted.to_dict()) == noted


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(['arguments', 'episodes', 'rows', 'refused', 'bags']), inner, max_size=5)))
def test_a_note_that_is_none_is_no_note(content: object) -> None:
    found = Converted.from_dict(content)
    assert found is None or Converted.from_dict(found.to_dict()) == found
