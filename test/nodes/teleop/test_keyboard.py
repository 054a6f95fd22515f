"""Keys to motion over DDS, from whoever publishes them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import String

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.nodes import qos

pytestmark = pytest.mark.timeout(120)
# 0.1 of 3.1415 rad/s.
KEY_SPEED = 0.31415


@pytest.fixture(scope='module')
def teleop(start_teleop: Any) -> Iterator[Any]:
    with start_teleop(hand='keyboard') as graph:
        yield graph


@pytest.fixture
def driven(calm: Any, teleop: Any) -> Any:
    calm.take_over()
    calm.wait(lambda: calm.targets, 'targets')
    return calm


def test_without_a_terminal_one_line_says_what_to_do(calm: Any, teleop: Any) -> None:
    calm.peer.wait_for(lambda: any(
        'standard input is not a terminal: start teleop_node in a terminal of its own, or send '
        'keys to teleop/keys' in line for line in teleop.log_tail('teleop')), 'the hint',
        instead=lambda: teleop.log_tail('teleop'))


def test_targets_come_only_after_taking_over(calm: Any, teleop: Any) -> None:
    calm.type('q')
    seen = len(calm.states)
    calm.wait(lambda: len(calm.states) > seen + 20, 'time')
    assert not calm.targets
    calm.take_over()
    calm.wait(lambda: calm.targets, 'targets')


def test_a_held_key_moves_its_joint_and_letting_go_stops_it(driven: Any) -> None:
    start = driven.position.copy()
    driven.log.start()
    driven.type('q')
    driven.wait(lambda: driven.position[0] > start[0] + 0.2, 'motion')
    driven.let_go()
    driven.wait(lambda: np.abs(driven.state.command.velocities).max() < 1e-4, 'rest')
    driven.check_motion()
    assert driven.position[1:] == pytest.approx(start[1:], abs=1e-4)
    speeds = np.abs([state.command.velocities[0] for state in driven.states[-40:]
                     if state.command.velocities])
    assert speeds.max() < 1.2 * KEY_SPEED


def test_targets_at_rest_stay_where_they_are(driven: Any) -> None:
    driven.targets.clear()
    driven.wait(lambda: len(driven.targets) > 20, 'targets')
    rows = np.array([msg.position for msg in driven.targets])
    assert np.ptp(rows, axis=0).max() == 0.0
    assert driven.state.mode in (Mode.HOLD, Mode.TELEOP)


def test_space_closes_the_gripper_no_faster_than_told(driven: Any) -> None:
    driven.targets.clear()
    driven.keys.publish(String(data=' '))
    driven.wait(lambda: driven.position[6] > 0.79, 'closed gripper')
    times, rows = driven.sent()
    steps = np.abs(np.diff(rows[:, 6]))
    # Half of 1.4 rad/s.
    assert (steps <= 0.7 * np.diff(times) + 1e-6).all()
    driven.keys.publish(String(data=' '))
    driven.wait(lambda: driven.position[6] < 0.01, 'open gripper')


def test_keys_give_back_and_hold_and_take_over(driven: Any) -> None:
    for key, source in (('v', Source.POLICY), ('c', Source.TELEOP), ('b', Source.HOLD)):
        driven.keys.publish(String(data=key))
        driven.wait(lambda source=source: driven.state.control_source == source, source.name)


def test_nonsense_on_the_topic_moves_nothing(driven: Any) -> None:
    start = driven.position.copy()
    for text in ('', '\x00\x1b[A', 'z' * 100_000, '\N{GRINNING FACE}€'):
        driven.keys.publish(String(data=text))
    driven.targets.clear()
    driven.wait(lambda: len(driven.targets) > 20, 'targets')
    assert driven.position == pytest.approx(start)


def test_the_node_says_on_diagnostics_who_drives(driven: Any) -> None:
    found: list[str] = []

    def keep(msg: DiagnosticArray) -> None:
        found.extend(one.message for one in msg.status if one.name == '/teleop')
    subscription = driven.node.create_subscription(
        DiagnosticArray, '/diagnostics', keep, qos.STATUS)
    driven.wait(lambda: 'a person drives' in found, 'diagnostics')
    driven.choose(Source.POLICY)
    driven.wait(lambda: 'the policy drives: take over first' in found, 'diagnostics')
    driven.peer.destroy(subscription)
