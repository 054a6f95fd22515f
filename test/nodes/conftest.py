"""A ROS domain of one's own, a peer in it, and waiting for conditions instead of sleeping."""

from collections.abc import Callable, Iterator
import threading
import time
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy._rclpy_pybind11 import RCLError  # noqa: E402
from rclpy.client import Client  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from rclpy.service import Service  # noqa: E402
from rclpy.subscription import Subscription  # noqa: E402
from rclpy.timer import Timer  # noqa: E402

from chunked_vla_ros.demo.free_domain import free_domain  # noqa: E402

LIMIT_S = 20.0
ASK_AGAIN_S = 5.0


class Peer:
    """A node of the test's own, spun in a thread, on the other side of DDS."""

    def __init__(self, domain: int, name: str = 'peer') -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node(name, context=self.context)
        self.clients: dict[str, Any] = {}
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin)
        self.thread.start()

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except ExternalShutdownException:
            pass
        except RCLError:
            # The context went away while the executor was preparing to wait on it.
            if self.context.ok():
                raise

    def call(self, service_type: type, name: str, request: Any,
             again_s: float = ASK_AGAIN_S) -> Any:
        """Return the answer of a service; without one ask again after ``again_s`` [s]."""
        # One client per service: an answer to a client that is not known yet everywhere is lost.
        if name not in self.clients:
            self.clients[name] = self.node.create_client(service_type, name)
        client = self.clients[name]
        assert client.wait_for_service(LIMIT_S), f'no service {name}'
        deadline = time.monotonic() + LIMIT_S
        # A server that was killed is believed alive for a while, and what it was asked is lost.
        while time.monotonic() < deadline:
            future = client.call_async(request)
            asked = time.monotonic()
            while not future.done() and time.monotonic() < asked + again_s:
                time.sleep(0.002)
            if future.done():
                break
        assert future.done(), f'no answer of {name} within {LIMIT_S} s'
        return future.result()

    def destroy(self, *entities: Any) -> None:
        """Destroy what was made on the node, between two waits of the thread that spins it."""
        # One that goes away while it is being waited on ends the executor (InvalidHandle).
        def destroy() -> None:
            for entity in entities:
                for kind, end in (
                        (Publisher, self.node.destroy_publisher),
                        (Subscription, self.node.destroy_subscription),
                        (Client, self.node.destroy_client),
                        (Service, self.node.destroy_service), (Timer, self.node.destroy_timer)):
                    if isinstance(entity, kind):
                        assert end(entity)
        ended = self.executor.create_task(destroy)
        self.wait_for(ended.done, 'end of what was made')
        ended.result()

    @staticmethod
    def wait_for(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S,
                 instead: Callable[[], object] = lambda: '') -> Any:
        """Return what ``condition`` returns as soon as that is true; else say what is instead."""
        deadline = time.monotonic() + limit_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f'no {what} within {limit_s} s {instead()}'
            time.sleep(0.002)
        return found

    def close(self) -> None:
        """Leave the domain."""
        rclpy.shutdown(context=self.context)
        self.thread.join(LIMIT_S)


@pytest.fixture(scope='module')
def domain() -> Iterator[int]:
    """Yield a domain that nobody uses."""
    with free_domain() as number:
        yield number


@pytest.fixture(scope='module')
def peer(domain: int) -> Iterator[Peer]:
    """Yield a node beside the one under test."""
    peer = Peer(domain)
    yield peer
    peer.close()
