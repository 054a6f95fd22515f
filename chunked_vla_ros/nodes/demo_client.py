"""
A participant that resets the graph, runs its policy and watches how it goes.

Used by the demonstration and by the benchmarks from an ordinary thread: every method spins its own
executor until its answer is there, its deadline has passed, or ``watch`` finds a process of the
graph dead. Decides nothing about success or failure: it reports what was said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from chunked_vla_ros.action import RunPolicy
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.msg import EpisodeEvent
from chunked_vla_ros.nodes import conversions, qos
from chunked_vla_ros.nodes.pose_watch import PoseWatch
from chunked_vla_ros.srv import ResetExecutor, ResetScene

SPIN_S = 0.05
ANSWER_DEADLINE_S = 5.0
RETRY_S = 0.1
TERMINATIONS = {
    getattr(RunPolicy.Result, f'TERMINATION_{name}'): name.lower().replace('_', ' ')
    for name in ('POLICY_DONE', 'SUCCESS', 'FAILURE', 'CANCELED', 'TIMEOUT', 'POLICY_ERROR',
                 'DEACTIVATED')}


class GraphFailure(RuntimeError):
    """The graph did not do what it should; the message is one line naming the node."""


class AnswerTimeout(GraphFailure):
    """A service or an action did not answer in time."""


@dataclass(frozen=True)
class SceneStart:
    """What the simulator put up."""

    instruction: str
    episode_id: str


@dataclass(frozen=True)
class RunOutcome:
    """
    How one run of the policy ended, and apart from it what the simulator said of the task.

    :ivar duration_s: Goal accepted to ended, as the inference node counts it, in [s].
    """

    termination: str
    task_success: bool
    session_id: str
    chunks: int
    duration_s: float
    message: str


class DemoClient:
    """
    Talks to `sim`, `inference` and `chunk_executor` of one domain.

    :ivar policy_info: Newest values of the topic policy_info.
    :ivar findings: Every diagnostic status since the start: node name and its values.
    """

    def __init__(self, robot: RobotSpec, domain_id: int, watch: Callable[[], None]) -> None:
        self._watch = watch
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id,
                   signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node('demo', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._scene = self.node.create_client(ResetScene, 'sim/reset_scene')
        self._arm = self.node.create_client(ResetExecutor, 'chunk_executor/reset')
        self._policy = ActionClient(self.node, RunPolicy, 'inference/run_policy')
        self._states = {
            name: self.node.create_client(GetState, f'{name}/get_state')
            for name in ('inference', 'chunk_executor')}
        self._pose = PoseWatch(self.node, robot)
        self._events: list[EpisodeEvent] = []
        self.policy_info: dict[str, str] = {}
        self.findings: list[tuple[str, dict[str, str]]] = []
        subscribe = self.node.create_subscription
        subscribe(EpisodeEvent, 'episode_event', self._events.append, qos.EVENT)
        subscribe(DiagnosticStatus, 'policy_info', self._on_policy_info, qos.LATCHED)
        subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics, qos.STATUS)

    def wait_active(self, deadline_s: float) -> None:
        """
        Return once every node is up and active.

        :raises GraphFailure: naming the nodes that are not.
        """
        end_s = time.monotonic() + deadline_s
        while missing := self._missing():
            if time.monotonic() > end_s:
                raise GraphFailure(
                    f'{" and ".join(missing)} after {deadline_s:.0f} s')
            self.spin_for(RETRY_S)

    def reset_scene(self, seed: int, position_set: str, task: str = '') -> SceneStart:
        """
        Put the arm at home and the objects where ``seed`` says.

        :raises GraphFailure: if the simulator refuses or does not answer.
        """
        answer = self._call(self._scene, ResetScene.Request(
            seed=seed, position_set=position_set, task=task), 'sim/reset_scene')
        if not answer.success:
            raise GraphFailure(f'sim refused the scene of seed {seed}: {answer.message}')
        return SceneStart(answer.instruction, answer.episode_id)

    def reset_executor(self) -> None:
        """
        Let the executor hold the pose that the arm has now; it may first have to come to rest.

        A simulated arm is moved in no time, so the executor may take the pose before: it is asked
        again until what it commands is where the arm is.

        :raises GraphFailure: if it still refuses at the deadline.
        """
        end_s = time.monotonic() + ANSWER_DEADLINE_S
        while True:
            answer = self._call(self._arm, ResetExecutor.Request(), 'chunk_executor/reset')
            if answer.success and self._holds_measured_pose():
                return
            if time.monotonic() > end_s:
                raise GraphFailure(f'chunk_executor did not reset: {answer.message}')
            self.spin_for(RETRY_S)

    def run_policy(self, start: SceneStart, timeout_s: float) -> RunOutcome:
        """
        Run the loaded policy on ``start``'s instruction until it ends.

        :raises GraphFailure: if the goal is refused or no result comes.
        """
        self._events.clear()
        goal = RunPolicy.Goal(instruction=start.instruction, timeout=timeout_s)
        handle = self._answer(
            self._policy.send_goal_async(goal), 'inference/run_policy', ANSWER_DEADLINE_S)
        if not handle.accepted:
            raise GraphFailure('inference refused to run its policy')
        result = self._answer(
            handle.get_result_async(), 'inference/run_policy result',
            timeout_s + ANSWER_DEADLINE_S).result
        return RunOutcome(
            termination=TERMINATIONS.get(result.termination_reason, 'unknown'),
            task_success=self._succeeded(start.episode_id),
            session_id=conversions.uuid_to_hex(result.session_id), chunks=int(result.chunks),
            duration_s=float(result.duration), message=result.message)

    def spin_for(self, duration_s: float) -> None:
        """Take what arrives during ``duration_s`` [s]."""
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._watch()
            self._executor.spin_once(timeout_sec=min(left_s, SPIN_S))

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _on_policy_info(self, msg: DiagnosticStatus) -> None:
        self.policy_info = _values(msg)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        self.findings += [(status.name.strip('/'), _values(status)) for status in msg.status]

    def _holds_measured_pose(self) -> bool:
        """Return whether states from now on command the pose measured from now on."""
        now_ns = self.node.get_clock().now().nanoseconds
        end_s = time.monotonic() + ANSWER_DEADLINE_S
        while (agrees := self._pose.agrees(now_ns)) is None:
            if time.monotonic() > end_s:
                raise GraphFailure('joint_states or executor_state fell silent')
            self._watch()
            self._executor.spin_once(timeout_sec=SPIN_S)
        return agrees

    def _missing(self) -> list[str]:
        """Say what is not there yet, each entry beginning with the node's name."""
        missing = []
        if not self._scene.service_is_ready():
            missing.append('sim did not offer reset_scene')
        elif not self._pose.joints_seen:
            missing.append('sim published no joint_states')
        for name, client in self._states.items():
            if not client.service_is_ready():
                missing.append(f'{name} did not start')
                continue
            try:
                answer = self._call(client, GetState.Request(), f'{name}/get_state')
            except AnswerTimeout:
                missing.append(f'{name} is busy starting')
                continue
            state = answer.current_state
            if state.id != State.PRIMARY_STATE_ACTIVE:
                missing.append(f'{name} is {state.label}, not active')
        if not missing and not self._policy.server_is_ready():
            missing.append('inference did not offer run_policy')
        return missing

    def _succeeded(self, episode_id: str) -> bool:
        # The event and the result travel on different topics: give the event its time.
        end_s = time.monotonic() + 0.5
        while time.monotonic() < end_s:
            for event in self._events:
                if event.episode_id == episode_id and event.type == EpisodeEvent.SUCCESS:
                    return True
            self.spin_for(SPIN_S)
        return False

    def _call(self, client: Any, request: Any, name: str) -> Any:
        return self._answer(client.call_async(request), name, ANSWER_DEADLINE_S)

    def _answer(self, future: Future, name: str, deadline_s: float) -> Any:
        end_s = time.monotonic() + deadline_s
        while not future.done():
            if time.monotonic() > end_s:
                raise AnswerTimeout(f'{name} did not answer within {deadline_s:.0f} s')
            self._watch()
            self._executor.spin_once(timeout_sec=SPIN_S)
        return future.result()


def _values(msg: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in msg.values}
