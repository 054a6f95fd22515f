"""A recorder that cannot record now says so, one that hangs holds nobody up, and both go on."""

import signal

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from lifecycle_msgs.msg import Transition
from rclpy.duration import Duration
from std_msgs.msg import String

from chunked_vla_ros.action import RecordEpisode
from chunked_vla_ros.nodes.polled import PolledGroup, taken

PARAMETERS = ('topics:=[/talk]',)
LONG = String(data='x' * 10_000)


def test_too_little_space_refuses_the_start_with_the_remedy(hold, operator):
    recorder = hold(*PARAMETERS, 'min_free_mb:=10000000')
    answer = operator.press('start')
    assert not answer.success
    assert answer.message.endswith('free space or choose another folder (parameter out)')
    assert not operator.goal().accepted
    assert not list(recorder.out.iterdir())


def test_a_folder_that_is_taken_away_refuses_the_start_in_one_line(recorder, operator):
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


@pytest.mark.usefixtures('recorder')
def test_an_inactive_recorder_refuses_and_says_so(operator):
    assert operator.change(Transition.TRANSITION_DEACTIVATE)
    answer = operator.press('start')
    assert not answer.success
    assert answer.message == 'the recorder is not active: activate it first'
    assert not operator.goal().accepted
    assert operator.change(Transition.TRANSITION_ACTIVATE)
    operator.press_well('start')
    operator.press_well('stop')


def test_deactivation_ends_the_episode_and_activation_allows_another(recorder, operator):
    talk = operator.speak('/talk')
    handle = operator.goal()
    operator.say(talk, String(data='kept'))
    assert operator.change(Transition.TRANSITION_DEACTIVATE)
    result = operator.result(handle).result
    assert result.termination_reason == RecordEpisode.Result.TERMINATION_DEACTIVATED
    assert recorder.bag('episode_000000').words('/talk') == ['kept']
    assert operator.change(Transition.TRANSITION_CLEANUP)
    assert operator.change(Transition.TRANSITION_CONFIGURE)
    assert operator.change(Transition.TRANSITION_ACTIVATE)
    operator.press_well('start')
    assert (recorder.out / 'episode_000001.partial').is_dir()
    operator.press_well('stop')


def never_called(_):
    raise AssertionError('a polled subscription was called back')


def test_a_recorder_that_hangs_holds_nobody_up_and_counts_what_it_missed(recorder, operator):
    """40 MB are sent while it is stopped: forty times what the publisher keeps for it."""
    talk = operator.speak('/talk')
    ear = operator.node.create_subscription(
        String, '/talk', never_called, 5000, callback_group=PolledGroup(), raw=True)
    operator.wait_for(ear.get_publisher_count, 'talk at the ear')
    operator.wait_for(lambda: talk.get_subscription_count() == 2, 'ear at talk')
    operator.press_well('start')
    operator.say(talk, String(data='first'))
    operator.wait_for_recorded('/talk', 1)
    recorder.process.send_signal(signal.SIGSTOP)
    heard = 0
    try:
        for _ in range(4000):
            operator.say(talk, LONG)
            heard += sum(1 for _ in taken(ear, 5000, raw=True))
        operator.wait_for(
            lambda: sum(1 for _ in taken(ear, 5000, raw=True)) or heard, 'messages')
    finally:
        recorder.process.send_signal(signal.SIGCONT)
    assert talk.wait_for_all_acked(Duration(seconds=20.0))
    operator.say(talk, String(data='last'))
    answer = operator.press_well('stop')
    operator.peer.destroy(ear)
    bag = recorder.bag('episode_000000')
    kept = bag.words('/talk')
    assert (kept[0], kept[-1]) == ('first', 'last')
    missed = 4002 - len(kept)
    assert (f', {missed} lost' in answer) == (missed > 0)
