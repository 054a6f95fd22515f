"""
Serve the action ``~/train_policy``: one job at a time, in processes of its own.

``~/cancel`` ends the job, for user interfaces that cannot call actions. Converts and hands over;
the node stays responsive, as nothing of the work is done here.
"""

from __future__ import annotations

from collections.abc import Callable

from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from std_srvs.srv import Trigger

from chunked_vla_ros.action import TrainPolicy
from chunked_vla_ros.core.training_job import JobRefused, JobRequest, Stage, Termination
from chunked_vla_ros.core.training_words import JobEnd, Progress
from chunked_vla_ros.nodes.deferred_action import DeferredActionServer
from chunked_vla_ros.nodes.train_job import TrainJob
from chunked_vla_ros.nodes.train_robot import robot_of

INACTIVE = 'the trainer is not active: activate it first'


class TrainPolicyServer:
    """
    Start jobs for clients, tell them how far they are and how each ended.

    :ivar open: Whether jobs may begin.
    :ivar progress: What was said last of the job under way, or of the last one.
    :ivar last: How the last job ended.
    """

    def __init__(self, node: Node, robot: str, config: str,
                 on_end: Callable[[JobEnd], None]) -> None:
        """
        Serve.

        :param robot: Contract of jobs that name none, '' for what `robot_of` finds.
        :param config: Training configuration of jobs that train and name none.
        """
        self._node, self._robot, self._config, self._on_end = node, robot, config, on_end
        self.open = False
        self.progress: Progress | None = None
        self.last: JobEnd | None = None
        self._goal: ServerGoalHandle | None = None
        self._job: TrainJob | None = None
        self._cancelled = False
        self._told = ''
        self._button = node.create_service(Trigger, '~/cancel', self._on_button)
        self._server = DeferredActionServer(
            node, TrainPolicy, '~/train_policy', execute_callback=self._never_executed,
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel)

    @property
    def busy(self) -> bool:
        """Return whether a job is under way."""
        return self._job is not None

    @property
    def stage(self) -> Stage | None:
        """Return the stage that is being worked at, ``None`` without a job."""
        return None if self._job is None else self._job.command.stage

    def destroy(self) -> None:
        """Stop serving."""
        self._node.destroy_service(self._button)
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
        try:
            self._job = TrainJob(request)
        except OSError as error:
            where = f'{error.filename}: ' if error.filename else ''
            raise JobRefused(f'the job cannot begin: {where}{error.strerror}') from error
        self.progress = self.last = None
        self._tell_command()

    def tick(self) -> None:
        """Pass on what the job has said since, and its end."""
        if self._job is None:
            return
        # The answer to a cancel request must leave before the result does.
        if self._cancelled:
            self._job.stop(Termination.CANCELED)
        end, progress = self._job.poll(), self._job.newest_progress()
        self._tell_command()
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
            self._ended(self._job.close())

    def _tell_command(self) -> None:
        assert self._job is not None    # whoever calls has looked
        command = f'chunked-vla {" ".join(self._job.command.arguments)}'
        if command != self._told:
            self._told = command
            self._node.get_logger().info(command)

    def _ended(self, end: JobEnd) -> None:
        self._told = ''
        self._job, self._cancelled, self.last = None, False, end
        self._on_end(end)
        if self._goal is not None:
            goal, self._goal = self._goal, None
            self._server.notify_execute(goal, lambda handle: _complete(handle, end))

    def _on_goal(self, goal: TrainPolicy.Goal) -> GoalResponse:
        try:
            self.start(_request(goal, self._robot, self._config))
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

    def _on_button(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._job is not None
        response.message = 'no job is under way'
        if self._job is not None:
            self._cancelled = True
            response.message = (f'the {self._job.command.stage.noun} ends; what is done is kept, '
                                'the same job again goes on from there')
        return response

    @staticmethod
    def _never_executed(_: object) -> TrainPolicy.Result:
        raise AssertionError('a goal was executed without its result')


def _request(goal: TrainPolicy.Goal, robot: str, config: str) -> JobRequest:
    """
    Return what a goal asks for.

    :raises JobRefused: it asks for a stage that there is not, or for no robot's bags.
    """
    if goal.stage not in Stage.__members__.values():
        raise JobRefused(f'stage {goal.stage}, expected one of {list(map(int, Stage))}')
    stage, config = Stage(goal.stage), goal.config or config
    return JobRequest(
        tuple(goal.bags), goal.dataset, robot_of(goal.bags, goal.robot or robot, stage, config),
        goal.append, tuple(goal.options), stage, config, goal.start_from,
        tuple(goal.datasets), goal.out, goal.bundle, tuple(goal.train_options))


def _feedback(progress: Progress) -> TrainPolicy.Feedback:
    return TrainPolicy.Feedback(
        stage=int(progress.stage), step=progress.step, steps=progress.steps,
        eta=progress.eta_s, metric_names=list(progress.metrics),
        metric_values=list(progress.metrics.values()), message=progress.message)


def _complete(goal: ServerGoalHandle, end: JobEnd) -> TrainPolicy.Result:
    # A job that was done before it heard of the wish to cancel it has succeeded.
    if end.termination is Termination.DONE:
        goal.succeed()
    elif goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()
    return TrainPolicy.Result(
        termination_reason=int(end.termination), dataset=end.dataset, episodes=end.episodes,
        rows=end.rows, refused=list(end.refused), message=end.message, bundle=end.bundle,
        checkpoint=end.checkpoint, step=end.step)
