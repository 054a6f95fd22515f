"""How an episode went and what was said in it reaches its rows; what is unfit does not."""

from dataclasses import replace

import pytest

from chunked_vla_ros.core.conversion_rules import ConversionRefused, ConversionRules
from chunked_vla_ros.core.episode_marks import EventKind
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.bag_episodes import bag_episodes
from chunked_vla_ros.data.episode_folder import discard, label

TENTH = ConversionRules(fps=10.0)


@pytest.fixture
def robot(make_robot):
    small = make_robot()
    return replace(small, joints=tuple(
        replace(joint, name=name) for joint, name in zip(small.joints, 'ab', strict=True)))


@pytest.fixture
def still(scene):
    """Return a scene of 0.4 s, five rows at 10 Hz."""
    return scene.states(*range(0, 401, 20))


def test_the_outcome_is_the_last_label_else_the_recorders_else_the_last_event(still, robot):
    still.event(100, EventKind.FAILURE).event(300, EventKind.SUCCESS)
    told, = still.episodes(robot, TENTH)
    assert told.outcome is Outcome.SUCCESS
    assert told.success.tolist() == told.done.tolist() == [False] * 4 + [True]
    # The recorder knows which events were of its episode.
    recorded, = still.episodes(robot, TENTH, facts={'outcome': 'unlabeled'})
    assert recorded.outcome is Outcome.UNLABELED
    assert not recorded.done.any()
    bag = still.bag('episode', facts={'outcome': 'success'})
    label(bag.parent, 'episode', Outcome.SUCCESS, now_ns=1)
    label(bag.parent, 'episode', Outcome.FAILURE, now_ns=2)
    labelled, = bag_episodes(bag, robot, TENTH)
    assert labelled.outcome is Outcome.FAILURE
    assert not labelled.success.any()
    assert labelled.done[-1]
    assert bag_episodes(bag, robot, replace(TENTH, include_failures=False)) == []


def test_labels_that_cannot_be_read_are_refused_and_not_ignored(still, robot):
    bag = still.bag()
    (bag / 'labels.json').write_text('{')
    with pytest.raises(ConversionRefused, match=r'labels.json is no JSON; move it away'):
        bag_episodes(bag, robot, TENTH)


def test_of_a_split_episode_only_the_last_part_ends_with_the_outcome(scene, robot):
    scene.states(*range(0, 401, 20), *range(1000, 1401, 20)).event(1300, EventKind.SUCCESS)
    first, second = scene.episodes(robot, TENTH)
    assert (first.outcome, second.outcome) == (Outcome.UNLABELED, Outcome.SUCCESS)
    assert not first.done.any()
    assert second.success.tolist() == [False] * 4 + [True]


def test_a_reward_counts_for_the_row_whose_step_it_came_in(still, robot):
    for at_ms, value in ((-150, 64.0), (0, 1.0), (1, 32.0), (101, 2.0), (200, 4.0), (550, 8.0),
                         (250, float('nan'))):
        still.event(at_ms, EventKind.REWARD, value)
    episode, = still.episodes(robot, TENTH)
    # What came up to the first row is no one's; the last row has all that came after it.
    assert episode.reward.tolist() == [32.0, 6.0, 0.0, 0.0, 8.0]
    assert episode.facts['reward_of'] == 'the step that begins at the row'


def test_a_reward_in_a_pause_counts_for_the_last_row_before_it(scene, robot):
    scene.states(*range(0, 201, 20), *range(1000, 1201, 20))
    for at_ms, value in ((600, 1.0), (950, 2.0), (1000, 4.0), (1100, 8.0)):
        scene.event(at_ms, EventKind.REWARD, value)
    first, second = scene.episodes(robot, TENTH)
    assert first.reward.tolist() == [0.0, 0.0, 0.0, 7.0]    # a row at 300 ms sees 200 ms
    assert second.reward.tolist() == [8.0, 0.0, 0.0]


