"""Dataset checks: each fault is found with its value, and sound motion is not."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from chunked_vla_ros.core.action_relation import ActionKind, relate
from chunked_vla_ros.core.camera_measures import (
    CameraMeasures,
    FrameNumbers,
    longest_stretches,
    measure_camera,
    Stretch,
)
from chunked_vla_ros.core.dataset_checks import check_dataset
from chunked_vla_ros.core.dataset_findings import Grade
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures, measure_episode
from chunked_vla_ros.core.dataset_norms import DatasetHead
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.recording import Outcome

FPS, ROWS = 20.0, 200
HEAD = DatasetHead(FPS, True, ('a', 'b'), ('a', 'b'), ('front',))
TIMES_S = np.arange(ROWS) / FPS


def motion(seed=0.0):
    """Return an action that swings by 1 and 0.5, and the state that follows 4 rows later."""
    phase = np.arange(-4, ROWS) / FPS + seed
    path = np.stack([np.sin(phase), 0.5 * np.cos(1.7 * phase)], axis=1)
    return path[:-4], path[4:]


def episode(index=0, task='pick', state=None, action=None, times_s=TIMES_S):
    usual_state, usual_action = motion(0.1 * index)
    return Episode(
        index, task, times_s, usual_state if state is None else state,
        usual_action if action is None else action, ('a', 'b'), ('a', 'b'), ('front',), 'made')


def measured(index=0, columns=None, facts=None, camera=None, **changes):
    cameras = {'front': camera or CameraMeasures(ROWS, 120.0, sharpness=300.0, travel=150.0)}
    return measure_episode(episode(index, **changes), columns or {}, facts or {}, cameras)


def check(odd, others=6, robot=None):
    """Return the report on ``odd`` among sound episodes."""
    sound = [measured(index) for index in range(1, others + 1)]
    return check_dataset(HEAD, [odd, *sound], DatasetRules(), robot)


def found(report, number=0):
    return {finding.check: finding for finding in report.episodes[number].findings}


def test_sound_motion_is_good_and_the_action_is_absolute():
    report = check(measured())
    assert report.grade is Grade.GOOD
    assert report.norms.kind is ActionKind.ABSOLUTE
    assert [each.check for each in report.findings] == ['labels']
    assert report.counts == {Grade.GOOD: 7, Grade.SUSPECT: 0, Grade.BAD: 0}


def test_a_state_that_never_changes_is_bad_also_where_all_are_so():
    stuck = [measured(index, state=np.full((ROWS, 2), 0.3)) for index in range(6)]
    report = check_dataset(HEAD, stuck, DatasetRules())
    assert report.grade is Grade.BAD
    assert all(set(found(report, number)) == {'constant'} for number in range(6))
    assert found(report)['constant'].text == 'the state never changes'


def test_one_joint_that_stands_still_while_commanded_is_suspect():
    state, action = motion()
    state[:, 1] = 0.2
    assert found(check(measured(state=state)))['constant_joint'].text.startswith('b never changes')
    action[:, 1] = 0.2               # not commanded: not used
    assert 'constant_joint' not in found(check(measured(state=state, action=action)))


def test_a_state_that_hangs_while_the_action_moves_is_suspect():
    state, _ = motion()
    state[60:100] = state[60]        # 39 steps of 0.05 s
    finding = found(check(measured(state=state)))['stuck']
    assert (finding.value, finding.threshold) == (pytest.approx(1.95), 1.0)
    assert 'from row 60 on' in finding.text


def test_a_jump_is_suspect_and_names_its_row():
    state, _ = motion()
    state[120:] += 1.2
    finding = found(check(measured(state=state)))['jump']
    assert finding.grade is Grade.SUSPECT
    assert 'before row 120' in finding.text
    assert finding.value == pytest.approx(1.2, abs=0.06)


def test_a_gripper_that_opens_and_closes_does_not_jump():
    state, action = motion()
    for values in (state, action):
        values[:, 1] = np.where(np.arange(ROWS) // 60 % 2, 1.0, 0.0)
    assert 'jump' not in found(check(measured(state=state, action=action)))


def test_limits_of_the_robot_count_where_it_is_known(make_robot):
    robot = make_robot()
    names = robot.joint_names[:2]
    head = DatasetHead(FPS, True, names, (), ())
    limits = robot.limits

    def one(state):
        made = Episode(0, '', TIMES_S, state, None, names, (), (), 'made')
        report = check_dataset(head, [measure_episode(made, {}, {}, {})], DatasetRules(), robot)
        return found(report)
    slow = np.stack([np.linspace(0.0, 0.5, ROWS)] * 2, axis=1)
    assert not {'limit_speed', 'limit_position'} & set(one(slow))
    outside = slow + limits.upper[:2]
    assert one(outside)['limit_position'].value == pytest.approx(0.5)
    fast = slow.copy()
    fast[100:, 0] += 4.0 * limits.velocity[0] / FPS
    finding = one(fast)['limit_speed']
    assert finding.grade is Grade.BAD
    assert finding.value == pytest.approx(4.0 * limits.velocity[0], rel=0.05)


@pytest.mark.parametrize(('gap_s', 'grade'), [
    (0.12, None), (0.5, Grade.SUSPECT), (1.5, Grade.BAD)])
def test_a_gap_is_suspect_and_a_long_one_bad(gap_s, grade):
    times_s = TIMES_S.copy()
    times_s[50:] += gap_s - 1 / FPS
    finding = found(check(measured(times_s=times_s))).get('gap')
    assert (finding.grade if finding else None) is grade
    assert finding is None or 'before row 50' in finding.text


def test_rows_at_another_rate_are_suspect():
    finding = found(check(measured(times_s=TIMES_S * 1.5)))['rate']
    assert finding.text == 'rows come at 13.33 Hz, the dataset says 20 Hz'


@pytest.mark.parametrize(('age_s', 'check_name'), [
    (0.1, None), (0.4, 'age'), (-0.01, 'future')])
def test_samples_that_are_old_or_from_the_future(age_s, check_name):
    names = set(found(check(measured(columns={'age_s.state': np.full(ROWS, age_s)}))))
    assert names == ({check_name} if check_name else set())


def test_columns_that_are_not_finite_are_bad():
    reward = np.zeros(ROWS)
    reward[3] = np.nan
    assert found(check(measured(columns={'next.reward': reward})))['not_finite'].grade is Grade.BAD


@pytest.mark.parametrize(('camera', 'name', 'grade'), [
    (CameraMeasures(ROWS, 2.0, 1.0, sharpness=300.0), 'black', Grade.BAD),
    (CameraMeasures(ROWS, 120.0, 0.3, sharpness=300.0, travel=150.0), 'black', Grade.SUSPECT),
    (CameraMeasures(ROWS, 250.0, 0.0, 0.9, 300.0, 150.0), 'overexposed', Grade.SUSPECT),
    (CameraMeasures(ROWS, 120.0, sharpness=60.0, travel=150.0), 'blurred', Grade.SUSPECT),
    (CameraMeasures(ROWS, 120.0, sharpness=300.0, travel=6.0), 'still_picture', Grade.SUSPECT),
    (CameraMeasures(ROWS, 120.0, sharpness=300.0, travel=150.0,
                    same=(Stretch(40, 80, 2.0),)), 'frozen', Grade.SUSPECT),
    (CameraMeasures(7, error='a.mp4: has 7 frames, expected 200'), 'frames', Grade.BAD)])
def test_what_is_wrong_with_a_camera_is_found(camera, name, grade):
    assert {key: each.grade for key, each in found(check(measured(camera=camera))).items()} == {
        name: grade}


def test_a_camera_may_stand_still_with_the_robot_but_not_without_it():
    state, action = motion()
    state[40:81] = state[40]
    action[40:81] = action[40]
    camera = CameraMeasures(ROWS, 120.0, sharpness=300.0, travel=150.0,
                            same=(Stretch(40, 80, 2.0), Stretch(100, 116, 0.8)))
    finding = found(check(measured(state=state, action=action, camera=camera)))['frozen']
    assert finding.value == 0.8      # the longer stretch is the robot's own rest
    assert 'from row 100 on' in finding.text


def test_what_most_episodes_have_is_said_once():
    still = CameraMeasures(ROWS, 120.0, sharpness=300.0, travel=6.0)
    report = check_dataset(
        HEAD, [measured(index, camera=still) for index in range(6)], DatasetRules())
    assert not any(each.findings for each in report.episodes)
    finding = next(each for each in report.findings if each.check == 'still_picture')
    assert finding.text.startswith('6 of 6 episodes, such as 0: front shows the same scene')
    assert report.grade is Grade.SUSPECT


def test_actions_are_told_apart_by_what_follows_them():
    state, action = motion()
    assert relate(episode()).lag_s == pytest.approx(0.2)
    steps = np.diff(state, axis=0, append=state[-1:])
    assert relate(episode(action=2.0 * steps)).kind is ActionKind.DELTA
    assert relate(episode(action=2.0 * steps)).delta_scale == pytest.approx(0.5)
    assert relate(episode(action=state)).copied
    noise = np.random.default_rng(0).normal(size=(ROWS, 2))
    assert relate(episode(action=noise)).kind is ActionKind.UNKNOWN
    assert relate(episode(action=action, state=np.zeros((ROWS, 2)))) is None


@pytest.mark.parametrize(('change', 'name'), [
    (lambda state, action: np.rad2deg(action), 'action_scale'),
    (lambda state, action: np.roll(state, 4, axis=0), 'action_late'),
    (lambda state, action: state, 'action_copied'),
    (lambda state, action: np.random.default_rng(0).normal(size=state.shape), 'action_unrelated'),
    (lambda state, action: np.diff(state, axis=0, append=state[-1:]), 'action_kind')])
def test_an_action_that_does_not_fit_its_state_is_suspect(change, name):
    assert name in found(check(measured(action=change(*motion()))))


def test_labels_that_contradict_and_labels_that_are_missing():
    rows = np.zeros(ROWS, bool)
    odd = measured(columns={'next.success': rows}, facts={'outcome': 'success'})
    report = check(odd)
    assert found(report)['outcome'].text == 'is labelled success, its rows say no success'
    labels, = (each for each in report.findings if each.check == 'labels')
    assert (labels.grade, labels.value) == (Grade.SUSPECT, pytest.approx(6 / 7))
    rows[-1] = True
    assert measured(columns={'next.success': rows}).outcome is Outcome.SUCCESS


@pytest.mark.parametrize(('verdict', 'grade'), [
    ('good', None), ('usable', Grade.GOOD), ('broken', Grade.BAD)])
def test_what_the_recorder_found_of_the_bag_counts(verdict, grade):
    finding = found(check(measured(facts={'verdict': verdict}))).get('recording')
    assert (finding.grade if finding else None) is grade


def test_lengths_and_instructions_that_stand_out():
    state, action = motion()
    short = measured(state=state[:40], action=action[:40], times_s=TIMES_S[:40], task=' ')
    assert set(found(check(short))) == {'length', 'task'}
    one_row = measured(state=state[:1], action=action[:1], times_s=TIMES_S[:1])
    assert found(check(one_row))['length'].grade is Grade.BAD
    alike, = (each for each in check(measured(task='Pick!')).findings
              if each.check == 'task_alike')
    assert alike.text == "'pick' and 'Pick!' are one instruction in two spellings"


def test_one_letter_is_a_note_and_another_word_is_none():
    def notes(other):
        report = check(measured(task=other), 2)
        return [each.grade for each in report.findings if each.check == 'task_alike']
    sound = [measured(1, task='put the carrot on the plate')]
    report = check_dataset(
        HEAD, [measured(task='put the carot on the plate'), *sound], DatasetRules())
    assert [each.grade for each in report.findings if each.check == 'task_alike'] == [Grade.GOOD]
    assert notes('place') == []
    colours = check_dataset(HEAD, [
        measured(task='put the green cube on the right pad'),
        measured(1, task='put the red cube on the right pad')], DatasetRules())
    assert 'task_alike' not in {each.check for each in colours.findings}


def test_state_and_action_of_different_width_is_suspect():
    head = replace(HEAD, action_names=('a',))
    made = Episode(0, 'pick', TIMES_S, motion()[0], motion()[1][:, :1], ('a', 'b'), ('a',),
                   (), 'made')
    report = check_dataset(head, [measure_episode(made, {}, {}, {})], DatasetRules())
    assert [each.check for each in report.findings if each.grade is Grade.SUSPECT] == ['widths']


def test_an_episode_that_cannot_be_read_is_bad_and_says_why():
    report = check(EpisodeMeasures(0, error='x.parquet: is gone'))
    assert found(report)['unreadable'].text == 'x.parquet: is gone'
    assert report.grade is Grade.BAD
    nothing = check_dataset(HEAD, [EpisodeMeasures(0, error='x')], DatasetRules())
    assert nothing.grade is Grade.BAD


def test_the_longest_stretch_is_measured_in_seconds():
    same = np.array([0, 1, 1, 0, 1, 0], bool)
    assert longest_stretches(same, np.array([0.0, 1.0, 2.0, 3.0, 9.0, 10.0])) == [
        Stretch(3, 4, 6.0), Stretch(0, 2, 2.0)]
    assert longest_stretches(np.zeros(6, bool), np.arange(6.0)) == []
    numbers = FrameNumbers(np.arange(6.0), *(np.full(6, value) for value in (99, 1, 0, 5, 3)),
                           same)
    assert measure_camera(numbers) == CameraMeasures(
        6, 99.0, 1.0, 0.0, 5.0, 3.0, 0.6, (Stretch(0, 2, 2.0), Stretch(3, 4, 1.0)))


@settings(max_examples=60)
@given(data=st.data(), rows=st.integers(1, 12))
def test_any_finite_numbers_are_judged(data, rows):
    values = st.floats(allow_nan=False, allow_infinity=False)
    state, action = (data.draw(arrays(float, (rows, 2), elements=values)) for _ in range(2))
    gaps = data.draw(arrays(float, (rows,), elements=st.floats(1e-6, 1e6)))
    times_s = np.cumsum(gaps) - gaps[0]
    odd = measured(state=state, action=action, times_s=times_s)
    report = check(odd, 1)
    assert report.grade in Grade
    assert all('\n' not in each.text for each in report.episodes[0].findings)
