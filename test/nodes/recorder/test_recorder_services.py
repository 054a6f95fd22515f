"""What the buttons of the recorder do to its folder."""

import json
import os
from pathlib import Path
import re

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from std_msgs.msg import String

from chunked_vla_ros.msg import EpisodeEvent, EpisodeSummary

PARAMETERS = ('topics:=[/talk]',)


@pytest.fixture
def talk(operator, recorder):
    return operator.speak('/talk')


def say(operator, talk, *words):
    """Say ``words``."""
    for word in words:
        operator.say(talk, String(data=word))


def test_start_and_stop_make_a_bag_of_every_byte_between_them(operator, recorder, talk):
    say(operator, talk, 'before')
    assert operator.press_well('start') == 'episode_000000 is being recorded'
    say(operator, talk, 'one', 'two', 'three')
    assert (recorder.out / 'episode_000000.partial').is_dir()
    answer = operator.press_well('stop')
    assert answer.startswith('episode_000000: ')
    bag = recorder.bag('episode_000000')
    assert bag.data('/talk') == operator.sent['/talk'][1:]
    assert not (recorder.out / 'episode_000000.partial').exists()


def test_the_bag_carries_its_own_marks_and_facts(operator, recorder, talk):
    operator.press_well('start')
    say(operator, talk, 'one')
    operator.press_well('success')
    bag = recorder.bag('episode_000000')
    assert [event.type for event in bag.events()] == [
        EpisodeEvent.START, EpisodeEvent.TASK, EpisodeEvent.SUCCESS, EpisodeEvent.END]
    assert {event.episode_id for event in bag.events()} == {'episode_000000'}
    assert {event.source for event in bag.events()} == {'/recorder'}
    assert bag.facts['outcome'] == 'success'
    assert bag.facts['verdict'] == 'good', bag.facts['reasons']
    assert bag.facts['software_version'].startswith('chunked_vla_ros ')
    assert int(bag.facts['start_ns']) > 1.7e18


def test_a_second_start_is_refused_and_harms_nothing(operator, recorder, talk):
    operator.press_well('start')
    refused = operator.press('start')
    assert not refused.success
    assert refused.message.startswith('episode_000000 is being recorded for ')
    say(operator, talk, 'still')
    operator.press_well('stop')
    assert recorder.bag('episode_000000').words('/talk') == ['still']


def test_without_an_episode_buttons_and_labels_are_refused_in_one_line(operator, recorder):
    answers = [operator.press(button)
               for button in ('stop', 'success', 'failure', 'discard', 'rerecord')]
    for episode, outcome, says in (
            ('', 1, 'nothing has been recorded'), ('nobody', 1, 'nobody'),
            ('../nobody', 1, 'is a path'), ('nobody', 7, 'outcome 7, expected 0')):
        answers.append(operator.label(episode, outcome))
        assert says in answers[-1].message
    for answer in answers:
        assert not answer.success
        assert answer.message
        assert '\n' not in answer.message


def test_an_event_labels_the_episode_that_goes_on(operator, recorder, talk):
    operator.press_well('start')
    operator.event(EpisodeEvent.FAILURE)
    operator.event(EpisodeEvent.SUCCESS)
    operator.wait_for_value('outcome', 'success')
    say(operator, talk, 'still recorded')
    operator.press_well('stop')
    bag = recorder.bag('episode_000000')
    assert bag.facts['outcome'] == 'success'
    assert bag.words('/talk') == ['still recorded']


def test_discard_moves_the_bag_to_the_trash_whole(operator, recorder, talk):
    operator.press_well('start')
    say(operator, talk, 'rubbish')
    answer = operator.press_well('discard')
    path = Path(answer.rpartition(' is now in ')[2])
    assert path == recorder.out / '.trash' / 'episode_000000.1'
    assert recorder.bag(path).words('/talk') == ['rubbish']
    assert not list(recorder.out.glob('episode*'))


def test_rerecord_throws_away_and_records_under_the_same_name(operator, recorder, talk):
    operator.press_well('start')
    say(operator, talk, 'first try')
    operator.press_well('rerecord')
    say(operator, talk, 'second try')
    operator.press_well('stop')
    # After the stop too: the last episode is recorded again.
    operator.press_well('rerecord')
    say(operator, talk, 'third try')
    operator.press_well('stop')
    assert recorder.bag('episode_000000').words('/talk') == ['third try']
    tries = [recorder.bag(path).words('/talk')
             for path in sorted((recorder.out / '.trash').iterdir())]
    assert tries == [['first try'], ['second try']]


