"""The client of `chunked-vla record` beside a real recorder: begin, end, and what is refused."""

from dataclasses import replace
import time

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from std_msgs.msg import String

from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.episode_folder import list_episodes
from chunked_vla_ros.nodes.demo_client import GraphFailure
from chunked_vla_ros.nodes.record_client import newest_values, RecordClient, RecordingFailure

PARAMETERS = ('topics:=[/talk]',)


@pytest.fixture
def client(operator, recorder):
    # The peer spins in a thread of its own.
    client = RecordClient(operator.node, time.sleep)
    operator.wait_for(lambda: client.ready, 'recorder')
    return client


@pytest.mark.parametrize('outcome', list(Outcome))
def test_an_episode_is_reported_as_it_lies_in_the_folder(operator, recorder, client, outcome):
    talk = operator.speak('/talk')
    client.begin('fold', 60.0)
    operator.wait_for(lambda: list(recorder.out.glob('*.partial')), 'episode')
    operator.say(talk, String(data='one'))
    reported = client.end(outcome)
    (lying,) = list_episodes(recorder.out).episodes
    assert (reported.task, reported.outcome) == ('fold', outcome)
    # The folder's own record has the facts, and times of messages instead of buttons.
    known = {'facts': {}, 'start_ns': 0, 'duration_s': 0.0, 'bytes': 0}
    assert replace(reported, **known) == replace(lying, **known)


def test_an_episode_that_the_recorder_ended_is_a_failure_with_its_reason(client, recorder):
    client.begin('fold', 0.2)
    deadline = time.monotonic() + 20.0
    while not (recorder.out / 'episode_000000').is_dir():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(RecordingFailure, match=r'max_duration of 0\.2 s is over \(.*is kept\)'):
        client.end(Outcome.SUCCESS)


def test_a_second_recording_is_refused(client):
    client.begin('fold', 60.0)
    with pytest.raises(RecordingFailure, match='recorder refused to record'):
        client.begin('fold', 60.0)
    assert client.end(Outcome.FAILURE).outcome is Outcome.FAILURE


def test_a_button_that_is_refused_says_why(operator, client):
    asked = client.press('stop')
    operator.wait_for(asked.answer, 'answer')
    assert asked.answer().startswith('stop refused: nothing is being recorded')
    with pytest.raises(GraphFailure, match='stop refused: nothing is being recorded'):
        client.wait_for(client.press('stop'))


def test_a_button_that_nobody_serves_is_named(client):
    with pytest.raises(GraphFailure, match='teleop/hold is not there: has its node ended'):
        client.press('hold')


def test_the_newest_word_of_the_recorder_counts_in_any_namespace():
    findings = [('arm/recorder', {'n': '1'}), ('arm/recorder', {'n': '2'}), ('arm/sim', {})]
    assert newest_values(findings) == {'n': '2'}
    assert newest_values([('sim', {})]) is None
