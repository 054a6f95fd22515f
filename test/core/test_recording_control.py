"""What each button means while an episode is recorded, and when none is."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, RuleBasedStateMachine
import pytest

from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.recording_control import (
    EpisodeRequest,
    RecordingControl,
    RecordingRefused,
    Step,
    Termination,
)

S = 1_000_000_000
REQUEST = EpisodeRequest(task='pick the cube', operator='Ada', max_duration_ns=30 * S)


@pytest.fixture
def idle():
    return RecordingControl()


@pytest.fixture
def recording(idle):
    idle.begun('episode_000004', REQUEST, 100 * S)
    return idle


@pytest.fixture
def stopped(recording):
    recording.ended(kept=True)
    return recording


def test_start_begins_what_was_asked_for(idle):
    assert idle.start(REQUEST, 0) == Step(begin=REQUEST)


def test_a_second_start_is_refused_with_name_and_remedy(recording):
    with pytest.raises(RecordingRefused) as refused:
        recording.start(EpisodeRequest(), 112 * S)
    assert str(refused.value) == 'episode_000004 is being recorded for 12.0 s: stop it first'


def test_stop_keeps_the_bag_unlabelled(recording):
    ending = recording.stop().ending
    assert (ending.termination, ending.outcome, ending.keep) == (
        Termination.STOPPED, Outcome.UNLABELED, True)


@pytest.mark.parametrize('outcome', [Outcome.SUCCESS, Outcome.FAILURE])
def test_success_and_failure_end_the_episode_with_that_label(recording, outcome):
    step = recording.judge(outcome)
    assert (step.ending.termination, step.ending.outcome) == (Termination.STOPPED, outcome)
    assert step.begin is None


def test_an_event_labels_the_episode_and_lets_it_go_on(recording):
    assert recording.mark(Outcome.FAILURE)
    assert recording.mark(Outcome.SUCCESS)    # the last word counts
    assert recording.current is not None
    assert recording.stop().ending.outcome is Outcome.SUCCESS


def test_an_event_while_nothing_is_recorded_means_nothing(stopped):
    assert not stopped.mark(Outcome.SUCCESS)


def test_success_after_stop_labels_the_last_episode(stopped):
    assert stopped.judge(Outcome.SUCCESS) == Step(label=('episode_000004', Outcome.SUCCESS))


def test_discard_ends_and_throws_away(recording):
    ending = recording.discard().ending
    assert (ending.termination, ending.keep) == (Termination.DISCARDED, False)


def test_discard_after_stop_throws_the_last_episode_away_once(stopped):
    assert stopped.discard() == Step(discard_id='episode_000004')
    stopped.discarded('episode_000004')
    with pytest.raises(RecordingRefused, match='no episode to discard'):
        stopped.discard()


def test_rerecord_throws_away_and_begins_the_same_under_the_same_name(recording):
    step = recording.rerecord()
    assert not step.ending.keep
    assert step.begin == EpisodeRequest('episode_000004', 'pick the cube', 'Ada', 30 * S)


def test_rerecord_after_stop_throws_the_last_episode_away_and_begins_it_again(stopped):
    step = stopped.rerecord()
    assert step.ending is None
    assert step.discard_id == 'episode_000004'
    assert step.begin.episode_id == 'episode_000004'


def test_next_ends_the_episode_and_begins_one_like_it_under_a_new_name(recording):
    step = recording.next()
    assert step.ending.keep
    assert step.begin == EpisodeRequest('', 'pick the cube', 'Ada', 30 * S)


def test_next_also_begins_the_first_one(idle):
    assert idle.next() == Step(begin=EpisodeRequest())


@pytest.mark.parametrize('button', ['stop', 'discard', 'rerecord'])
def test_without_an_episode_a_button_is_refused_in_one_line(idle, button):
    with pytest.raises(RecordingRefused) as refused:
        getattr(idle, button)()
    assert 'start' in str(refused.value) or 'recorded' in str(refused.value)


def test_an_episode_ends_when_its_time_is_over(recording):
    assert recording.tick(130 * S - 1) == Step()
    ending = recording.tick(130 * S).ending
    assert ending.termination is Termination.TIMEOUT
    assert ending.message == 'max_duration of 30 s is over'


def test_without_a_limit_an_episode_lasts_until_it_is_stopped(idle):
    idle.begun('x', EpisodeRequest(), 0)
    assert idle.tick(10**6 * S) == Step()


def test_a_clock_set_back_ends_nothing(recording):
    assert recording.tick(0) == Step()
    assert recording.elapsed_s(0) == 0.0


def test_the_recorders_own_reasons_end_what_there_is(recording):
    ending = recording.finish(Termination.DISK, 'disk full').ending
    assert (ending.termination, ending.message, ending.keep) == (
        Termination.DISK, 'disk full', True)
    recording.ended(kept=True)
    assert recording.finish(Termination.DISK, 'disk full') == Step()


class Buttons(RuleBasedStateMachine):
    """Press anything in any order; a folder of names plays the recorder's part."""

    def __init__(self):
        super().__init__()
        self.control, self.folder, self.trash, self.now = RecordingControl(), [], [], 0
        self.open = None

    def obey(self, wish):
        try:
            step = wish()
        except RecordingRefused:
            return
        if step.ending is not None:
            assert self.open is not None
            (self.folder if step.ending.keep else self.trash).append(self.open)
            self.open = None
            self.control.ended(step.ending.keep)
        if step.label is not None:
            assert step.label[0] in self.folder
        if step.discard_id:
            self.folder.remove(step.discard_id)
            self.trash.append(step.discard_id)
            self.control.discarded(step.discard_id)
        if step.begin is not None:
            assert self.open is None
            name = step.begin.episode_id or f'e{len(self.folder) + len(self.trash)}x{self.now}'
            assert name not in self.folder
            self.open = name
            self.control.begun(name, step.begin, self.now)

    @rule(limit=st.sampled_from([0, 2 * S]))
    def start(self, limit):
        self.obey(lambda: self.control.start(EpisodeRequest(max_duration_ns=limit), self.now))

    @rule(button=st.sampled_from(['stop', 'discard', 'rerecord', 'next']))
    def press(self, button):
        self.obey(getattr(self.control, button))

    @rule(outcome=st.sampled_from(Outcome))
    def judge(self, outcome):
        self.obey(lambda: self.control.judge(outcome))

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds):
        self.now += seconds * S
        self.obey(lambda: self.control.tick(self.now))

    @rule()
    def deactivate(self):
        self.obey(lambda: self.control.finish(Termination.DEACTIVATED, 'deactivated'))

    @invariant()
    def control_and_folder_agree(self):
        current = self.control.current
        assert (current.episode_id if current else None) == self.open
        assert not self.control.last_id or self.control.last_id in self.folder


TestButtons = Buttons.TestCase
TestButtons.settings = settings(max_examples=60, deadline=None)
