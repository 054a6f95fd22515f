"""Taking over from a running policy and giving back: no jump, and marked on the time line."""

from collections.abc import Iterator
import os
import signal
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_srvs.srv import Trigger

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor
from chunked_vla_ros.msg import EpisodeEvent

pytestmark = pytest.mark.timeout(120)
BEGIN, END = EpisodeEvent.INTERVENTION_BEGIN, EpisodeEvent.INTERVENTION_END


@pytest.fixture(scope='module')
def teleop(start_teleop: Any) -> Iterator[Any]:
    with start_teleop(hand='keyboard') as graph:
        yield graph


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


def test_without_an_executor_the_answer_says_so(peer: Any) -> None:
    # In a namespace of its own there is none.
    spec = NodeSpec('teleop_node', 'teleop', namespace='alone', parameters={'hand': 'joy'})
    domain = peer.context.get_domain_id()
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        answer = peer.call(Trigger, '/alone/teleop/take_over', Trigger.Request())
        assert not answer.success
        assert answer.message == (
            'no service chunk_executor/set_control_source: is chunk_executor running?')
        os.kill(graph.pid('teleop'), signal.SIGINT)
        peer.wait_for(lambda: graph.poll()['teleop'] is not None, 'end')
        assert graph.poll()['teleop'] == 0
