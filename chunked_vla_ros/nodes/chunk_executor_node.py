"""
The chunk executor as a lifecycle node: converts, hands over, publishes.

Every decision is `core.executor`'s, and only `ExecutorRunner`'s control thread touches it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
import uuid

from rclpy.event_handler import QoSLivelinessChangedInfo, SubscriptionEventCallbacks
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from chunked_vla_ros.core.executor import Executor
from chunked_vla_ros.core.executor_state import (
    Answer,
    Command,
    ExecutorConfig,
    ExecutorStatus,
    LATCHED,
    Mode,
    Source,
)
from chunked_vla_ros.core.robot_spec import CommandKind, RobotSpec
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import executor_messages, qos
from chunked_vla_ros.nodes.diagnostics import DiagnosticsPublisher, Finding, WARN
from chunked_vla_ros.nodes.executor_inputs import ExecutorInputs
from chunked_vla_ros.nodes.executor_runner import ExecutorRunner, Request
from chunked_vla_ros.nodes.managed_node import ManagedNode
from chunked_vla_ros.nodes.parameters import declare
from chunked_vla_ros.nodes.realtime import ask_for_realtime, name_thread
from chunked_vla_ros.nodes.runtime import run
from chunked_vla_ros.srv import ResetExecutor, SetControlSource

LOG_PERIOD_S = 2.0
NEWS_KEPT = 32
PRESSED = 'emergency stop pressed'
SLOWEST_HZ, FASTEST_HZ = (
    ExecutorConfig.__dataclass_fields__['rate_hz'].metadata[bound] for bound in ('min', 'max'))
TRAJECTORY_AHEAD_NS = range(20_000_000, 120_000_000, 20_000_000)


@dataclass(frozen=True)
class ExecutorParameters(ExecutorConfig):
    """Parameters of chunk_executor_node."""

    rate_hz: float = parameter(
        0.0, 'control rate [Hz], 100 to 1000; 0: the command rate of the robot contract',
        minimum=0.0, maximum=FASTEST_HZ)
    robot: str = parameter('ur5e_sim', 'robot contract: a name or a path')
    state_rate_hz: float = parameter(
        50.0, 'rate of executor_state [Hz]', minimum=10.0, maximum=50.0)
    trajectory_rate_hz: float = parameter(
        20.0, 'rate of joint_trajectory, where the contract asks for it [Hz]',
        minimum=5.0, maximum=100.0)
    emergency_stop_lease_s: float = parameter(
        0.0, 'the publisher of emergency_stop must assert liveliness within this time [s]; '
        '0: no heartbeat is demanded', minimum=0.0, maximum=10.0)
    realtime_priority: int = parameter(
        50, 'SCHED_FIFO priority asked for, as ros2_control does; 0: ordinary scheduling. Without '
        'the permission (rtprio in /etc/security/limits.conf) the node says so and runs on',
        minimum=0, maximum=90)
    autostart: bool = parameter(True, 'configure and activate without a lifecycle manager')


class ChunkExecutorNode(ManagedNode):
    """Turn chunks into commands at a fixed rate."""

    def __init__(self) -> None:
        super().__init__('chunk_executor')
        self._settings = declare(self, ExecutorParameters)
        self._robot = load_robot(self._settings.robot)
        self._rate_hz = _control_rate(self._settings.rate_hz, self._robot)
        self._runner: ExecutorRunner | None = None
        self._estop, self._pressed_unreliably = '', False
        self._latch = (Mode.INACTIVE, '')
        self._logged, self._refused = '', 0
        self.start(self._settings.autostart)

    # --- lifecycle --------------------------------------------------------------------------

    def configure(self) -> None:
        """Create every connection; the arm is not touched yet."""
        spec = self._settings
        # A heartbeat that was asked for and not heard yet is a pressed stop.
        self._heartbeat_due = spec.emergency_stop_lease_s > 0
        self._estop = 'emergency stop has no heartbeat yet' if self._heartbeat_due else ''
        self._inputs = ExecutorInputs(
            self, self._robot, round(NS_PER_S / self._rate_hz), spec.max_horizon,
            uuid.uuid4().hex, self._complain)
        self._state = ExecutorState(joint_names=list(self._robot.joint_names))
        trajectories = self._robot.command.kind is CommandKind.JOINT_TRAJECTORY
        self._publish_command = self._publish_trajectory if trajectories else self._publish_array
        self._trajectory_every = max(round(self._rate_hz / spec.trajectory_rate_hz), 1)
        self._state_pub = self.create_publisher(ExecutorState, 'executor_state', qos.STATUS)
        self._command_pub = self.create_publisher(
            JointTrajectory if trajectories else Float64MultiArray,
            self._robot.command.topic, qos.COMMAND)
        self._subs = [self.create_subscription(
            Bool, 'emergency_stop', self._on_emergency_stop,
            qos.emergency_stop(spec.emergency_stop_lease_s),
            event_callbacks=SubscriptionEventCallbacks(liveliness=self._on_heartbeat))]
        # The one above does not hear a publisher of other durability or without the heartbeat.
        self._subs.append(self.create_subscription(
            Bool, 'emergency_stop', self._on_any_emergency_stop, qos.COMMAND))
        # Nor do both hear a publisher without guarantees, as a microcontroller's may be.
        self._subs.append(self.create_subscription(
            Bool, 'emergency_stop', self._on_unreliable_emergency_stop, qos.SENSOR))
        self._own_services = [
            self.create_service(ResetExecutor, '~/reset', self._on_reset),
            self.create_service(SetControlSource, '~/set_control_source', self._on_set_source)]
        # Logging may block on a full pipe: the control thread leaves it to the node's own.
        self._news: deque[tuple[bool, str]] = deque(maxlen=NEWS_KEPT)
        self._news_bell = self.create_guard_condition(self._log_news)
        self._diagnostics = DiagnosticsPublisher(self, self._robot.name, self._finding)

    def activate(self) -> None:
        """Start the control thread; commands begin once the measured pose is known."""
        config = ExecutorConfig(**{
            **{f.name: getattr(self._settings, f.name) for f in fields(ExecutorConfig)},
            'rate_hz': self._rate_hz})
        executor = Executor(self._robot, config)
        if self._settings.realtime_priority:
            self.get_logger().info(ask_for_realtime(self._settings.realtime_priority))
        if self._latch[0] in LATCHED:
            executor.restore_latch(*self._latch)
        executor.emergency_stop.set(self._estop)
        self._inputs.forget()
        self._runner = ExecutorRunner(
            self, executor, self._inputs.poll, self._publish_command, self._publish_status,
            1 / self._settings.state_rate_hz, self.get_logger().fatal)

    def deactivate(self) -> None:
        """Bring the arm to rest, then end the control thread."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if not runner.stop('deactivated'):
            self.get_logger().error('the arm did not come to rest in time')
        self._latch = ((runner.status.mode, runner.status.reason)
                       if runner.status.mode in LATCHED else runner.executor.latch)
        self._publish_status(replace(
            runner.status, mode=Mode.INACTIVE, reason='deactivated', command=None), (0.0, 0.0))

    def cleanup(self) -> None:
        """Close every connection."""
        self._diagnostics.destroy()
        self._inputs.destroy()
        self.destroy_guard_condition(self._news_bell)
        for subscription in self._subs:
            self.destroy_subscription(subscription)
        for service in self._own_services:
            self.destroy_service(service)
        self.destroy_publisher(self._state_pub)
        self.destroy_publisher(self._command_pub)

    # --- inputs -----------------------------------------------------------------------------

    def _on_emergency_stop(self, msg: Bool) -> None:
        self._set_estop(PRESSED if msg.data else '')

    def _on_any_emergency_stop(self, msg: Bool) -> None:
        # Anyone may press; where a heartbeat is demanded only its publisher may release.
        if msg.data or not self._heartbeat_due:
            self._on_emergency_stop(msg)

    def _on_unreliable_emergency_stop(self, msg: Bool) -> None:
        # A message of this kind may be old or lost: it releases only what came the same way.
        if msg.data and not self._estop:
            self._set_estop(PRESSED)
            self._pressed_unreliably = True
        elif not msg.data and self._pressed_unreliably and not self._heartbeat_due:
            self._set_estop('')

    def _on_heartbeat(self, info: QoSLivelinessChangedInfo) -> None:
        if self._settings.emergency_stop_lease_s > 0 and info.alive_count == 0:
            self._set_estop('emergency stop lost its heartbeat')

    def _set_estop(self, reason: str) -> None:
        self._estop, self._pressed_unreliably = reason, False
        if self._runner is not None:
            self._runner.executor.emergency_stop.set(reason)

    # --- services ---------------------------------------------------------------------------

    def _on_reset(self, _: ResetExecutor.Request,
                  response: ResetExecutor.Response) -> ResetExecutor.Response:
        answer = self._ask(lambda executor, now_ns: executor.reset(now_ns))
        response.success, response.message = answer.done, answer.message
        mode = self._runner.executor.mode if self._runner else Mode.INACTIVE
        response.mode = int(mode)
        return response

    def _on_set_source(self, request: SetControlSource.Request,
                       response: SetControlSource.Response) -> SetControlSource.Response:
        if request.source not in tuple(Source):
            answer = Answer(False, f'source {request.source}, expected 0 (policy), 1 (teleop), '
                            '2 (hold)')
        else:
            answer = self._ask(lambda executor, _: executor.set_source(Source(request.source)))
        response.success, response.message = answer.done, answer.message
        response.source = int(self._runner.executor.source if self._runner else Source.HOLD)
        return response

    def _ask(self, request: Request) -> Answer:
        if self._runner is None:
            return Answer(False, 'chunk_executor is not active')
        return self._runner.ask(request)

    # --- outputs ----------------------------------------------------------------------------

    def _publish_array(self, _: Executor, command: Command, tick: int) -> None:
        self._command_pub.publish(executor_messages.array_to_cdr(command))

    def _publish_trajectory(self, executor: Executor, command: Command, tick: int) -> None:
        if tick % self._trajectory_every == 0:
            self._command_pub.publish(executor_messages.preview_to_msg(
                executor.preview(TRAJECTORY_AHEAD_NS), self._robot.joint_names, command.due_ns))

    def _publish_status(self, status: ExecutorStatus, lateness_s: tuple[float, float]) -> None:
        stamp_ns = status.command.due_ns if status.command else self._now_ns()
        executor_messages.fill_state(self._state, status, stamp_ns, lateness_s)
        self._state_pub.publish(self._state)
        told = f'{status.mode.name}: {status.reason}'
        if told != self._logged:
            self._logged = told
            self._tell_news(False, told)
        refused = status.counters.stale + status.counters.rejected
        if refused > self._refused:
            self._complain(f'{refused} chunks refused so far, the last: {status.last_rejection}')
        self._refused = refused

    def _finding(self) -> Finding:
        if self._runner is None:
            return Finding(WARN, 'not active')
        return executor_messages.finding(
            self._runner.status, self._runner.lateness_s(), self._inputs.overtaken)

    def _complain(self, text: str) -> None:
        self._tell_news(True, text)

    def _tell_news(self, warning: bool, text: str) -> None:
        self._news.append((warning, text))
        self._news_bell.trigger()

    def _log_news(self) -> None:
        while self._news:
            warning, text = self._news.popleft()
            if warning:
                self.get_logger().warning(text, throttle_duration_sec=LOG_PERIOD_S)
            else:
                self.get_logger().info(text)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _control_rate(asked_hz: float, robot: RobotSpec) -> float:
    """
    Return the control rate in [Hz]: what was asked for, else the contract's.

    :raises ValueError: naming a rate that is too slow.
    """
    rate_hz = asked_hz or robot.command.rate_hz
    if not SLOWEST_HZ <= rate_hz <= FASTEST_HZ:
        where = 'parameter rate_hz' if asked_hz else f'command rate_hz of robot {robot.name}'
        raise ValueError(f'{where} is {rate_hz:g}, expected {SLOWEST_HZ:g} to {FASTEST_HZ:g}; '
                         'set the parameter rate_hz')
    return rate_hz


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node; return the process's exit code."""
    name_thread('node')
    return run(ChunkExecutorNode, argv)
