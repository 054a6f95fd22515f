"""The action's server and its node in this process: what a client is told, and which robot."""

from collections.abc import Iterator
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from chunked_vla_ros.action import TrainPolicy
from chunked_vla_ros.bench.convert_bags import contract, write_bag
from chunked_vla_ros.core.training_job import JobRefused, Stage
from chunked_vla_ros.nodes.offline_trainer_node import OfflineTrainerNode
from chunked_vla_ros.nodes.train_policy import TrainPolicyServer
from chunked_vla_ros.nodes.train_robot import robot_of

LIMIT_S = 100.0
Result = TrainPolicy.Result


@pytest.fixture
def server(peer: Any) -> Iterator[TrainPolicyServer]:
    """Yield a server that the test ticks."""
    server = peer.in_turn(lambda: TrainPolicyServer(peer.node, '', 'compact', lambda end: None))
    server.open = True
    yield server
    peer.in_turn(server.destroy)


def test_a_job_that_was_done_before_it_was_cancelled_has_succeeded(
        server: TrainPolicyServer, peer: Any, tmp_path: Path) -> None:
    (tmp_path / 'robot.yaml').write_text(contract(32, 32))
    write_bag(tmp_path / 'bag', 0, 15, 32, 32)
    client = ActionClient(peer.node, TrainPolicy, 'peer/train_policy')

    def done(future: Any) -> Any:
        peer.wait_for(future.done, 'reply', LIMIT_S)
        return future.result()

    assert client.wait_for_server(LIMIT_S)
    goal = done(peer.in_turn(lambda: client.send_goal_async(TrainPolicy.Goal(
        bags=[str(tmp_path / 'bag')], dataset=str(tmp_path / 'cubes'),
        robot=str(tmp_path / 'robot.yaml'), options=['fps=10']))))
    assert goal.accepted
    assert server._job is not None
    # It has ended, and nobody has looked yet.
    os.waitid(os.P_PID, server._job._process.pid, os.WEXITED | os.WNOWAIT)
    done(peer.in_turn(goal.cancel_goal_async))
    ended = peer.in_turn(goal.get_result_async)

    def has_result() -> bool:
        peer.in_turn(server.tick)
        return bool(ended.done())

    peer.wait_for(has_result, 'result', LIMIT_S)
    assert ended.result().result.termination_reason == Result.TERMINATION_DONE
    assert ended.result().status == GoalStatus.STATUS_SUCCEEDED
    peer.in_turn(client.destroy)


def test_a_job_of_the_parameters_that_could_not_begin_begins_at_the_next_activation(
        peer: Any, tmp_path: Path) -> None:
    settings = {'autostart': False, 'bags': [str(tmp_path / 'bag')], 'robot': 'ur5e_sim',
                'dataset': str(tmp_path / 'cubes'), 'out': str(tmp_path / 'runs' / 'one')}
    (tmp_path / 'runs').write_text('no folder')
    node = OfflineTrainerNode(context=peer.context, parameter_overrides=[
        Parameter(name, value=value) for name, value in settings.items()])
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.ERROR
        (tmp_path / 'runs').unlink()
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert node._active.stage is Stage.CONVERT
    finally:
        node.close()
        node.destroy_node()


def test_a_job_that_names_no_robot_is_of_its_configurations(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('robot: my_arm.yaml\nsteps: 3\n')
    bags = ['/bags']
    assert robot_of(bags, '', Stage.IMITATION, 'g1_bottle') == 'g1_arms'
    assert robot_of(bags, '', Stage.IMITATION, str(own)) == 'my_arm.yaml'
    assert robot_of(bags, 'mine', Stage.IMITATION, 'g1_bottle') == 'mine'
    assert robot_of([''], '', Stage.IMITATION, 'g1_bottle') == ''
    assert robot_of(bags, '', Stage.CONVERT, 'g1_bottle') == 'ur5e_sim'


@pytest.mark.parametrize('text', [None, '', 'robot: 3', '[', 'steps: 3', b'\xff'])
def test_a_configuration_that_tells_no_robot_is_named(tmp_path: Path, text: Any) -> None:
    own = tmp_path / 'own.yaml'
    if text is not None:
        own.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(JobRefused, match=r'own.yaml. tells none: name a robot contract'):
        robot_of(['/bags'], '', Stage.IMITATION, str(own))
