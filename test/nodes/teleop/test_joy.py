"""A joystick over DDS: the deadman button, silence, and messages that are no joystick's."""

from collections.abc import Iterator
import math
import os
import signal
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rcl_interfaces.srv import DescribeParameters, ListParameters
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from chunked_vla_ros.core.executor_state import Mode, Source
from chunked_vla_ros.graph.node_spec import NodeSpec
from chunked_vla_ros.graph.supervisor import Supervisor

pytestmark = pytest.mark.timeout(120)
START, BACK = 7, 6
RIGHT = (1.0, *(0.0,) * 7)


@pytest.fixture(scope='module')
def teleop(start_teleop: Any) -> Iterator[Any]:
    with start_teleop(hand='joy') as graph:
        yield graph


@pytest.fixture
def driven(calm: Any, teleop: Any) -> Any:
    """Return the stage after take-over, with the joystick in nobody's hand."""
    calm.press()
    calm.take_over()
    # Only a deadman that is let go of and pressed after the take-over counts.
    seen = len(calm.states)
    calm.wait(lambda: len(calm.states) > seen + 20 and calm.state.mode == Mode.HOLD, 'time')
    return calm


def test_the_arm_moves_while_the_deadman_is_held_and_stops_without_it(driven: Any) -> None:
    driven.log.start()
    start = driven.position[0]
    driven.press(axes=RIGHT)
    seen = len(driven.states)
    driven.wait(lambda: len(driven.states) > seen + 20, 'time')
    assert driven.position[0] == start
    assert not driven.targets
    driven.steer(RIGHT, lambda: driven.position[0] > start + 0.3, 'motion')
    # Not silent, only without the deadman.
    driven.press(axes=RIGHT)
    driven.wait(lambda: driven.state.mode == Mode.HOLD, 'rest')
    driven.check_motion()
    sent, seen = len(driven.targets), len(driven.states)
    driven.wait(lambda: len(driven.states) > seen + 20, 'time')
    assert len(driven.targets) == sent


def test_a_joystick_that_falls_silent_is_a_stop(driven: Any) -> None:
    driven.log.start()
    driven.steer(RIGHT, lambda: driven.state.mode == Mode.TELEOP, 'motion')
    driven.let_go()
    driven.wait(lambda: driven.state.mode == Mode.HOLD, 'rest')
    driven.check_motion()


def test_buttons_take_over_and_give_back(calm: Any, teleop: Any) -> None:
    calm.press()
    seen = len(calm.states)
    calm.wait(lambda: len(calm.states) > seen + 10, 'time')
    calm.press(START)
    calm.wait(lambda: calm.state.control_source == Source.TELEOP, 'take-over')
    calm.press(BACK)
    calm.wait(lambda: calm.state.control_source == Source.POLICY, 'give-back')


def test_after_an_emergency_stop_a_reset_alone_moves_nothing(driven: Any) -> None:
    from std_msgs.msg import Bool

    from chunked_vla_ros.srv import ResetExecutor
    driven.log.start()
    driven.steer(RIGHT, lambda: abs(driven.state.command.velocities[0]) > 0.3, 'motion')
    driven.stop.publish(Bool(data=True))
    driven.wait_mode(Mode.ESTOP)
    driven.check_motion()
    driven.stop.publish(Bool(data=False))
    driven.wait(lambda: driven.peer.call(
        ResetExecutor, 'chunk_executor/reset', ResetExecutor.Request()).success, 'reset')
    driven.wait_mode(Mode.HOLD)
    driven.targets.clear()
    start, seen = driven.position.copy(), len(driven.states)
    driven.wait(lambda: len(driven.states) > seen + 20, 'time')
    assert not driven.targets
    assert (driven.position == start).all()
    driven.press()
    driven.take_over()
    seen = len(driven.states)
    driven.wait(lambda: len(driven.states) > seen + 20, 'time')
    driven.steer(RIGHT, lambda: driven.position[0] > start[0] + 0.05, 'motion')


def test_messages_that_are_no_joysticks_move_nothing_and_harm_nothing(
        driven: Any, teleop: Any) -> None:
    start = driven.position.copy()
    wrong = [([], []), ([math.nan] * 8, [1] * 12), ([math.inf, -math.inf], [1] * 5),
             ([1.0] * 2000, [0] * 2000), ([1e38] * 8, [0, 0, 0, 0, -1])]
    for axes, buttons in wrong:
        for _ in range(5):
            driven.joy.publish(Joy(axes=axes, buttons=buttons))
    driven.press()
    seen = len(driven.states)
    driven.wait(lambda: len(driven.states) > seen + 20, 'time')
    assert np.isfinite([list(msg.position) for msg in driven.targets]).all()
    # Deflections that are numbers count, but a target leads the arm by 0.3 s of its 1.57 rad/s.
    assert np.abs(driven.position - start).max() < 0.6
    assert teleop.poll() == {'teleop': None}


def test_every_parameter_is_described_and_numbers_have_a_range(calm: Any, teleop: Any) -> None:
    names = [name for name in calm.peer.call(
        ListParameters, 'teleop/list_parameters', ListParameters.Request()).result.names
        if not name.startswith(('qos_overrides', 'use_sim_time', 'start_type'))]
    found = calm.peer.call(DescribeParameters, 'teleop/describe_parameters',
                           DescribeParameters.Request(names=names)).descriptors
    assert {'deadman_button', 'key_hold_s', 'leader_take_over', 'speed_share'} <= set(names)
    for descriptor in found:
        assert descriptor.description, descriptor.name
        if descriptor.type in (2, 3):
            assert descriptor.integer_range or descriptor.floating_point_range, descriptor.name


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


@pytest.mark.parametrize(('setting', 'complaint'), [
    ('rate_hz:=5000.0', 'parameter rate_hz is 5000.0, expected float from 20.0 to 200.0'),
    ('hand:=foot', "parameter hand is 'foot', expected one of keyboard, joy, leader"),
    ('deadman_buton:=3', 'unknown parameter deadman_buton'),
    ('joy_axes:=0:elbow', "joy_axes: '0:elbow', expected"),
    ('leader_joints:=a:elbow', "leader_joints: 'a:elbow', expected"),
    ('robot:=nobody', 'nobody')])
def test_a_wrong_setting_ends_with_one_line_that_names_it(
        domain: int, try_to_start: Any, setting: str, complaint: str) -> None:
    hand = 'leader' if setting.startswith('leader') else 'joy'
    code, errors = try_to_start(
        'chunked_vla_ros.nodes.teleop_node', domain, '--ros-args',
        *(() if setting.startswith('hand') else ('-p', f'hand:={hand}')), '-p', setting)
    assert code == 2
    lines = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert 'Traceback' not in errors
