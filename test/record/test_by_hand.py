"""A person records: by keys, joystick or leader arm; labels, trash, and a terminal given back."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from chunked_vla_ros.core.recording import Outcome  # noqa: E402
from chunked_vla_ros.data.episode_folder import list_episodes, TRASH  # noqa: E402
from chunked_vla_ros.record.run import noticed_signals  # noqa: E402

pytestmark = pytest.mark.timeout(120)
# A robot without cameras, which starts fast.
RECORD = ('record', '--robot', 'franka_fr3')
DEADMAN = 4
LEADER = """
/**/teleop:
  ros__parameters:
    leader_joints: 'lead_1:fr3_joint1:-1:0.1'
    leader_fade_speed: 2.0
"""


@pytest.fixture
def begin(start: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that starts a session of that robot, and waits until it is up."""
    def session(*options: str) -> Any:
        person = start(*RECORD, *options)
        person.wait('idle', '/joint_states', 're-record')
        return person
    return session


def topics(bag: Path) -> Counter[str]:
    with rosbag2.Reader(bag) as reader:
        return Counter({one.topic: one.msgcount for one in reader.connections if one.msgcount})


def test_a_session_by_keys(begin: Callable[..., Any], out: Path) -> None:
    person = begin()
    person.do('3', 'success refused', 'nothing is being recorded')
    person.do('1', 'episode_000000 is being recorded', '─ recording')
    for _ in range(30):
        person.type('q')
        time.sleep(0.03)    # a held key, as a terminal tells it
    person.do('8', 'stop it before the scene changes')
    person.do('3', 'episode_000000: ', 'success')
    person.do('7', 'episode_000001 is being recorded')
    person.do('6', 'episode_000001 is now in', 'episode_000001 is being recorded')
    person.do('4', 'episode_000001: ', 'failure')
    person.do('1', 'episode_000002 is being recorded')
    person.do('5', 'episode_000002 is now in')
    person.do('8', 'scene of seed 1')
    # Some keys change what the others do, and the screen says so.
    person.do('+', 'faster (now x1.25)')
    person.do('b', 'nobody drives: take over first')
    person.press('0')
    code, errors = person.end()
    recorded = {one.episode_id: one for one in list_episodes(out).episodes}
    assert {name: one.outcome for name, one in recorded.items()} == {
        'episode_000000': Outcome.SUCCESS, 'episode_000001': Outcome.FAILURE}
    assert sorted(path.name for path in (out / TRASH).iterdir()) == [
        'episode_000001.1', 'episode_000002.1']
    assert '/teleop/joint_targets' in topics(out / 'episode_000000'), 'keys reached the arm'
    assert '2 episodes, 1 success, 1 failure' in person.shown
    assert errors == ''
    assert code in (0, 1), 'as good as the machine let the recordings be'
    assert person.has_the_terminal_back()


def ended_while_recording(person: Any, out: Path, number: signal.Signals) -> None:
    """End the session by a signal: the recorder finishes its episode."""
    person.do('1', 'episode_000001 is being recorded')
    person.process.send_signal(number)
    code, errors = person.end()
    assert errors == ''
    assert code == 130
    last = list_episodes(out).episodes[-1]
    assert (last.episode_id, last.outcome) == ('episode_000001', Outcome.UNLABELED)
    assert last.complete
    assert person.has_the_terminal_back()


def test_a_session_by_joystick(begin: Callable[..., Any], out: Path) -> None:
    person = begin('--hand', 'joy', '--topics', 'joy')
    # Whoever forgot to start the joystick's driver is told, and which button does what.
    person.wait('no message of the joystick yet: is joy_node running?', 'button 4',
                'hold it to move', 'axis 0', 'fr3_joint1')
    device = person.hold()
    device.press(right=1.0)
    person.wait_for(lambda: device.position and device.is_recorded('/joy'), 'a recorded joystick')
    person.do('1', 'episode_000000 is being recorded')
    start = device.position[0]

    def moved() -> bool:
        # After a stop, as on a machine that has no time for the joystick, the deadman must be let
        # go of and pressed again.
        held = time.monotonic() % 2.0 < 1.7
        device.press(*([DEADMAN] if held else []), right=1.0)
        return device.position[0] > start + 0.1
    person.wait_for(moved, 'motion')
    device.press()
    person.do('3', 'episode_000000: ', 'success')
    recorded = topics(out / 'episode_000000')
    assert recorded['/teleop/joint_targets'] > 10
    assert recorded['/joy'] > 1    # 50 a second, for as long as the motion took
    assert list_episodes(out).episodes[0].outcome is Outcome.SUCCESS
    ended_while_recording(person, out, signal.SIGTERM)


def test_a_session_by_leader_arm(
        begin: Callable[..., Any], out: Path, tmp_path: Path) -> None:
    settings = tmp_path / 'leader.yaml'
    settings.write_text(LEADER)
    person = begin('--hand', 'leader', '--params-file', str(settings))
    person.wait('no message of the leader yet', 'moves 1 of 7 joints')
    device = person.hold()
    person.wait_for(lambda: device.position, 'joint_states')
    begun = list(device.position)
    device.lead(lead_1=0.1 - begun[0] + 0.2, lead_2=1.0)
    person.do('1', 'episode_000000 is being recorded')
    # joint = -1 * leader + 0.1, wherever the arm was at take-over.
    person.wait_for(lambda: abs(device.position[0] - begun[0] + 0.2) < 0.002, 'the leader met')
    assert device.position[1:] == pytest.approx(begun[1:], abs=1e-6)
    # A leader arm has no buttons: keys let go of it and take it again.
    person.do('b', 'nobody drives: take over first')
    device.lead(lead_1=0.1 - begun[0])
    person.press('c')
    person.wait_for(lambda: abs(device.position[0] - begun[0]) < 0.002, 'the leader met again')
    person.do('4', 'episode_000000: ', 'failure')
    assert topics(out / 'episode_000000')['/teleop/joint_targets'] > 10
    ended_while_recording(person, out, signal.SIGHUP)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noticed_where_nothing_is_left_half_done(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with noticed_signals() as watch:
        watch()
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            watch()
    assert signal.getsignal(number) is before


def test_without_a_terminal_it_is_one_line_and_exit_code_2(out: Path) -> None:
    ended = subprocess.run(
        [sys.executable, '-m', 'chunked_vla_ros', *RECORD, '--out', str(out)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr == (
        'error: a person records by keys, but standard input is not a terminal: start this in a '
        'terminal, or add --expert\n')
