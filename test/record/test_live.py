"""What the recorder says of itself, read as numbers, and shown."""

import re

from hypothesis import given
from hypothesis import strategies as st
import pytest
from rich.console import Console

from chunked_vla_ros.core.teleop_keyboard import KeyboardSettings, KeyboardTeleop
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.record.keys import hand_lines, KeyLine, SESSION_KEYS, session_keys
from chunked_vla_ros.record.live import hand_view, HandView, live_view
from chunked_vla_ros.record.screen import screen

SAID = {
    'folder': '/data', 'disk': '12 s left at 84.0 MB/s, 1.5 GB free on /data',
    'last episode': 'episode_000003', 'episode': 'episode_000004', 'task': 'fold',
    'outcome': 'success', 'elapsed [s]': '4.2', 'messages': '1000', 'written': '20.0 MB',
    'queued': '0 B', 'lost': '3', 'dropped': '0',
    'rate /joint_states': '125.0 of 125 Hz', 'lost /joint_states': '0 of 1250 in 10 s',
    'rate /camera': '7.5 of 20 Hz', 'lost /camera': '3 of 78 in 10 s',
    'rate /episode_event': '0.0 Hz', 'lost /episode_event': '0 of 0 in 10 s',
    'problem /odd': 'type is not installed'}


def drawn(view: object, **changes: object) -> str:
    console = Console(width=140, height=60, force_terminal=False)
    with console.capture() as capture:
        console.print(screen(**{  # type: ignore[arg-type]
            'view': view, 'session': session_keys(True, False),
            'hand': [KeyLine('q a', 'joint_1 + -')],
            'answers': ['first', 'last'], **changes}))
    return capture.get()


def test_rates_and_losses_are_numbers() -> None:
    view = live_view(SAID)
    assert [(one.topic, one.rate_hz, one.expected_hz, one.lost) for one in view.streams] == [
        ('/joint_states', 125.0, 125.0, 0), ('/camera', 7.5, 20.0, 3),
        ('/episode_event', 0.0, None, 0)]
    assert view.waits_for == ('/camera',)
    assert (view.episode, view.last) == ('episode_000004', 'episode_000003')
    assert view.problems == ('/odd: type is not installed',)


def test_an_idle_recorder_has_no_episode() -> None:
    view = live_view({'last episode': 'none', 'disk': '1.5 GB free on /data'})
    assert (view.episode, view.last, view.streams) == ('', '', ())
    assert drawn(view).splitlines()[0].startswith('╭─ idle')


@given(st.dictionaries(st.text(max_size=30) | st.sampled_from(['rate /a', 'lost /a']),
                       st.text(max_size=30) | st.sampled_from(['1 of e Hz', '9 of 1e999 Hz'])))
def test_whatever_is_said_can_be_shown(said: dict[str, str]) -> None:
    assert drawn(live_view(said))


def test_the_screen_shows_episode_rates_disk_keys_and_answers() -> None:
    shown = drawn(live_view(SAID), obstacle='press the deadman button')
    assert shown.splitlines()[0].startswith('╭─ recording')
    for text in ('episode_000004', '12 s left at 84.0 MB/s', '125.0', '7.5', 'start',
                 'joint_1 + -', 'first', 'last', 'press the deadman button',
                 'type is not installed'):
        assert text in shown
    assert '/episode_event' not in shown, 'silent and not promised: no news'


def test_streams_that_nobody_promised_are_one_line_unless_they_lose_something() -> None:
    said = {'rate /a': '10.0 Hz', 'lost /a': '0 of 100 in 10 s', 'rate /b': '5.5 Hz',
            'rate /c': '1.0 Hz', 'lost /c': '2 of 10 in 10 s'}
    shown = drawn(live_view(said))
    assert '/a' not in shown
    assert re.search(r'2 more +15\.5', shown)
    assert '/c' in shown


def test_a_recorder_that_is_not_there_yet_is_said_so() -> None:
    assert 'starting' in drawn(None)


@pytest.mark.parametrize('robot', ['ur5e_sim', 'franka_fr3', 'g1_arms'])
def test_no_key_means_two_things(robot: str) -> None:
    driving = [one.key for one in KeyboardTeleop(load_robot(robot), KeyboardSettings()).bindings]
    own = [one.key for one in SESSION_KEYS]
    assert len(set(own)) == len(own)
    assert not set(own) & set(driving)
    with_device = [one.key for one in session_keys(True, True)]
    assert len(set(with_device)) == len(with_device)


def test_a_real_robot_has_no_key_for_a_new_scene() -> None:
    gone = set(session_keys(True, False)) - set(session_keys(False, False))
    assert [one.does for one in gone] == ['new scene']


def test_who_drives_by_a_device_takes_over_by_the_same_keys_as_by_keyboard() -> None:
    added = session_keys(True, True)[len(session_keys(True, False)):]
    bindings = {one.key: one.does for one in KeyboardTeleop(
        load_robot('ur5e_sim'), KeyboardSettings()).bindings}
    assert [(one.key, one.button) for one in added] == [('c', 'take_over'), ('b', 'hold')]
    assert [bindings[one.key].partition(':')[0] for one in added] == ['take over', 'hold']


def test_teleop_says_why_the_arm_stands_still_and_what_its_buttons_do() -> None:
    said = {'hand': 'joy', 'intervention': 'False', 'waiting': 'ESTOP: pressed',
            'complaint': 'joy is silent', 'control button 4': 'hold it to move',
            'control axis 0': 'shoulder_pan_joint'}
    assert hand_view(said) == HandView(
        'ESTOP: pressed', (('button 4', 'hold it to move'), ('axis 0', 'shoulder_pan_joint')))
    assert hand_view({**said, 'waiting': ''}).obstacle == 'joy is silent'
    assert hand_view({}) == HandView('', ())


def test_both_directions_of_a_joint_are_one_line() -> None:
    lines = hand_lines(KeyboardTeleop(load_robot('ur5e_sim'), KeyboardSettings()).bindings)
    assert lines[0] == KeyLine('q a', 'shoulder_pan_joint + -')
    assert [one.does for one in lines].count('open or close the gripper') == 1
    assert len(lines) == 6 + 6, 'six joints, and six other keys'


def test_everything_fits_into_a_small_terminal() -> None:
    hand = hand_lines(KeyboardTeleop(load_robot('ur5e_sim'), KeyboardSettings()).bindings)
    console = Console(width=80, height=24)
    with console.capture() as capture:
        console.print(screen(live_view(SAID), session_keys(True, False), hand, ['a', 'b']))
    assert len(capture.get().splitlines()) <= 24
