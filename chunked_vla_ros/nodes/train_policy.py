"""
Serve the action ``~/train_policy``: one job at a time, in a process of its own.

Converts and hands over; the node stays responsive, as nothing of the work is done here.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node

from chunked_vla_ros.action import TrainPolicy
from chunked_vla_ros.core.training_job import (
    JobEnd,
    JobRefused,
    JobRequest,
    Progress,
    Stage,
    Termination,
)
from chunked_vla_ros.nodes.deferred_action import DeferredActionServer
from chunked_vla_ros.nodes.train_process import TrainProcess

INACTIVE = 'the trainer is not active: activate it first'


class TrainPolicyServer:
    """
    Start jobs for clients, tell them how far they are and how each ended.

    :ivar open: Whether jobs may begin.
    :ivar progress: What was said last of the job under way, or of the last one.
    :ivar last: How the last job ended.
    """

    def __init__(self, node: Node, robot: str, on_end: Callable[[JobEnd], None]) -> None:
        self._node, self._robot, self._on_end = node, robot, on_end
        self.open = False
        self.progress: Progress | None = None
        self.last: JobEnd | None = None
        self._goal: ServerGoalHandle | None = None
        self._job: TrainProcess | None = None
        self._cancelled = False
        self._server = DeferredActionServer(
            node, TrainPolicy, '~/train_policy', execute_callback=self._never_executed,
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel)

    @property
    def busy(self) -> bool:
        """Return whether a job is under way."""
        return self._job is not None

    def destroy(self) -> None:
        """Stop serving."""
        self._server.destroy()

    def start(self, request: JobRequest) -> None:
        """
        Begin a job.

        :raises JobRefused: one is under way, or this one is not complete.
        """
        if not self.open:
            raise JobRefused(INACTIVE)
        if self.busy:
            raise JobRefused('a job is under way: cancel it or wait for its end')
        arguments = request.arguments()
        try:
            self._job = TrainProcess(arguments)
        except OSError as error:
            raise JobRefused(f'no process can be started: {error.strerror}') from error
        self.progress = self.last = None
        self._node.get_logger().info(f'chunked-vla {" ".join(arguments)}')

    def tick(self) -> None:
        """Pass on what the job has said since, and its end."""
        if self._job is None:
            return
        # The answer to a cancel request must leave before the result does.
        if self._cancelled:
            self._job.stop(Termination.CANCELED)
        end, progress = self._job.poll(), self._job.newest_progress()
        if progress is not None:
            self.progress = progress
            if self._goal is not None:
                self._goal.publish_feedback(_feedback(progress))
        if end is not None:
            self._ended(end)

    def stop(self, why: Termination) -> None:
        """End the job under way and wait for that."""
        if self._job is not None:
            self._job.stop(why)
            self._job.close()
            self.tick()

    def _ended(self, end: JobEnd) -> None:
        self._job, self._cancelled, self.last = None, False, end
        self._on_end(end)
        if self._goal is not None:
            goal, self._goal = self._goal, None
            self._server.notify_execute(goal, lambda handle: _complete(handle, end))

    def _on_goal(self, goal: TrainPolicy.Goal) -> GoalResponse:
        try:
            self.start(_request(goal, self._robot))
        except JobRefused as error:
            self._node.get_logger().warning(f'goal refused: {error}')
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _on_accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        self._goal = goal

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        if self._goal is None or goal.goal_id != self._goal.goal_id:
            return CancelResponse.REJECT
        self._cancelled = True
        return CancelResponse.ACCEPT

    @staticmethod
    def _never_executed(_: object) -> TrainPolicy.Result:
        raise AssertionError('a goal was executed without its result')


def _request(goal: TrainPolicy.Goal, robot: str) -> JobRequest:
    """
    Return what a goal asks for.

    :raises JobRefused: it asks for a stage that there is not.
    """
    if goal.stage not in Stage.__members__.values():
        raise JobRefused(f'stage {goal.stage}, expected {list(map(int, Stage))}')
    return JobRequest(
        tuple(goal.bags), goal.dataset, goal.robot or robot, goal.append,
        tuple(goal.options))


def _feedback(progress: Progress) -> TrainPolicy.Feedback:
    return TrainPolicy.Feedback(
        stage=int(progress.stage), step=progress.step, steps=progress.steps,
        eta=progress.eta_s, metric_names=list(progress.metrics),
        metric_values=list(progress.metrics.values()), message=progress.message)


def _complete(goal: ServerGoalHandle, end: JobEnd) -> TrainPolicy.Result:
    if goal.is_cancel_requested:
        goal.canceled()
    elif end.termination is Termination.DONE:
        goal.succeed()
    else:
        goal.abort()
    return TrainPolicy.Result(
        termination_reason=int(end.termination), dataset=end.dataset, episodes=end.episodes,
        rows=end.rows, refused=list(end.refused), message=end.message)
