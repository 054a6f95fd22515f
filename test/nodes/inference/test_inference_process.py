"""The life of the inference process: lifecycle, signals, mistakes of the user."""

import signal

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
import pytest

from chunked_vla_ros.action import RunPolicy


@pytest.fixture
def alone(probe):
    """Return a probe that remembers nothing; the test starts and stops the only node."""
    probe.forget()
    return probe


def test_run_on_activate_needs_no_goal_and_sigint_ends_it_in_order(alone, start):
    process = start('run_on_activate:=true')
    alone.wait_for(lambda: alone.chunks or process.ended(), 'chunk without a goal')
    code, errors = process.stop()
    assert code == 0, errors
    assert 'DEACTIVATED' in errors
    assert 'Traceback' not in errors


def test_a_client_gets_its_result_even_if_the_node_is_told_to_end(alone, start):
    process = start()
    future = alone.ask_result(alone.send_goal())
    alone.wait_for(lambda: alone.chunks, 'first chunk')
    code, errors = process.stop(signal.SIGTERM)
    assert code == 0, errors
    result = alone.done(future, 'result').result
    assert result.termination_reason == RunPolicy.Result.TERMINATION_DEACTIVATED


def test_a_lifecycle_manager_can_take_the_node_through_every_state_twice(alone, start):
    def transition(number, reached):
        request = ChangeState.Request(transition=Transition(id=number))
        alone.peer.call(ChangeState, 'inference/change_state', request)
        state = alone.peer.call(GetState, 'inference/get_state', GetState.Request())
        assert state.current_state.label == reached

    process = start('autostart:=false')
    for _ in range(2):
        alone.forget()
        transition(Transition.TRANSITION_CONFIGURE, 'inactive')
        assert not alone.send_goal().accepted
        transition(Transition.TRANSITION_ACTIVATE, 'active')
        future = alone.ask_result(alone.send_goal())
        alone.wait_for(lambda: alone.chunks, 'first chunk')
        transition(Transition.TRANSITION_DEACTIVATE, 'inactive')
        result = alone.done(future, 'result').result
        assert result.termination_reason == RunPolicy.Result.TERMINATION_DEACTIVATED
        transition(Transition.TRANSITION_CLEANUP, 'unconfigured')
    code, errors = process.stop()
    assert code == 0, errors
    assert 'Traceback' not in errors


@pytest.mark.parametrize(('setting', 'message'), [
    ('policy:=vla', "parameter policy is 'vla', expected one of replay, expert, onnx"),
    ('robot:=ur6', "'ur6': no such robot contract, expected a path or one of"),
    ('replan_period_s:=0.001', 'replan_period_s is 0.001, expected 0.02 s or more, or 0'),
    ('replan_period_s:=99.0', 'replan_period_s is 99.0, expected float from 0.0 to 10.0'),
    ('policy:=onnx', "policy 'onnx' needs the parameter bundle"),
    ('replay_rate_hz:=1.0', 'replay_rate_hz is 1.0, expected float from 5.0 to 100.0'),
    ('demonstration:=/nowhere.npy', '/nowhere.npy: does not exist')])
def test_a_users_mistake_is_one_line_and_exit_code_2(refused, setting, message):
    code, errors = refused(setting)
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
