"""What a policy says of its plans is marked on the time line of the episode that goes on."""

import itertools

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.core.policy import ActionPlan  # noqa: E402
from chunked_vla_ros.msg import EpisodeEvent  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402
from chunked_vla_ros.nodes.policy_notes import PolicyNotes  # noqa: E402

HERE, NOTE = np.zeros((1, 1)), EpisodeEvent.NOTE
RUN, NEXT_RUN = 'a' * 32, 'b' * 32


@pytest.fixture
def heard(peer):
    """Return the events that the graph hears."""
    events = []
    subscription = peer.node.create_subscription(
        EpisodeEvent, 'episode_event', events.append, qos.EVENT)
    yield events
    peer.destroy(subscription)


@pytest.fixture
def notes(peer):
    """Yield the notes of a policy's node."""
    node = rclpy.create_node('policy', context=peer.context)
    notes = PolicyNotes(node)
    yield notes
    notes.destroy()
    node.destroy_node()


def test_a_note_is_of_the_episode_that_was_spoken_of_last(peer, heard, notes):
    recorder = peer.node.create_publisher(EpisodeEvent, 'episode_event', qos.EVENT)
    numbers = itertools.count()

    def note():
        notes.plan_sent(ActionPlan(HERE, note=f'phase {next(numbers)}'), RUN, 1)
        return [event for event in tuple(heard) if event.type == NOTE]
    assert peer.wait_for(note, 'note')[0].episode_id == ''
    for episode in ('one', 'two'):
        def noted(episode=episode):
            recorder.publish(EpisodeEvent(type=EpisodeEvent.START, episode_id=episode))
            recorder.publish(EpisodeEvent(type=EpisodeEvent.REWARD))    # of no episode
            return note()[-1].episode_id == episode
        peer.wait_for(noted, f'note of episode {episode}')
    peer.destroy(recorder)


def test_a_note_is_said_once_and_plans_without_one_say_nothing(peer, heard, notes):
    peer.wait_for(lambda: notes.plan_sent(ActionPlan(HERE, note='found'), RUN, 1) or (
        notes.plan_sent(ActionPlan(HERE), RUN, 1)) or any(event.type == NOTE for event in heard),
        'note')
    heard.clear()
    for note in ('reach', 'reach', '', 'reach', 'lift', 'lift'):
        notes.plan_sent(ActionPlan(HERE, note=note), RUN, 1)
    peer.wait_for(lambda: heard and heard[-1].text == 'lift', 'last note')
    assert [event.text for event in heard if event.text != 'found'] == ['reach', 'reach', 'lift']


def test_a_run_that_begins_as_the_last_one_ended_says_so(peer, heard, notes):
    peer.wait_for(lambda: notes.plan_sent(ActionPlan(HERE, note='found'), RUN, 1) or (
        notes.plan_sent(ActionPlan(HERE), RUN, 1)) or any(event.type == NOTE for event in heard),
        'note')
    for run in (RUN, RUN, NEXT_RUN, NEXT_RUN):
        notes.plan_sent(ActionPlan(HERE, note='reach'), run, 1)
    notes.plan_sent(ActionPlan(HERE, note='end'), NEXT_RUN, 1)
    peer.wait_for(lambda: heard[-1].text == 'end', 'last note')
    assert [event.text for event in heard if event.text != 'found'] == ['reach', 'reach', 'end']
