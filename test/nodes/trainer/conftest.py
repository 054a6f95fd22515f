"""The offline trainer as a process, and a client that sends it goals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402
from rclpy.action import ActionClient  # noqa: E402

from chunked_vla_ros.action import TrainPolicy  # noqa: E402
from chunked_vla_ros.graph.node_spec import NodeSpec  # noqa: E402
from chunked_vla_ros.graph.supervisor import Supervisor  # noqa: E402
from chunked_vla_ros.nodes import qos  # noqa: E402

LIMIT_S = 240.0
NAME = 'offline_trainer'


class Trainer:
    """The node's process and a client."""

    def __init__(self, peer: Any, graph: Supervisor) -> None:
        self.peer, self.graph = peer, graph
        self.feedback: list[Any] = []
        self.findings: list[Any] = []
        peer.node.create_subscription(
            DiagnosticArray, '/diagnostics',
            lambda array: self.findings.extend(
                status for status in array.status if status.name == f'/{NAME}'), qos.STATUS)
        self.client = ActionClient(peer.node, TrainPolicy, f'{NAME}/train_policy')
        assert self.client.wait_for_server(LIMIT_S)
        peer.settle(GetState, f'{NAME}/get_state')

    def done(self, future: Any, what: str) -> Any:
        self.wait_for(future.done, what)
        return future.result()

    def wait_for(self, condition: Any, what: str) -> Any:
        return self.peer.wait_for(condition, what, LIMIT_S, self.said)

    def send(self, **fields: Any) -> Any:
        """Return the handle of a goal."""
        self.feedback.clear()
        return self.done(self.peer.in_turn(lambda: self.client.send_goal_async(
            TrainPolicy.Goal(**fields),
            feedback_callback=lambda msg: self.feedback.append(msg.feedback))), 'goal reply')

    def result(self, goal: Any) -> Any:
        assert goal.accepted, self.said()
        return self.done(self.peer.in_turn(goal.get_result_async), 'result').result

    def cancel(self, goal: Any) -> Any:
        """Return the result of a goal that is cancelled."""
        self.done(self.peer.in_turn(goal.cancel_goal_async), 'reply to cancel')
        return self.result(goal)

    def convert(self, *bags: Path, dataset: Path, **fields: Any) -> Any:
        """Return the result of a goal."""
        return self.result(self.send(
            bags=[str(bag) for bag in bags], dataset=str(dataset), **fields))

    def finding(self, words: str) -> dict[str, str]:
        """Return the named values of the next finding with ``words`` in its message."""
        self.findings.clear()
        found = self.wait_for(lambda: next(
            (status for status in self.findings if words in status.message), None), words)
        return {entry.key: entry.value for entry in found.values}

    def said(self) -> str:
        return '\n'.join(self.graph.log_tail(NAME, 50))


@pytest.fixture(scope='module')
def trainer(domain: int, peer: Any) -> Iterator[Trainer]:
    """Yield a trainer that waits for goals."""
    spec = NodeSpec('offline_trainer_node', NAME, parameters={'robot': 'franka_fr3'})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1'}) as graph:
        trainer = Trainer(peer, graph)
        yield trainer
        trainer.client.destroy()
        assert 'Traceback' not in trainer.said()
