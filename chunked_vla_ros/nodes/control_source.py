"""
Ask the chunk executor who moves the arm, and answer those who asked for it when it has answered.

The answers of the services here are sent when the executor's is there: rclpy sends what a callback
returns at once, and a callback that waits would stop the single-threaded executor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from chunked_vla_ros.core.executor_state import Answer, Source
from chunked_vla_ros.srv import SetControlSource

SERVICE = 'chunk_executor/set_control_source'
# Who has just been started finds the others only after a while, on a busy machine seconds.
ANSWER_LIMIT_S = 4.0


@dataclass
class _Open:
    """A question to the executor; ``future`` is None until its service is found."""

    source: Source
    then: Callable[[Answer], None]
    asked_s: float
    future: Any = None


class ControlSourceClient:
    """Switch the executor's source, without ever waiting; `tick` must be called regularly."""

    def __init__(self, node: Node, heard: Callable[[], bool]) -> None:
        """Ask once ``heard`` says that the executor's state before the switch is known."""
        self._node, self._heard = node, heard
        self._client: Any = node.create_client(SetControlSource, SERVICE)
        self._open: list[_Open] = []

    def ask(self, source: Source, then: Callable[[Answer], None]) -> None:
        """Ask for ``source`` and call ``then`` once, with the answer or why there is none."""
        self._open.append(_Open(source, then, time.monotonic()))
        self.tick()

    def tick(self) -> None:
        """Hand over the answers that are there, and give up those that are late."""
        waiting, self._open = self._open, []
        for one in waiting:
            if one.future is None and self._heard() and self._client.service_is_ready():
                one.future = self._client.call_async(
                    SetControlSource.Request(source=int(one.source)))
            if one.future is not None and one.future.done():
                result = one.future.result()
                one.then(Answer(bool(result.success), str(result.message)))
            elif time.monotonic() - one.asked_s > ANSWER_LIMIT_S:
                self._give_up(one)
            else:
                self._open.append(one)

    def _give_up(self, one: _Open) -> None:
        if one.future is None:
            missing = 'executor_state' if self._client.service_is_ready() else f'service {SERVICE}'
            one.then(Answer(False, f'no {missing}: is chunk_executor running?'))
        else:
            self._client.remove_pending_request(one.future)
            one.then(Answer(False, f'{SERVICE} does not answer'))

    def destroy(self) -> None:
        """Answer everybody who waits, and leave."""
        for one in self._open:
            one.then(Answer(False, 'the node was cleaned up'))
        self._open = []
        self._node.destroy_client(self._client)


class LateTrigger:
    """A `Trigger` service whose answer comes later, to each who asked."""

    def __init__(self, node: Node, name: str,
                 serve: Callable[[Callable[[Answer], None]], None]) -> None:
        """Serve ``name``; ``serve`` gets the function that takes the answer."""
        self._node, self._serve = node, serve
        self._server: Any = node.create_service(Trigger, name, self._keep)
        self._send = self._server.send_response
        # Called with what the callback returned and the header that says whom to answer.
        self._server.send_response = self._begin

    def destroy(self) -> None:
        """Stop serving."""
        self._node.destroy_service(self._server)

    def _keep(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return response

    def _begin(self, response: Trigger.Response, header: Any) -> None:
        def answer(found: Answer) -> None:
            response.success, response.message = found.done, found.message
            self._send(response, header)
        self._serve(answer)
