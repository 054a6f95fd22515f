"""Keys to motion over DDS; taking over from a running policy, giving back, and its marks."""

from collections.abc import Callable, Iterator
import math
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import qos

pytestmark = pytest.mark.timeout(120)
# 0.1 of 3.1415 rad/s.
KEY_SPEED = 0.31415
STANDING_S = 2.0
BEGIN, END = EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END


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
    driven.targets.clear()
    driven.type('q')
    driven.wait(lambda: driven.position[0] > start[0] + 0.2, 'motion')
    driven.let_go()
    driven.wait(lambda: np.abs(driven.state.command.velocities).max() < 1e-4, 'rest')
    driven.check_motion()
    assert driven.position[1:] == pytest.approx(start[1:], abs=1e-4)
    driven.check_targets(KEY_SPEED, 0)


def test_targets_at_rest_stay_where_they_are(driven: Any) -> None:
    driven.targets.clear()
    driven.wait(lambda: len(driven.targets) > 20, 'targets')
    rows = np.array([msg.position for msg in driven.targets])
    assert np.ptp(rows, axis=0).max() == 0.0
    assert driven.state.mode in (Mode.HOLD, Mode.TELEOP)


def press_space_until(driven: Any, reached: Callable[[float], bool], what: str) -> None:
    """Press the gripper's key, again where it stands still: a stop leaves it where it was."""
    at, since_s = math.nan, -math.inf

    def done() -> bool:
        nonlocal at, since_s
        now_s, position = time.monotonic(), float(driven.position[6])
        if not abs(position - at) < 1e-4:
            if math.isnan(at):
                driven.keys.publish(String(data=' '))
            at, since_s = position, now_s
        elif now_s - since_s > STANDING_S:
            driven.keys.publish(String(data=' '))
            since_s = now_s
        return reached(position)
    driven.wait(done, what)


def test_space_closes_the_gripper_no_faster_than_told(driven: Any) -> None:
    driven.targets.clear()
    press_space_until(driven, lambda position: position > 0.79, 'closed gripper')
    # Half of 1.4 rad/s.
    driven.check_targets(0.7, 6)
    press_space_until(driven, lambda position: position < 0.01, 'open gripper')


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
    # The gripper may still settle, by less than 0.1 mrad; a key moves milliradians at once.
    assert driven.position == pytest.approx(start, abs=1e-3)


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


@pytest.fixture
def running(calm: Any, teleop: Any) -> Any:
    """Return the stage with a policy moving the arm."""
    calm.policy_runs = True
    calm.wait_mode(Mode.RUNNING)
    return calm


def marks(stage: Any) -> list[int]:
    return [event.type for event in stage.events if event.type in (BEGIN, END)]


def test_each_switch_is_smooth_and_an_intervention_is_marked(running: Any) -> None:
    running.marks.publish(EpisodeEvent(type=EpisodeEvent.START, episode_id='seven', source='t'))
    running.wait(lambda: running.events, 'start')
    running.log.start()
    running.take_over()
    running.wait(lambda: marks(running) == [BEGIN], 'mark')
    running.type('e')
    running.wait_mode(Mode.TELEOP)
    seen = len(running.states)
    running.wait(lambda: len(running.states) > seen + 25, 'time')
    answer = running.call('give_back')
    assert answer.success, answer.message
    running.wait(lambda: marks(running) == [BEGIN, END], 'mark')
    # Its chunks were refused meanwhile; the next one starts where the person left the arm.
    running.wait_mode(Mode.RUNNING)
    running.choose(Source.HOLD)
    running.wait_mode(Mode.HOLD)
    running.choose(Source.POLICY)
    running.wait_mode(Mode.RUNNING)
    running.check_motion()
    found = [event for event in running.events if event.type in (BEGIN, END)]
    assert [event.source for event in found] == ['teleop', 'teleop']
    assert [event.episode_id for event in found] == ['seven', 'seven']
    assert found[0].text == 'keyboard: took over from the policy'
    assert 0 < found[0].header.stamp.sec <= found[1].header.stamp.sec


def test_somebody_elses_switch_is_marked_too(running: Any) -> None:
    running.choose(Source.TELEOP)
    running.wait(lambda: marks(running) == [BEGIN], 'mark')
    running.choose(Source.HOLD)
    running.wait(lambda: marks(running) == [BEGIN, END], 'mark')


def test_driving_an_arm_that_no_policy_moved_is_no_intervention(calm: Any, teleop: Any) -> None:
    calm.choose(Source.HOLD)
    calm.take_over()
    calm.wait(lambda: calm.targets, 'targets')
    calm.choose(Source.HOLD)
    calm.wait(lambda: len(calm.states) > 10, 'time')
    assert marks(calm) == []


def test_a_deactivated_node_ends_the_intervention_and_drives_again_when_asked(
        running: Any) -> None:
    def change(transition: int) -> None:
        assert running.peer.call(ChangeState, 'teleop/change_state', ChangeState.Request(
            transition=Transition(id=transition))).success
    running.take_over()
    running.wait(lambda: marks(running) == [BEGIN], 'mark')
    change(Transition.TRANSITION_DEACTIVATE)
    running.wait(lambda: marks(running) == [BEGIN, END], 'mark')
    running.wait_mode(Mode.HOLD)
    answer = running.call('take_over')
    assert (answer.success, answer.message) == (False, 'teleop is not active')
    change(Transition.TRANSITION_CLEANUP)
    change(Transition.TRANSITION_CONFIGURE)
    change(Transition.TRANSITION_ACTIVATE)
    running.targets.clear()
    seen = len(running.states)
    running.wait(lambda: len(running.states) > seen + 20, 'time')
    assert not running.targets, 'nobody has taken over'
    running.take_over()
    running.wait(lambda: running.targets, 'targets')


def test_two_who_ask_at_once_are_both_answered(calm: Any, teleop: Any) -> None:
    clients = [calm.node.create_client(Trigger, f'teleop/{name}')
               for name in ('take_over', 'take_over', 'give_back', 'hold')]
    for client in clients:
        assert client.wait_for_service(10.0)
    futures = [client.call_async(Trigger.Request()) for client in clients]
    calm.wait(lambda: all(future.done() for future in futures), 'answers')
    assert all(future.result().success for future in futures)
    calm.peer.destroy(*clients)
