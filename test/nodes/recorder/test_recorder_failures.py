"""Whatever happens to disk and process: what was recorded is whole, one line says what to do."""

import random
import signal
import subprocess

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import String

from chunked_vla_ros.action import RecordEpisode

TALK = 'topics:=[/talk]'
LIMIT_S = 30.0
SMALL_FILES = ('import resource; '
               'resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))')
LONG = String(data='x' * 10_000)
# Listening fails as soon as a file is there.
FAILING = """
import os
from chunked_vla_ros.nodes.recorder_inputs import Input
take = Input.take
def fail(self, log_ns):
    if os.path.exists({flag!r}):
        raise MemoryError('no memory')
    yield from take(self, log_ns)
Input.take = fail
"""


@pytest.fixture
def refused(try_to_start, domain):
    """Yield what starts a recorder that ends by itself, and returns the one line that it says."""
    def begin(*parameters):
        arguments = ['--ros-args', '-p', 'robot:=""']
        for parameter in parameters:
            arguments += ['-p', parameter]
        code, errors = try_to_start('chunked_vla_ros.nodes.recorder_node', domain, *arguments)
        assert code == 2, errors
        assert len(errors.strip().splitlines()) == 1, errors
        return errors
    return begin


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
def test_what_a_user_gets_wrong_ends_the_process_with_one_line(refused, parameter, says):
    assert says in refused(TALK, parameter)


def test_nothing_to_record_is_an_error(refused):
    assert 'name a robot, topics or patterns' in refused()


def mount(*arguments):
    done = subprocess.run(
        ['mount', *map(str, arguments)], capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        pytest.skip(f'nothing can be mounted here: {done.stderr.strip()}')


@pytest.fixture
def disk(tmp_path):
    """Yield a file system of its own."""
    path = tmp_path / 'disk'
    path.mkdir()
    mount('-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', path)
    yield path
    subprocess.run(['umount', '-l', str(path)], check=False, timeout=20)


def test_a_read_only_disk_refuses_the_recorder_and_an_episode_in_one_line(
        start, operator, refused, disk):
    recorder = start(TALK, out=disk / 'episodes')
    operator.press_well('start')
    operator.press_well('stop')
    mount('-o', 'remount,ro', disk)
    assert refused(TALK, f'out:={disk / "other"}') == (
        f'error: {disk / "other"}: Read-only file system: choose another folder '
        '(parameter out)\n')
    assert 'not writable: choose another folder' in refused(TALK, f'out:={disk / "episodes"}')
    for answer in (operator.press('start'), operator.label('', 1), operator.press('discard')):
        assert not answer.success
        assert answer.message.endswith('Read-only file system')
        assert str(disk) in answer.message
        assert '\n' not in answer.message
    assert [each.episode_id for each in operator.listing().episodes] == ['episode_000000']
    mount('-o', 'remount,rw', disk)
    assert operator.press_well('start') == 'episode_000001 is being recorded'
    operator.press_well('stop')
    assert recorder.bag('episode_000001').facts['episode_id'] == 'episode_000001'


def test_a_full_disk_ends_the_episode_keeps_it_and_the_next_one_begins(start, operator):
    """No file may exceed 5 MB here: the kernel refuses what follows, as on a full disk."""
    recorder = start(TALK, prelude=SMALL_FILES)
    talk = operator.speak('/talk')
    handle = operator.goal()
    result = operator.peer.in_turn(handle.get_result_async)
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


def test_a_disk_that_fills_up_ends_the_episode_before_it_is_full(start, operator, disk):
    recorder = start(TALK, 'min_free_mb:=12', out=disk / 'episodes')
    talk = operator.speak('/talk')
    result = operator.peer.in_turn(operator.goal().get_result_async)
    operator.repeat(lambda: operator.say(talk, LONG))
    ended = operator.done(result, 'result').result
    assert ended.termination_reason == RecordEpisode.Result.TERMINATION_DISK
    assert '12.0 MB are kept free (parameter min_free_mb): free space or choose' in ended.message
    kept = recorder.bag('episode_000000').data('/talk')
    assert len(kept) > 100
    assert set(kept) == {operator.sent['/talk'][0]}
    assert not operator.press('start').success


def test_a_recorder_that_hears_nothing_any_more_says_so_and_keeps_what_it_has(
        start, operator, tmp_path):
    flag = tmp_path / 'flag'
    recorder = start(TALK, prelude=FAILING.format(flag=str(flag)))
    talk = operator.speak('/talk')
    handle = operator.goal()
    operator.say(talk, String(data='kept'))
    operator.wait_for_recorded('/talk', 1)
    flag.touch()
    ended = operator.result(handle).result
    assert ended.termination_reason == RecordEpisode.Result.TERMINATION_ERROR
    assert ended.message == 'MemoryError: no memory'
    assert recorder.bag('episode_000000').words('/talk') == ['kept']
    found = operator.wait_for_finding('nothing is recorded any more: MemoryError: no memory')
    assert found.level == DiagnosticStatus.ERROR
    assert not operator.press('stop').success
    answer = operator.press('start')
    assert not answer.success
    assert 'restart the recorder' in answer.message


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_recording_leaves_a_whole_bag(start, operator, number):
    recorder = start(TALK)
    talk = operator.speak('/talk')
    handle = operator.goal(episode_id='cut')
    operator.say(talk, String(data='kept'))
    result = operator.peer.in_turn(handle.get_result_async)
    operator.listing()    # what was asked before has arrived
    code, _ = recorder.stop(number)
    assert code == 0
    bag = recorder.bag('cut')
    assert bag.words('/talk') == ['kept']
    operator.wait_for(result.done, 'result', LIMIT_S)
    assert result.result().result.termination_reason == (
        RecordEpisode.Result.TERMINATION_DEACTIVATED)


@pytest.mark.parametrize('seed', range(3))
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
