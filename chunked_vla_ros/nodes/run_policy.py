"""
Serve the action ``~/run_policy`` and its std_srvs twins ``~/run`` and ``~/cancel``.

A goal stays open while callbacks go on (`deferred_action`). Decides nothing: when a run starts and
ends is the runner's business.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from std_srvs.srv import Trigger

from chunked_vla_ros.action import RunPolicy
from chunked_vla_ros.core.policy_run import RunResult, Termination
from chunked_vla_ros.core.types import ActionChunk, NS_PER_S
from chunked_vla_ros.nodes.conversions import hex_to_uuid
from chunked_vla_ros.nodes.deferred_action import DeferredActionServer
from chunked_vla_ros.policies.runner import PolicyRunner, RunRefused

# The run came to an end of its own, whatever became of the task.
ORDERLY = (Termination.POLICY_DONE, Termination.SUCCESS, Termination.FAILURE)


class RunPolicyServer:
    """Start and cancel runs for clients and tell them how each ended."""

    def __init__(self, node: Node, runner: PolicyRunner, now_ns: Callable[[], int]) -> None:
        self._node, self._runner, self._now_ns = node, runner, now_ns
        self._goal: ServerGoalHandle | None = None
        self._server = DeferredActionServer(
            node, RunPolicy, '~/run_policy', execute_callback=self._complete,
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel)
        self._services = [
            node.create_service(Trigger, '~/run', self._on_run),
            node.create_service(Trigger, '~/cancel', self._on_cancel_service)]

    def destroy(self) -> None:
        """Stop serving."""
        self._server.destroy()
        for service in self._services:
            self._node.destroy_service(service)

    def chunk_published(self, chunk: ActionChunk) -> None:
        """Tell the client how far its run is."""
        run = self._runner.run
        if self._goal is not None and run is not None:
            self._goal.publish_feedback(RunPolicy.Feedback(
                elapsed=(self._now_ns() - run.started_ns) / NS_PER_S, chunk_id=chunk.chunk_id,
                inference_latency=chunk.inference_latency_ns / NS_PER_S))

    def run_ended(self, result: RunResult) -> None:
        """Give the client its result, if a client started the run."""
        if self._goal is not None:
            goal, self._goal = self._goal, None
            self._server.notify_execute(goal, lambda handle: self._complete(handle, result))

    def _on_goal(self, request: RunPolicy.Goal) -> GoalResponse:
        try:
            self._runner.check_start(request.timeout)
        except RunRefused as error:
            self._node.get_logger().warning(f'goal refused: {error}')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        self._runner.start(goal.request.instruction, goal.request.timeout, self._now_ns())
        self._goal = goal

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        if self._goal is None or goal.goal_id != self._goal.goal_id:
            return CancelResponse.REJECT
        self._runner.cancel('cancelled by the client', self._now_ns())
        return CancelResponse.ACCEPT

    def _complete(self, goal: ServerGoalHandle, result: RunResult) -> RunPolicy.Result:
        if result.termination in ORDERLY:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return RunPolicy.Result(
            termination_reason=int(result.termination), outcome=int(result.outcome),
            session_id=hex_to_uuid(result.session_id), chunks=result.chunks,
            duration=result.duration_ns / NS_PER_S, message=result.message)

    def _on_run(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            run = self._runner.start('', 0.0, self._now_ns())
        except RunRefused as error:
            response.success, response.message = False, str(error)
        else:
            response.success, response.message = True, f'run {run.session_id} started'
        return response

    def _on_cancel_service(self, _: Trigger.Request,
                           response: Trigger.Response) -> Trigger.Response:
        response.success = self._runner.cancel('cancelled by ~/cancel', self._now_ns())
        response.message = 'run cancelled' if response.success else 'no run is under way'
        return response
