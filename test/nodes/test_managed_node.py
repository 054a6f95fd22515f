"""A transition that fails leaves the node as it was before it was configured."""

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.lifecycle import TransitionCallbackReturn
from std_srvs.srv import Trigger

from chunked_vla_ros.nodes.managed_node import ManagedNode

ERROR, SUCCESS = TransitionCallbackReturn.ERROR, TransitionCallbackReturn.SUCCESS


class Fragile(ManagedNode):
    """Fails in the middle of a transition as often as it is told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__('fragile', **options)
        self.failures = {'configure': 0, 'activate': 0}

    def configure(self) -> None:
        self.question = self.create_service(Trigger, '~/ask', lambda _, response: response)
        self.fail('configure')
        self.ticking = self.create_timer(1.0, lambda: None)

    def activate(self) -> None:
        self.fail('activate')

    def cleanup(self) -> None:
        self.destroy_timer(self.ticking)
        self.destroy_service(self.question)

    def fail(self, where: str) -> None:
        if self.failures[where]:
            self.failures[where] -= 1
            raise RuntimeError('the camera is unplugged')

    @property
    def made(self) -> tuple[int, int]:
        """Return how many of the services asked for, and of timers, there are."""
        names = [service.srv_name for service in self.services]
        return names.count('~/ask'), len(list(self.timers))


@pytest.fixture
def node(peer: Any) -> Iterator[Fragile]:
    node = Fragile(context=peer.context)
    yield node
    node.destroy_node()


def test_nothing_is_left_of_a_configuration_that_failed(node: Fragile) -> None:
    node.failures['configure'] = 1
    assert node.trigger_configure() == ERROR
    assert node.made == (0, 0)
    assert node.trigger_configure() == SUCCESS
    assert node.made == (1, 1)


def test_nothing_is_left_of_an_activation_that_failed(node: Fragile) -> None:
    node.failures['activate'] = 1
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == ERROR
    assert node.made == (0, 0)
    assert node.trigger_configure() == SUCCESS
    assert node.trigger_activate() == SUCCESS
    assert node.made == (1, 1)
