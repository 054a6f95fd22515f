"""The action: how a recording ended, apart from how the task went."""

from action_msgs.msg import GoalStatus
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from std_msgs.msg import String

from chunked_vla_ros.action import RecordEpisode
from chunked_vla_ros.msg import EpisodeEvent, EpisodeSummary

RESULT = RecordEpisode.Result
PARAMETERS = ('topics:=[/talk]', 'operator:=Ada')


@pytest.fixture
def talk(operator, recorder):
    return operator.speak('/talk')


def test_a_recording_that_is_stopped_succeeds_with_its_summary(operator, recorder, talk):
    handle = operator.goal(episode_id='größe 1', task='pick the cube')
    assert handle.accepted
    for word in ('a', 'b'):
        operator.say(talk, String(data=word))
    operator.wait_for(lambda: operator.feedback and operator.feedback[-1].messages >= 4,
                      'feedback', instead=lambda: operator.feedback)
    operator.press_well('success')
    reply = operator.result(handle)
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    result, episode = reply.result, reply.result.episode
    assert result.termination_reason == RESULT.TERMINATION_STOPPED
    assert (episode.episode_id, episode.task) == ('größe 1', 'pick the cube')
    assert (episode.outcome, episode.verdict) == (
        EpisodeSummary.OUTCOME_SUCCESS, EpisodeSummary.VERDICT_GOOD)
    assert (episode.lost, episode.dropped) == (0, 0)
    assert episode.duration > 0.0
    bag = recorder.bag('größe 1')
    assert str(bag.path) == episode.path
    assert bag.words('/talk') == ['a', 'b']
    assert (bag.facts['task'], bag.facts['operator']) == ('pick the cube', 'Ada')
    assert operator.feedback[-1].disk_left > 0.0


def test_a_recording_ends_when_its_time_is_over(operator, recorder):
    reply = operator.result(operator.goal(max_duration=0.3))
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    assert reply.result.termination_reason == RESULT.TERMINATION_TIMEOUT
    assert reply.result.message == 'max_duration of 0.3 s is over'
    assert 0.3 <= reply.result.episode.duration < 10.0
    assert recorder.bag('episode_000000').facts['outcome'] == 'unlabeled'


def test_a_cancelled_recording_is_kept(operator, recorder, talk):
    handle = operator.goal()
    operator.say(talk, String(data='kept'))
    operator.done(operator.peer.in_turn(handle.cancel_goal_async), 'cancel reply')
    reply = operator.result(handle)
    assert reply.status == GoalStatus.STATUS_CANCELED
    assert reply.result.termination_reason == RESULT.TERMINATION_CANCELED
    assert recorder.bag('episode_000000').words('/talk') == ['kept']


def test_a_discarded_recording_tells_where_it_lies(operator, recorder):
    handle = operator.goal()
    operator.press_well('discard')
    reply = operator.result(handle)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert reply.result.termination_reason == RESULT.TERMINATION_DISCARDED
    assert reply.result.episode.path == str(recorder.out / '.trash' / 'episode_000000.1')


def test_a_label_by_event_is_in_the_result(operator, recorder):
    handle = operator.goal()
    operator.event(EpisodeEvent.FAILURE)
    operator.wait_for_value('outcome', 'failure')
    operator.press_well('stop')
    assert operator.result(handle).result.episode.outcome == EpisodeSummary.OUTCOME_FAILURE


def test_a_goal_while_recording_is_refused_in_one_line(operator, recorder):
    handle = operator.goal()
    assert not operator.goal().accepted
    operator.press_well('stop')
    assert operator.result(handle).status == GoalStatus.STATUS_SUCCEEDED
    operator.wait_for(
        lambda: recorder.told('goal refused: episode_000000 is being recorded for'), 'refusal')


@pytest.mark.parametrize(('name', 'fault'), [
    ('../up', 'is a path'), ('..', 'starts with a dot'), ('/tmp/absolute', 'is a path'),
    ('a/b', 'is a path'), ('a\\b', 'is a path'), ('.hidden', 'starts with a dot'),
    ('.trash', 'starts with a dot'), ('a\nb', 'cannot be printed'),
    ('\x1b[2J', 'cannot be printed'), ('\u202egnp', 'cannot be printed'),
    ('x' * 300, 'is 300 bytes long, at most 100'), ('\u00fc' * 51, 'is 102 bytes long'),
    (' ', 'begins or ends with a space'), ('a.partial', 'ends with .partial')])
def test_a_name_that_is_none_is_refused_and_leaves_nothing(operator, recorder, name, fault):
    folder = recorder.out.parent
    before = sorted(folder.rglob('*'))
    assert not operator.goal(episode_id=name).accepted
    for answer in operator.label(name, 1), operator.discard(name):
        assert not answer.success
        assert fault in answer.message
        assert '\n' not in answer.message
    assert sorted(folder.rglob('*')) == before
    # What is logged is written by a thread of its own.
    operator.wait_for(lambda: recorder.told(
        'goal refused: ', fault, 'choose letters, digits, - and _'), 'refusal')


@pytest.mark.parametrize(('asked', 'name'), [
    ('Würfel-stapeln', 'Würfel-stapeln'), ('積み木 1', '積み木 1'), ('🤖', '🤖'),
    ('x' * 100, 'x' * 100),
    ('u\u0308', '\u00fc'),     # equal names are equal, however they were typed
    ('a\0/../b', 'a'),        # ROS's strings end at a NUL: the rest of it never arrives
    ('', 'episode_000000')])
def test_names_in_any_script_are_episodes_in_the_folder(operator, recorder, asked, name):
    handle = operator.goal(episode_id=asked)
    operator.press_well('stop')
    assert operator.result(handle).result.episode.path == str(recorder.out / name)
    assert recorder.bag(name).facts['episode_id'] == name
    assert [path.name for path in recorder.out.iterdir()] == [name]


def test_a_duration_that_is_none_is_refused(operator, recorder):
    for duration in (-1.0, float('nan'), float('inf')):
        assert not operator.goal(max_duration=duration).accepted
    assert not list(recorder.out.iterdir())
    operator.wait_for(
        lambda: len(recorder.told('goal refused: max_duration is ')) == 3, 'three refusals')


def test_an_existing_episode_is_never_overwritten(operator, recorder, talk):
    handle = operator.goal(episode_id='mine')
    operator.press_well('stop')
    assert operator.result(handle).status == GoalStatus.STATUS_SUCCEEDED
    before = {path: path.read_bytes() for path in (recorder.out / 'mine').iterdir()}
    reply = operator.result(operator.goal(episode_id='mine'))
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert reply.result.termination_reason == RESULT.TERMINATION_ERROR
    assert 'exists already' in reply.result.message
    assert {path: path.read_bytes() for path in (recorder.out / 'mine').iterdir()} == before
    # And the recorder goes on.
    assert operator.goal(episode_id='another').accepted
    operator.press_well('stop')


def test_an_unfinished_episode_of_a_killed_recorder_is_never_overwritten(operator, recorder):
    operator.listing()
    (recorder.out / 'lost.partial').mkdir()
    reply = operator.result(operator.goal(episode_id='lost'))
    assert 'bag recover' in reply.result.message
    assert [path.name for path in recorder.out.iterdir()] == ['lost.partial']
