"""A ROS domain of one's own, a peer in it, and waiting for conditions instead of sleeping."""

from collections.abc import Callable, Iterator
import json
from pathlib import Path
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import yaml

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy._rclpy_pybind11 import RCLError  # noqa: E402
from rclpy.client import Client  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.publisher import Publisher  # noqa: E402
from rclpy.service import Service  # noqa: E402
from rclpy.subscription import Subscription  # noqa: E402
from rclpy.timer import Timer  # noqa: E402

from chunked_vla_ros.demo.free_domain import free_domain  # noqa: E402

CONTRACTS = Path(__file__).parents[2] / 'config' / 'robots'
LIMIT_S = 40.0
ASK_AGAIN_S = 5.0
SETTLE_AGAIN_S = 0.5
# Not by forks of a process that has imported it: threads of the middleware would be missing.
TRYING = """
import importlib, json, os, sys, tempfile
main = importlib.import_module(sys.argv[1]).main
answers = os.fdopen(os.dup(1), 'w')
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for line in sys.stdin:
    domain, *arguments = json.loads(line)
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    with tempfile.TemporaryFile() as errors:
        os.dup2(errors.fileno(), 2)
        sys.argv = ['program', *arguments]
        code = main()
        sys.stderr.flush()
        errors.seek(0)
        print(json.dumps([code, errors.read().decode()]), file=answers, flush=True)
"""


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
        # Its own wait looks four times a second.
        self.wait_for(client.service_is_ready, f'service {name}')
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

    def settle(self, service_type: type, name: str) -> None:
        """
        Wait until the node that serves ``name`` knows every client that is here.

        An answer to one that it does not know yet is lost, and what was asked is done all the
        same. It hears of them in the order in which they were made, of this one last.
        """
        last = self.node.create_client(service_type, name)
        self.wait_for(last.service_is_ready, f'service {name}')
        asked: list[Any] = []

        def answered() -> bool:
            if not asked or time.monotonic() > asked[-1][1] + SETTLE_AGAIN_S:
                asked.append((last.call_async(service_type.Request()), time.monotonic()))
            return any(future.done() for future, _ in asked)
        self.wait_for(answered, f'answer of {name}')
        self.destroy(last)

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
        self.in_turn(destroy)

    def in_turn(self, function: Callable[[], Any]) -> Any:
        """
        Return what ``function`` returns, called by the thread that spins the node.

        An action's client has no lock: of a question put by another thread the answer may be there
        before the client knows that it asked.
        """
        task = self.executor.create_task(function)
        self.wait_for(task.done, 'turn')
        return task.result()

    @staticmethod
    def wait_for(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S,
                 instead: Callable[[], object] = lambda: '') -> Any:
        """Return what ``condition`` returns as soon as that is true; else say what is instead."""
        deadline = time.monotonic() + limit_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f'no {what} within {limit_s} s {instead()}'
            time.sleep(0.002)
        return found

    def wait_for_listeners(self, *publishers: Publisher) -> None:
        """Wait until each of ``publishers`` has a subscriber: what is said before is not heard."""
        self.wait_for(lambda: all(one.get_subscription_count() for one in publishers), 'listeners')

    def record_of(self, log: Any) -> Any:
        """Return what a `MotionLog` kept, the executor state that was heard last included."""
        # Two subscriptions are not served at once: what one has told the other is yet to hear.
        heard = len(log.recorded.messages.get('executor_state', []))
        self.wait_for(lambda: len(log.recorded.messages.get('executor_state', [])) > heard,
                      'one more executor_state')
        return log.decode(log.take())

    def close(self) -> None:
        """Leave the domain, so that nobody who uses it next hears of this node."""
        rclpy.shutdown(context=self.context)
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(scope='module')
def domain() -> Iterator[int]:
    """Yield a domain that nobody uses."""
    with free_domain() as number:
        yield number


@pytest.fixture(scope='session')
def try_to_start() -> Iterator[Callable[..., tuple[int, str]]]:
    """
    Yield what calls a module's ``main`` and returns its exit code and error text.

    For mistakes that ``main`` finds by itself: one process per module tries them one after the
    other, as importing the module takes far longer than finding a mistake.
    """
    tried: dict[str, subprocess.Popen[str]] = {}

    def start(module: str, domain: int, *arguments: str) -> tuple[int, str]:
        if module not in tried:
            tried[module] = subprocess.Popen(
                [sys.executable, '-c', TRYING, module], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True)
        asked, told = tried[module].stdin, tried[module].stdout
        assert asked is not None
        assert told is not None
        print(json.dumps([domain, *arguments]), file=asked, flush=True)
        code, errors = json.loads(told.readline())
        return code, errors
    yield start
    for process in tried.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope='session')
def patient_contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Return a file: ur5e_sim, but joint states may be half a second old.

    The arms of the tests are Python threads, which a busy machine keeps waiting for longer than
    a robot's driver; an executor that held for that would be right, and the test would not.
    """
    content = yaml.safe_load((CONTRACTS / 'ur5e_sim.yaml').read_text())
    content['state']['tolerance_s'] = 0.5
    path = tmp_path_factory.mktemp('patient') / 'ur5e_sim.yaml'
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope='module')
def peer(domain: int) -> Iterator[Peer]:
    """Yield a node beside the one under test."""
    peer = Peer(domain)
    yield peer
    peer.close()
