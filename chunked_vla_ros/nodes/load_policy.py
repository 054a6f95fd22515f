"""
Serve ``~/load_policy``: read, check and warm up a bundle beside the present policy, then offer it.

The response is sent when the exchange is over. Until then its header is kept: rclpy sends what a
callback returns at once, and a callback that waits would stop the single-threaded executor.
"""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

from rclpy.node import Node

from chunked_vla_ros.core.policy import Policy
from chunked_vla_ros.policies.exchange import Exchanged, ExchangeRefused
from chunked_vla_ros.policies.runner import PolicyRunner
from chunked_vla_ros.srv import LoadPolicy

# Reading a model of gigabytes and building its kernels may take so long at the node's end.
STOP_LIMIT_S = 5.0


class LoadPolicyServer:
    """Let clients exchange the policy, one at a time, and tell each how it ended."""

    def __init__(self, node: Node, runner: PolicyRunner, load: Callable[[str], Policy],
                 now_ns: Callable[[], int]) -> None:
        """Serve; ``load`` makes a policy of a bundle's path and is called in a thread."""
        self._node, self._runner, self._load, self._now_ns = node, runner, load, now_ns
        # Of the request that waits for its answer.
        self._header: Any = None
        self._bundle = ''
        self._loaded: Policy | Exception | None = None
        self._thread: threading.Thread | None = None
        self._guard = node.create_guard_condition(self._on_loaded)
        self._service = node.create_service(LoadPolicy, '~/load_policy', self._on_request)
        self._send = self._service.send_response
        # What the callback does not answer is answered by `_respond`.
        self._service.send_response = self._send_or_keep

    def destroy(self) -> None:
        """Answer the client that waits, and stop serving."""
        self._runner.exchange.withdraw('the node was cleaned up')
        self.report()
        if self._header is not None:
            self._respond(Exchanged(False, 'the node was cleaned up'))
        if self._thread is not None:
            self._thread.join(STOP_LIMIT_S)
        self._node.destroy_service(self._service)
        self._node.destroy_guard_condition(self._guard)

    def report(self) -> None:
        """Answer the client if its exchange is over."""
        outcome = self._runner.exchange.take_outcome()
        if outcome is not None and self._header is not None:
            self._respond(outcome)

    def _on_request(self, request: LoadPolicy.Request,
                    response: LoadPolicy.Response) -> LoadPolicy.Response | None:
        if self._header is not None or (self._thread is not None and self._thread.is_alive()):
            response.message = f'{self._bundle} is being loaded; ask again when it is done'
            response.policy_id = self._runner.spec.policy_id
            return response
        self._bundle = request.bundle
        self._thread = threading.Thread(target=self._read, name='load_policy', daemon=True)
        self._thread.start()
        return None

    def _send_or_keep(self, response: LoadPolicy.Response | None, header: Any) -> None:
        if response is None:
            self._header = header
        else:
            self._send(response, header)

    def _read(self) -> None:
        try:
            self._loaded = self._load(self._bundle)
        except Exception as error:  # noqa: BLE001 - foreign files: what is wrong is the answer
            self._loaded = error
        self._guard.trigger()

    def _on_loaded(self) -> None:
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        if self._thread is not None:
            # About to end; a client that asks again at once must not find it alive.
            self._thread.join()
        if isinstance(loaded, Exception):
            self._respond(Exchanged(False, ' '.join(str(loaded).split())))
            return
        try:
            self._runner.offer(loaded, self._now_ns())
        except (ExchangeRefused, ValueError) as error:
            self._respond(Exchanged(False, str(error)))
        self.report()

    def _respond(self, outcome: Exchanged) -> None:
        header, self._header = self._header, None
        policy = self._runner.exchange.in_force
        note = inference_place(policy)
        message = f'{outcome.message}; {note}' if outcome.success and note else outcome.message
        if outcome.success:
            self._node.get_logger().info(f'{self._bundle}: {policy.spec.policy_id} {message}')
        else:
            self._node.get_logger().warning(f'{self._bundle} not loaded: {message}')
        if header is not None:
            self._send(LoadPolicy.Response(
                success=outcome.success, message=message, policy_id=policy.spec.policy_id), header)


def inference_place(policy: Policy) -> str:
    """Return where a policy runs and why not elsewhere, empty for one that runs on no provider."""
    words = [str(getattr(policy, name, '')) for name in ('provider', 'provider_note')]
    return ': '.join(word for word in words if word)