def test_next_loses_nothing_between_two_episodes(operator, recorder, talk):
    """Numbers are sent without a pause while the operator presses next five times."""
    numbers = iter(range(10**6))
    operator.repeat(lambda: operator.say(talk, String(data=str(next(numbers)))))
    operator.press_well('start')
    for episode in range(1, 6):
        operator.wait_for(
            lambda enough=50 * episode: len(operator.sent['/talk']) > enough, 'numbers')
        operator.press_well('next')
    operator.press_well('stop')
    bags = [recorder.bag(f'episode_{number:06d}') for number in range(6)]
    heard = [int(word) for bag in bags for word in bag.words('/talk')]
    assert heard == list(range(heard[0], heard[0] + len(heard)))
    assert len(heard) >= 100
    for bag in bags:
        assert bag.facts['verdict'] == 'good', bag.facts['reasons']


def test_a_label_after_the_fact_leaves_the_bag_as_it_is(operator, recorder, talk):
    operator.press_well('start')
    say(operator, talk, 'word')
    operator.press_well('stop')
    folder = recorder.out / 'episode_000000'
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert operator.label('', EpisodeSummary.OUTCOME_FAILURE, 'dropped it').success
    assert operator.label('episode_000000', EpisodeSummary.OUTCOME_SUCCESS).success
    assert {path.name: path.read_bytes() for path in folder.iterdir()
            if path.name in before} == before
    labels = json.loads((folder / 'labels.json').read_text())['labels']
    assert [each['outcome'] for each in labels] == ['failure', 'success']
    (episode,) = operator.listing().episodes
    assert (episode.episode_id, episode.outcome) == (
        'episode_000000', EpisodeSummary.OUTCOME_SUCCESS)
    assert episode.messages >= 4    # a word and three marks


def test_a_label_with_a_note_while_recording_is_in_the_bag(operator, recorder, talk):
    operator.press_well('start')
    assert operator.label('', EpisodeSummary.OUTCOME_SUCCESS, 'clean grasp').success
    operator.press_well('stop')
    bag = recorder.bag('episode_000000')
    note, = [event for event in bag.events() if event.type == EpisodeEvent.NOTE]
    assert (note.episode_id, note.text) == ('episode_000000', 'clean grasp')
    assert bag.facts['outcome'] == 'success'


def test_foreign_folders_do_not_end_the_recorder(operator, recorder):
    """Names that are no text, and metadata with numbers that no message holds."""
    operator.press_well('start')
    operator.press_well('stop')
    own = recorder.out / 'episode_000000'
    text = (own / 'metadata.yaml').read_text()
    absurd = re.sub(r'(nanoseconds(?:_since_epoch)?|message_count): \d+', r'\1: ' + '9' * 30, text)
    for name in (b'\xff\xfe', b'absurd', b'empty'):
        folder = os.fsencode(recorder.out) + b'/' + name
        os.mkdir(folder)    # noqa: PTH102 - a name that is no text
        if name != b'empty':
            Path(os.fsdecode(folder), 'metadata.yaml').write_text(absurd)
    listing = operator.listing()
    assert [each.episode_id for each in listing.episodes][:1] == ['episode_000000']
    assert len(listing.episodes) + len(listing.problems) >= 4
    assert operator.press_well('next') == 'episode_000001 is being recorded'


def test_episodes_are_listed_and_discarded_by_name(operator, recorder, talk):
    for _ in range(3):
        operator.press_well('start')
        operator.press_well('stop')
    (recorder.out / 'notes').mkdir()
    listing = operator.listing()
    assert [each.episode_id for each in listing.episodes] == [
        f'episode_{number:06d}' for number in range(3)]
    assert len(listing.problems) == 1
    answer = operator.discard('episode_000001')
    assert answer.success
    assert answer.path == str(recorder.out / '.trash' / 'episode_000001.1')
    assert not operator.discard('episode_000001').success
    assert not operator.discard('../episodes').success
    assert [each.episode_id for each in operator.listing().episodes] == [
        'episode_000000', 'episode_000002']
