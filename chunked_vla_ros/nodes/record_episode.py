"""
Serve the recorder: the action ``~/record_episode``, its std_srvs twins, labels, trash and list.

Converts and hands over; what a button means is decided in `core.recording_control`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.action import CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from std_srvs.srv import Trigger

from chunked_vla_ros.action import RecordEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.recording_control import (
    Ending,
    EpisodeRequest,
    RecordingRefused,
    Step,
    Termination,
)
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_metadata import writable
from chunked_vla_ros.data.episode_folder import (
    EpisodeRecord,
    list_episodes,
    UnknownEpisodeError,
)
from chunked_vla_ros.nodes.deferred_action import DeferredActionServer
from chunked_vla_ros.nodes.episode_recorder import EpisodeRecorder
from chunked_vla_ros.nodes.recorder_report import outcome_from_msg, summary_msg
from chunked_vla_ros.srv import DiscardEpisode, LabelEpisode, ListEpisodes

# The recording came to an end that somebody wanted.
ORDERLY = (Termination.STOPPED, Termination.TIMEOUT)
INACTIVE = 'the recorder is not active: activate it first'
LONGEST_S = 86_400.0


class RecordEpisodeServer:
    """
    Let clients record, and tell each how its recording ended.

    :ivar open: Whether recordings may begin.
    """

    def __init__(self, node: Node, recorder: EpisodeRecorder, now_ns: Callable[[], int]) -> None:
        self._node, self._recorder, self._now_ns = node, recorder, now_ns
        self._goal: ServerGoalHandle | None = None
        self._cancelled = False
        # Why the recording that a client has just asked for could not begin.
        self._refusal = ''
        self.open = False
        self._server = DeferredActionServer(
            node, RecordEpisode, '~/record_episode', execute_callback=self._never_executed,
            goal_callback=self._on_goal, handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel)
        control = recorder.control
        buttons: dict[str, Callable[[], Step]] = {
            'start': lambda: control.start(EpisodeRequest(), now_ns()),
            'stop': control.stop,
            'success': lambda: control.judge(Outcome.SUCCESS),
            'failure': lambda: control.judge(Outcome.FAILURE),
            'discard': control.discard,
            'rerecord': control.rerecord,
            'next': control.next}
        self._buttons = [
            node.create_service(Trigger, f'~/{name}', partial(self._on_button, name, wish))
            for name, wish in buttons.items()]
        self._buttons += [
            node.create_service(LabelEpisode, '~/label_episode', self._on_label),
            node.create_service(DiscardEpisode, '~/discard_episode', self._on_discard),
            node.create_service(ListEpisodes, '~/list_episodes', self._on_list)]

    @property
    def has_client(self) -> bool:
        """Return whether a client waits for the result of the present recording."""
        return self._goal is not None

    def destroy(self) -> None:
        """Stop serving."""
        self._server.destroy()
        for service in self._buttons:
            self._node.destroy_service(service)

    def take_cancel(self) -> bool:
        """Return once whether the client has cancelled its recording."""
        cancelled, self._cancelled = self._cancelled and self._goal is not None, False
        return cancelled

    def feed_back(self) -> None:
        """Tell the client how far its recording is."""
        recording = self._recorder.recording
        if self._goal is None or recording is None:
            return
        lost, dropped = recording.totals()
        self._goal.publish_feedback(RecordEpisode.Feedback(
            elapsed=self._recorder.control.elapsed_s(self._now_ns()),
            messages=recording.messages, bytes=recording.bytes, lost=lost, dropped=dropped,
            disk_left=self._recorder.disk.left_s))

    def ended(self, ending: Ending, record: EpisodeRecord) -> None:
        """Give the client its result, if a client started the recording."""
        if self._goal is not None:
            goal, self._goal = self._goal, None
            result = RecordEpisode.Result(
                termination_reason=int(ending.termination), episode=summary_msg(record),
                message=ending.message)
            self._server.notify_execute(
                goal, lambda handle: _complete(handle, result, ending.termination))

    def _on_goal(self, request: RecordEpisode.Goal) -> GoalResponse:
        try:
            if not self.open:
                raise RecordingRefused(INACTIVE)
            self._recorder.check_start(_request(request))
        except RecordingRefused as error:
            self._node.get_logger().warning(f'goal refused: {error}')
            return GoalResponse.REJECT
        # Here and not when it was accepted: the reply means that everything is recorded from now.
        self._refusal = ''
        try:
            self._recorder.perform(
                self._recorder.control.start(_request(request), self._now_ns()))
        except RecordingRefused as error:
            self._refusal = str(error)
        return GoalResponse.ACCEPT

    def _on_accepted(self, goal: ServerGoalHandle) -> None:
        goal.execute()
        if not self._refusal:
            self._goal = goal
            return
        self._node.get_logger().error(f'recording cannot begin: {self._refusal}')
        result = RecordEpisode.Result(
            termination_reason=int(Termination.ERROR), message=self._refusal)
        self._server.notify_execute(
            goal, lambda handle: _complete(handle, result, Termination.ERROR))

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        if self._goal is None or goal.goal_id != self._goal.goal_id:
            return CancelResponse.REJECT
        # The response must leave before the result does: the episode ends at the next tick.
        self._cancelled = True
        return CancelResponse.ACCEPT

    def _on_button(self, name: str, wish: Callable[[], Step], _: Trigger.Request,
                   response: Trigger.Response) -> Trigger.Response:
        try:
            if not self.open:
                raise RecordingRefused(INACTIVE)
            response.message = self._recorder.perform(wish())
            response.success = True
            self._node.get_logger().info(f'{name}: {response.message}')
        except RecordingRefused as error:
            response.success, response.message = False, str(error)
            self._node.get_logger().warning(f'{name} refused: {error}')
        return response

    def _on_label(self, request: LabelEpisode.Request,
                  response: LabelEpisode.Response) -> LabelEpisode.Response:
        control = self._recorder.control
        try:
            outcome = outcome_from_msg(request.outcome)
            current = control.current
            name = request.episode_id or (current.episode_id if current else control.last_id)
            if not name:
                raise ValueError('nothing has been recorded: name an episode')
            if current is not None and name == current.episode_id:
                control.mark(outcome)
                if request.note:
                    self._recorder.note(request.note)
            else:
                self._recorder.label(name, outcome, request.note)
            response.success = True
            response.message = f'{name} is labelled {outcome.value}'
        except (ValueError, UnknownEpisodeError, OSError) as error:
            response.success, response.message = False, _line(error)
        return response

    def _on_discard(self, request: DiscardEpisode.Request,
                    response: DiscardEpisode.Response) -> DiscardEpisode.Response:
        current, name = self._recorder.control.current, request.episode_id
        try:
            if name and not (current and name == current.episode_id):
                response.path = str(self._recorder.discard(name))
                response.message = f'{name} is now in {response.path}'
            else:
                response.message = self._recorder.perform(self._recorder.control.discard())
                response.path = response.message.rpartition(' is now in ')[2]
            response.success = True
        except (RecordingRefused, ValueError, UnknownEpisodeError, OSError) as error:
            response.success, response.message = False, _line(error)
        return response

    def _on_list(self, _: ListEpisodes.Request,
                 response: ListEpisodes.Response) -> ListEpisodes.Response:
        current = self._recorder.control.current
        try:
            listing = list_episodes(
                self._recorder.out, recording=current.episode_id if current else '')
        except OSError as error:
            response.problems = [_line(error)]
            return response
        response.episodes = [summary_msg(record) for record in listing.episodes
                             if record.complete]
        response.problems = [writable(problem) for problem in listing.problems]
        return response

    @staticmethod
    def _never_executed(_: Any) -> Any:
        raise AssertionError('a goal was executed without its result')


def _request(goal: RecordEpisode.Goal) -> EpisodeRequest:
    """
    Return what a goal asks for.

    :raises RecordingRefused: its duration is none.
    """
    if not 0.0 <= goal.max_duration <= LONGEST_S:
        raise RecordingRefused(
            f'max_duration is {goal.max_duration:g} s, expected 0 to {LONGEST_S:g} '
            '(0: until stopped)')
    return EpisodeRequest(goal.episode_id, goal.task, goal.operator_name,
                          round(goal.max_duration * NS_PER_S))


def _complete(goal: ServerGoalHandle, result: RecordEpisode.Result,
              termination: Termination) -> RecordEpisode.Result:
    if goal.is_cancel_requested:
        goal.canceled()
    elif termination in ORDERLY:
        goal.succeed()
    else:
        goal.abort()
    return result


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f'{error.filename}: {error.strerror}' if error.filename else error.strerror
    return ' '.join(str(error).split())