def test_a_person_has_taken_over_from_the_beginning_of_an_intervention_to_its_end(still, robot):
    still.event(100, EventKind.INTERVENTION_BEGIN).event(299, EventKind.INTERVENTION_END)
    episode, = still.episodes(robot, TENTH)
    assert episode.intervention.tolist() == [False, True, True, False, False]
    still.messages.pop(-2)
    late, = still.episodes(robot, TENTH)
    assert late.intervention.tolist() == [True, True, True, False, False]


def test_the_task_is_the_instruction_in_force_and_before_it_the_recorders(still, robot):
    still.say('/instruction', 150, still.author.text('pick'))
    still.event(290, EventKind.TASK, text='place')
    episode, = still.episodes(robot, TENTH, facts={'task': 'begin', 'operator': 'me'})
    assert episode.tasks == ('begin', 'begin', 'pick', 'place', 'place')
    assert episode.facts['operator'] == 'me'
    other, = still.episodes(robot, replace(TENTH, task='stack'))
    assert set(other.tasks) == {'stack'}


def test_which_policy_drove_is_what_the_recorder_says_or_inference_said(still, robot):
    author = still.author
    still.say('/policy_info', 0, author.make(
        'diagnostic_msgs/msg/DiagnosticStatus', level=0, name='policy', message='', hardware_id='',
        values=[author.make('diagnostic_msgs/msg/KeyValue', key='policy_id', value='mine 1')]))
    assert still.episodes(robot, TENTH)[0].facts['policy_id'] == 'mine 1'
    recorded, = still.episodes(robot, TENTH, facts={'policy_id': 'mine 2'})
    assert recorded.facts['policy_id'] == 'mine 2'


def test_a_latched_instruction_from_before_the_first_row_is_in_force(still, robot):
    still.say('/instruction', -5000, still.author.text('pick'))
    episode, = still.episodes(robot, TENTH)
    assert set(episode.tasks) == {'pick'}


def test_what_was_discarded_or_is_unfinished_is_not_converted(still, robot):
    bag = still.bag('episode')
    with pytest.raises(ConversionRefused, match=r'was discarded: move it out of .trash'):
        bag_episodes(discard(bag.parent, 'episode'), robot, TENTH)
    partial = still.bag('other').rename(bag.parent / 'other.partial')
    with pytest.raises(ConversionRefused, match=r'is unfinished: rescue it with `chunked-vla bag'):
        bag_episodes(partial, robot, TENTH)
    assert len(bag_episodes(partial, robot, replace(TENTH, allow_damaged=True))) == 1


def test_what_its_recorder_judged_broken_is_refused_unless_it_is_wished_for(still, robot):
    bag = still.bag(facts={'verdict': 'broken', 'reasons': '["no camera"]'})
    with pytest.raises(ConversionRefused, match=r'broken \(\["no camera"\]\): convert it all the'):
        bag_episodes(bag, robot, TENTH)
    assert len(bag_episodes(bag, robot, replace(TENTH, include_broken=True))) == 1


def test_a_damaged_bag_is_refused_unless_it_is_wished_for_and_says_so(scene, robot):
    bag = scene.states(*range(0, 4001, 20)).bag()
    file = next(bag.glob('*.mcap'))
    data = file.read_bytes()
    file.write_bytes(data[:len(data) * 2 // 3])
    with pytest.raises(ConversionRefused, match=r'rescue it with `chunked-vla bag recover '):
        bag_episodes(bag, robot, TENTH)
    episode, = bag_episodes(bag, robot, replace(TENTH, allow_damaged=True))
    assert 5 <= len(episode.times_ns) < 40
    assert episode.facts['note: damaged']


def test_no_bag_is_one_line(tmp_path, robot):
    with pytest.raises(ConversionRefused, match=f'^{tmp_path}/none: no such file or directory$'):
        bag_episodes(tmp_path / 'none', robot, TENTH)
