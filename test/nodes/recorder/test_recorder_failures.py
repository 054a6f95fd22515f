"""Whatever happens to disk and process: what was recorded is whole, one line says what to do."""

import random
import signal

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_msgs.msg import String

from chunked_vla_ros.action import RecordEpisode

TALK = 'topics:=[/talk]'
LIMIT_S = 30.0
SMALL_FILES = ('import resource; '
               'resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))')
LONG = String(data='x' * 10_000)


@pytest.mark.parametrize(('parameter', 'says'), [
    ("compression:=['front=gif']", "'front=gif', expected TOPIC=CODEC"),
    ("compression:=['/nowhere=jpeg']", '/nowhere is not recorded: add it to topics'),
    ("patterns:=['(']", "parameter patterns: '(' is no regular expression"),
    ('robot:=nobody', "'nobody': no such robot contract"),
    ('queue_mb:=0', 'parameter queue_mb is 0, expected int from 1 to 65536'),
    ('pretrigger_s:=-1.0', 'parameter pretrigger_s is -1.0'),
    ('colour:=red', 'unknown parameter colour'),
    ('out:=/proc/version/episodes', '/proc/version/episodes: Not a directory: choose another'),
    ('out:=/sys/episodes', 'choose another folder (parameter out)'),    # not even for root
])
def test_what_a_user_gets_wrong_ends_the_process_with_one_line(start, parameter, says):
    code, errors = start(TALK, parameter).wait()
    assert code == 2
    assert says in errors
    assert len(errors.strip().splitlines()) == 1


def test_nothing_to_record_is_an_error(start):
    code, errors = start().wait()
    assert code == 2
    assert 'name a robot, topics or patterns' in errors


def test_a_full_disk_ends_the_episode_keeps_it_and_the_next_one_begins(start, operator):
    """No file may exceed 5 MB here: the kernel refuses what follows, as on a full disk."""
    recorder = start(TALK, prelude=SMALL_FILES)
    talk = operator.speak('/talk')
    handle = operator.goal()
    result = handle.get_result_async()
    operator.repeat(lambda: operator.say(talk, LONG))
    operator.wait_for(result.done, 'result', LIMIT_S)
    ended = result.result().result
    assert ended.termination_reason == RecordEpisode.Result.TERMINATION_DISK
    assert 'File too large' in ended.message
    bag = recorder.bag(ended.episode.path)
    kept = bag.data('/talk')
    assert len(kept) >= 50    # half a megabyte: a chunk at the least
    assert set(kept) == {operator.sent['/talk'][0]}
    assert bag.facts['verdict'] != 'good'
    # And the recorder goes on.
    operator.repeat(lambda: None)
    operator.press_well('start')
    operator.press_well('stop')
    assert recorder.process.poll() is None


def test_too_little_space_refuses_the_start_with_the_remedy(start, operator):
    recorder = start(TALK, 'min_free_mb:=10000000')
    answer = operator.press('start')
    assert not answer.success
    assert answer.message.endswith('free space or choose another folder (parameter out)')
    assert not operator.goal().accepted
    assert not list(recorder.out.iterdir())


def test_a_folder_that_is_taken_away_refuses_the_start_in_one_line(start, operator, tmp_path):
    recorder = start(TALK)
    operator.listing()
    recorder.out.rmdir()
    recorder.out.write_text('a file now')
    answer = operator.press('start')
    assert not answer.success
    assert str(recorder.out) in answer.message
    assert '\n' not in answer.message
    recorder.out.unlink()
    operator.press_well('start')
    operator.press_well('stop')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_recording_leaves_a_whole_bag(start, operator, number):
    recorder = start(TALK)
    talk = operator.speak('/talk')
    handle = operator.goal(episode_id='cut')
    operator.say(talk, String(data='kept'))
    result = handle.get_result_async()
    operator.listing()    # what was asked before has arrived
    code, _ = recorder.stop(number)
    assert code == 0
    bag = recorder.bag('cut')
    assert bag.words('/talk') == ['kept']
    operator.wait_for(result.done, 'result', LIMIT_S)
    assert result.result().result.termination_reason == (
        RecordEpisode.Result.TERMINATION_DEACTIVATED)


@pytest.mark.parametrize('seed', range(4))
def test_a_signal_at_any_moment_leaves_only_whole_bags(start, operator, seed):
    """The signal comes after a random number of messages, buttons being pressed all the while."""
    chance = random.Random(seed)
    recorder = start(TALK)
    talk = operator.speak('/talk')
    operator.repeat(lambda: operator.say(talk, LONG))
    operator.press_well('start')
    for button in chance.choices(['next', 'success', 'start', 'stop', 'rerecord'], k=4):
        operator.press(button)
    enough = len(operator.sent['/talk']) + chance.randrange(200)
    operator.wait_for(lambda: len(operator.sent['/talk']) >= enough, 'messages')
    code, errors = recorder.stop()
    assert code == 0, errors
    assert not list(recorder.out.glob('*.partial'))
    bags = [recorder.bag(path) for path in recorder.out.glob('episode*')]
    assert bags
    assert {data for bag in bags for data in bag.data('/talk')} <= set(operator.sent['/talk'])


def change(operator, transition):
    request = ChangeState.Request(transition=Transition(id=transition))
    return operator.peer.call(ChangeState, 'recorder/change_state', request).success


def test_an_inactive_recorder_refuses_and_says_so(start, operator):
    start(TALK, 'autostart:=false')
    assert change(operator, Transition.TRANSITION_CONFIGURE)
    answer = operator.press('start')
    assert not answer.success
    assert answer.message == 'the recorder is not active: activate it first'
    assert not operator.goal().accepted
    assert change(operator, Transition.TRANSITION_ACTIVATE)
    operator.press_well('start')
    operator.press_well('stop')


def test_deactivation_ends_the_episode_and_activation_allows_another(start, operator):
    recorder = start(TALK)
    talk = operator.speak('/talk')
    handle = operator.goal()
    operator.say(talk, String(data='kept'))
    assert change(operator, Transition.TRANSITION_DEACTIVATE)
    result = operator.result(handle).result
    assert result.termination_reason == RecordEpisode.Result.TERMINATION_DEACTIVATED
    assert recorder.bag('episode_000000').words('/talk') == ['kept']
    assert change(operator, Transition.TRANSITION_CLEANUP)
    assert change(operator, Transition.TRANSITION_CONFIGURE)
    assert change(operator, Transition.TRANSITION_ACTIVATE)
    operator.press_well('start')
    assert (recorder.out / 'episode_000001.partial').is_dir()
    operator.press_well('stop')
